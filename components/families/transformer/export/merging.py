"""Merging of an adapter into its base model, one layer at a time, so that memory holds the weights only once.

A quantized base model is dequantized first: merging into 4-bit weights rounds most of the adapter away and costs
several points of F1. Weights are written in shards as they are merged (huggingface.co/docs/transformers, "Sharded
checkpoints").
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit, int8_vectorwise_dequant
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper
from safetensors.torch import save_file

from textgate.components.families.transformer.model.pooled_classifier import HEAD_FILE, PooledClassifier

_SHARD_BYTES = 500_000_000


def write_merged(adapted: Any, dtype: torch.dtype, output: Path) -> None:
    """Write a PEFT model as a merged model of its base model's class. ``adapted`` loses its weights on the way.

    Args:
        adapted: PEFT model on its base model.
        dtype: Dtype of the merged weights.
        output: Existing folder for ``config.json``, ``model*.safetensors`` and the file of a pooled head.
    """
    model = adapted.base_model.model
    pooled = isinstance(model, PooledClassifier)
    shards, head = _ShardWriter(output), {}
    for name, tensor in _merged_weights(model, dtype):
        backbone = name.removeprefix("backbone.")
        if pooled and backbone == name:
            head[name] = tensor
        else:
            shards.add(backbone if pooled else name, tensor)
    shards.finish()
    if pooled:
        save_file(head, output / HEAD_FILE)
    base = model.backbone if pooled else model
    config = copy.deepcopy(base.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = dtype
    config.architectures = [type(base).__name__]
    config.save_pretrained(output)


def _merged_weights(model: Any, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield name and tensor of every merged weight and stored buffer, freeing the base weights layer by layer."""
    layers: list[str] = []
    for name, module in list(model.named_modules()):
        if any(name.startswith(layer) for layer in layers):
            continue
        if isinstance(module, ModulesToSaveWrapper):
            (adapter,) = module.active_adapters
            weights = dict(module.modules_to_save[adapter].named_parameters())
        elif isinstance(module, LoraLayer):
            base = module.get_base_layer()
            weights = {"weight": _merged_weight(module, base)}
            if base.bias is not None:
                weights["bias"] = base.bias
            _free_weight(base)
        elif isinstance(module, Linear4bit | Linear8bitLt):
            weights = {"weight": _dequantized(module)}
            if module.bias is not None:
                weights["bias"] = module.bias
            _free_weight(module)
        else:
            continue
        layers.append(f"{name}.")
        for inner, tensor in weights.items():
            yield f"{name}.{inner}", tensor.data.to(dtype)
    # ``named_parameters`` lists tied weights once.
    for name, tensor in [*model.named_parameters(), *_stored_buffers(model)]:
        if not any(name.startswith(layer) for layer in layers):
            yield name, tensor.data.to(dtype) if tensor.is_floating_point() else tensor


def _stored_buffers(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield name and tensor of every persistent buffer."""
    for name, module in model.named_modules():
        for inner, tensor in module.named_buffers(recurse=False):
            if inner not in module._non_persistent_buffers_set:
                yield f"{name}.{inner}".lstrip("."), tensor


def _free_weight(layer: Any) -> None:
    """Remove the layer's weight; an 8-bit layer refers to it a second time."""
    del layer.weight
    if isinstance(layer, Linear8bitLt):
        layer.state.CB = None


def _dequantized(layer: Any) -> torch.Tensor:
    """Return the layer's weight in float32, with the values of the forward pass during training.

    The forward pass on 8-bit weights also rounds the activations to 8 bits; a merged model does not.
    """
    weight: Any = layer.weight
    if isinstance(layer, Linear4bit):
        return torch.as_tensor(dequantize_4bit(weight.data, weight.quant_state)).float()
    if isinstance(layer, Linear8bitLt):
        # The scales move from the weight to the layer in the first forward pass.
        scales = layer.state.SCB if layer.state.SCB is not None else weight.SCB
        return torch.as_tensor(int8_vectorwise_dequant(weight.data, scales)).float()
    return torch.as_tensor(layer.weight.data).float()


def _merged_weight(layer: Any, base: Any) -> torch.Tensor:
    """Return W + scale · BA (Hu et al., LoRA, 2021), for DoRA rescaled to its magnitude (Liu et al., 2024, eq. 5)."""
    (adapter,) = layer.active_adapters
    weight = _dequantized(base)
    delta: torch.Tensor = layer.get_delta_weight(adapter).detach().float()
    merged = weight + delta
    if layer.use_dora.get(adapter):
        magnitude = layer.lora_magnitude_vector[adapter]
        norm = magnitude.get_weight_norm(weight, delta, scaling=1).detach()
        merged *= (magnitude.weight.data.float() / norm).view(-1, 1)
    return merged


class _ShardWriter:
    """Writer of safetensors shards that holds at most one shard in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pending: dict[str, torch.Tensor] = {}
        self._bytes = self._total = 0
        self._files: list[list[str]] = []

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """Add a weight, and write the current shard first if the weight would exceed its size."""
        size = tensor.numel() * tensor.element_size()
        if self._pending and self._bytes + size > _SHARD_BYTES:
            self._write()
        self._pending[name] = tensor.contiguous()
        self._bytes += size
        self._total += size

    def finish(self) -> None:
        """Write the last shard, name the files, and write an index if there are several."""
        self._write()
        count = len(self._files)
        if count == 1:
            (self._folder / _shard_name(1, 0)).rename(self._folder / "model.safetensors")
            return
        index: dict[str, str] = {}
        for number, names in enumerate(self._files, 1):
            (self._folder / _shard_name(number, 0)).rename(self._folder / _shard_name(number, count))
            index |= dict.fromkeys(names, _shard_name(number, count))
        content = {"metadata": {"total_size": self._total}, "weight_map": index}
        (self._folder / "model.safetensors.index.json").write_text(
            json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8"
        )

    def _write(self) -> None:
        self._files.append(list(self._pending))
        save_file(self._pending, self._folder / _shard_name(len(self._files), 0), metadata={"format": "pt"})
        self._pending, self._bytes = {}, 0


def _shard_name(number: int, count: int) -> str:
    return f"model-{number:05}-of-{count:05}.safetensors"
