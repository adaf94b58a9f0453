"""Prediction with a transformer on torch. The exported model is compared with these predictions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import DataCollatorWithPadding

from textgate.components.contracts import Progress, TextNormalizer
from textgate.components.contracts.probabilities import softmax

_ROWS_PER_BATCH = 64


class TorchPredictor:
    """``Predictor`` that runs a sequence classification model and its tokenizer on torch."""

    def __init__(self, model: Any, tokenizer: Any, normalizer: TextNormalizer, max_tokens: int) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer
        self._normalizer, self._max_tokens = normalizer, max_tokens

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        cleaned = [self._normalizer(text) for text in texts]
        labels = self._model.config.num_labels
        return softmax(predict_logits(self._model, self._tokenizer, cleaned, self._max_tokens, labels, "predicting"))

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the inputs of the model's output layer, as embeddings (texts, dimensions)."""
        with torch.inference_mode(), _output_layer_inputs(self._model) as inputs:
            cleaned = [self._normalizer(text) for text in texts]
            embeddings = np.empty((len(texts), 0), dtype=np.float32)
            for rows, batch in _batches(self._model, self._tokenizer, cleaned, self._max_tokens, "embedding"):
                self._model(**batch)
                if not embeddings.size:
                    embeddings = np.empty((len(texts), inputs[0].shape[1]), dtype=np.float32)
                embeddings[rows] = inputs[0].float().cpu().numpy()
        return embeddings


@contextmanager
def _output_layer_inputs(model: Any) -> Iterator[list[torch.Tensor]]:
    """Yield a list that contains the output layer's input (batch, dimensions) after each forward pass of ``model``."""
    last_inputs: list[torch.Tensor] = []

    def record(_: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        last_inputs[:] = inputs[:1]

    # Hook every leaf module; the last one called is the output layer.
    layers = [module for module in model.modules() if not list(module.children())]
    hooks = [layer.register_forward_pre_hook(record) for layer in layers]
    try:
        yield last_inputs
    finally:
        for hook in hooks:
            hook.remove()


def predict_logits(
    model: Any, tokenizer: Any, texts: list[str], max_tokens: int, width: int, note: str
) -> npt.NDArray[np.float64]:
    """Return the model's logits for normalized texts.

    Args:
        model: Model in eval mode.
        tokenizer: Its tokenizer.
        texts: Normalized texts.
        max_tokens: Length in tokens to truncate texts to.
        width: Number of logits per text.
        note: Text of the progress lines.

    Returns:
        Logits (texts, width).
    """
    logits = np.empty((len(texts), width))
    with torch.inference_mode():
        for rows, batch in _batches(model, tokenizer, texts, max_tokens, note):
            logits[rows] = model(**batch).logits.double().cpu().numpy()
    return logits


def _batches(
    model: Any, tokenizer: Any, texts: list[str], max_tokens: int, note: str
) -> Iterator[tuple[list[int], Any]]:
    """Yield the indices of the texts in a batch, and the padded batch on the model's device.

    Texts are sorted by length, which keeps padding low.
    """
    examples = tokenize(tokenizer, texts, max_tokens)
    order = sorted(range(len(examples)), key=lambda row: len(examples[row]["input_ids"]))
    collate = DataCollatorWithPadding(tokenizer)
    progress = Progress(total=len(texts))
    for start in range(0, len(order), _ROWS_PER_BATCH):
        rows = order[start : start + _ROWS_PER_BATCH]
        yield rows, collate([examples[row] for row in rows]).to(model.device)
        progress.update(start + len(rows), note)


def tokenize(tokenizer: Any, texts: list[str], max_tokens: int) -> list[dict[str, list[int]]]:
    """Return the tokenizer's output (``input_ids``, ``attention_mask``, …) of each text, truncated and not padded."""
    if not texts:
        return []
    columns = tokenizer(texts, truncation=True, max_length=max_tokens)
    return [dict(zip(columns.keys(), values, strict=True)) for values in zip(*columns.values(), strict=True)]
