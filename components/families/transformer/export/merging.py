"""An adapter merged into its base one layer at a time, so that no second copy of the weights is ever held.

A 4-bit base is dequantized layer by layer: merging into 4 bits rounds the adapter away and costs several points. The
weights are written in shards as they come (huggingface.co/docs/transformers, "Sharded checkpoints").
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper
from safetensors.torch import save_file

from textgate.components.families.transformer.model.pooled_classifier import HEAD_FILE, PooledClassifier

_SHARD = 500_000_000
"""Bytes of weights that are gathered before they are written."""


def write_merged(adapted: Any, dtype: torch.dtype, output: Path) -> None:
    """Write ``adapted``, a PEFT model, as a checkpoint of its base's class in ``dtype``; the model is used up by it."""
    model = adapted.base_model.model
    pooled = isinstance(model, PooledClassifier)
    shards, head = _Shards(output), {}
    for name, tensor in _merged(model, dtype):
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


def _merged(model: Any, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    """Name and weight of all that the base has; each layer's own weights are let go of as its merged ones are given."""
    layers: list[str] = []
    for name, module in list(model.named_modules()):
        if any(name.startswith(layer) for layer in layers):
            continue
        if isinstance(module, ModulesToSaveWrapper):
            (adapter,) = module.active_adapters
            found = dict(module.modules_to_save[adapter].named_parameters())
        elif isinstance(module, LoraLayer):
            base = module.get_base_layer()
            found = {"weight": _merged_weight(module, base)}
            if base.bias is not None:
                found["bias"] = base.bias
            del base.weight
        elif isinstance(module, Linear4bit):
            found = {"weight": _weight(module)}
            if module.bias is not None:
                found["bias"] = module.bias
            del module.weight
        else:
            continue
        layers.append(f"{name}.")
        for inner, tensor in found.items():
            yield f"{name}.{inner}", tensor.data.to(dtype)
    # What is tied is named once.
    for name, tensor in [*model.named_parameters(), *_stored_buffers(model)]:
        if not any(name.startswith(layer) for layer in layers):
            yield name, tensor.data.to(dtype) if tensor.is_floating_point() else tensor


def _stored_buffers(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for name, module in model.named_modules():
        for inner, tensor in module.named_buffers(recurse=False):
            if inner not in module._non_persistent_buffers_set:
                yield f"{name}.{inner}".lstrip("."), tensor


def _weight(layer: Any) -> torch.Tensor:
    """As it was in the forward pass of the training, float32."""
    if isinstance(layer, Linear4bit):
        weight: Any = layer.weight
        return dequantize_4bit(weight.data, weight.quant_state).float()
    return torch.as_tensor(layer.weight.data).float()


def _merged_weight(layer: Any, base: Any) -> torch.Tensor:
    """W + scale · BA (Hu et al., LoRA, 2021), by DoRA also rescaled to its magnitude (Liu et al., 2024, equation 5)."""
    (adapter,) = layer.active_adapters
    weight = _weight(base)
    delta: torch.Tensor = layer.get_delta_weight(adapter).detach().float()
    merged = weight + delta
    if layer.use_dora.get(adapter):
        magnitude = layer.lora_magnitude_vector[adapter]
        norm = magnitude.get_weight_norm(weight, delta, scaling=1).detach()
        merged *= (magnitude.weight.data.float() / norm).view(-1, 1)
    return merged


class _Shards:
    """Weights as they come, written a shard at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, torch.Tensor] = {}
        self._bytes = self._total = 0
        self._files: list[list[str]] = []

    def add(self, name: str, tensor: torch.Tensor) -> None:
        size = tensor.numel() * tensor.element_size()
        if self._held and self._bytes + size > _SHARD:
            self._write()
        self._held[name] = tensor.contiguous()
        self._bytes += size
        self._total += size

    def finish(self) -> None:
        """Write what is left, and the index where there is more than one file."""
        self._write()
        count = len(self._files)
        if count == 1:
            (self._folder / _name(1, 0)).rename(self._folder / "model.safetensors")
            return
        index: dict[str, str] = {}
        for number, names in enumerate(self._files, 1):
            (self._folder / _name(number, 0)).rename(self._folder / _name(number, count))
            index |= dict.fromkeys(names, _name(number, count))
        written = {"metadata": {"total_size": self._total}, "weight_map": index}
        (self._folder / "model.safetensors.index.json").write_text(
            json.dumps(written, indent=2, sort_keys=True) + "\n", "utf-8"
        )

    def _write(self) -> None:
        self._files.append(list(self._held))
        save_file(self._held, self._folder / _name(len(self._files), 0), metadata={"format": "pt"})
        self._held, self._bytes = {}, 0


def _name(number: int, count: int) -> str:
    return f"model-{number:05}-of-{count:05}.safetensors"
