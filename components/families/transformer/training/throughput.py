"""Measurement of a training's throughput: tokens without padding, texts and model FLOPs per second.

Kaplan et al., Scaling Laws for Neural Language Models (2020), section 2.1: a forward pass takes 2 FLOPs per weight and
token. Chowdhery et al., PaLM (2022), appendix B: attention adds 12 · layers · width · tokens² per text.
"""

import time
from typing import Any, NamedTuple

import torch
from transformers import TrainerCallback

from textgate.components.families.accelerator_meter import AcceleratorMeter, Work


class ModelFlops(NamedTuple):
    """FLOPs of a forward and backward pass of one text: ``per_token`` · tokens + ``attention`` · tokens²."""

    per_token: int
    attention: int


def model_flops(model: Any) -> ModelFlops:
    """Return the FLOPs of a training step of ``model``, with an adapter or without.

    Every linear layer counts as if it ran on every token, which overestimates a head on one token by its share of the
    weights (1 % in DistilBERT). Embeddings are look-ups and do not count. Sliding windows count as full attention.
    """
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    # Forward pass and gradient of the input: 2 FLOPs each; gradient of the weight, if it is trained: 2.
    per_token = sum(
        (6 if layer.weight.requires_grad else 4) * layer.in_features * layer.out_features for layer in linear
    )
    config = model.config
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    # A decoder layer with an encoder attends to its own tokens and to the encoder's.
    layers = config.num_hidden_layers + 2 * (getattr(config, "num_decoder_layers", None) or 0)
    return ModelFlops(per_token, 12 * layers * width)


class Throughput(TrainerCallback):
    """Callback that times the updates after the first one, without evaluations and checkpoints.

    The first update is a warm-up: it loads kernels and allocates the state of the optimizer.

    Args:
        model: Model to train, before it is wrapped for several devices.
        precision: Precision that the training computes in.
        meter: Receives the work at the end of the training.
    """

    def __init__(self, model: Any, precision: str, meter: AcceleratorMeter) -> None:
        self._flops = model_flops(model)
        self._precision, self._meter = precision, meter
        self._started: float | None = None
        self._warm = False
        self._seconds = 0.0
        self._totals: Any = 0
        """Tensor of tokens, squares of the tokens of each text, and texts; on the device, so that nothing waits."""

    def count(self, attention_mask: torch.Tensor) -> None:
        """Count a batch of texts; ``attention_mask`` is (rows, tokens)."""
        if self._started is not None:
            lengths = attention_mask.sum(1, dtype=torch.int64)
            rows = torch.full_like(lengths[0], len(lengths))
            self._totals = self._totals + torch.stack([lengths.sum(), lengths.square().sum(), rows])

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Continue after an evaluation or a checkpoint."""
        if self._warm and self._started is None:
            self._start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start after the first update, and pause before an evaluation or a checkpoint."""
        self._meter.sample()
        if control.should_evaluate or control.should_save:
            self._stop()
        elif not self._warm:
            self._start()
        self._warm = True

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Hand the work to the meter, unless there was a single update."""
        self._stop()
        if self._seconds and isinstance(self._totals, torch.Tensor):
            tokens, squares, texts = self._totals.tolist()
            flops = self._flops.per_token * tokens + self._flops.attention * squares
            self._meter.work = Work(tokens, texts, None if self._precision == "fp32" else flops, self._seconds)

    def _start(self) -> None:
        _synchronize()
        self._started = time.perf_counter()

    def _stop(self) -> None:
        if self._started is not None:
            _synchronize()
            self._seconds += time.perf_counter() - self._started
            self._started = None


def _synchronize() -> None:
    """Wait for the GPU, which works behind the Python code."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
