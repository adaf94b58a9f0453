"""Checkpoints of the Trainer without pickle: tensors as safetensors, everything else as JSON.

transformers saves the state of the optimizer, the scheduler and the random generators with ``torch.save``, which uses
pickle. ``pack_checkpoint`` converts a checkpoint before it is uploaded to the store. ``unpack_checkpoint`` converts it
back on the local machine, right before the Trainer loads it.

training_state.safetensors    every tensor and array, under a numeric key
training_state.json           file name to its nested values, with the key in place of each tensor
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers.trainer_pt_utils import safe_globals

from textgate.components.contracts.files import link_file

_TENSORS = "training_state.safetensors"
_STRUCTURE = "training_state.json"
_PICKLED = (".bin", ".pt", ".pth")
_UNUSED = "training_args.bin"  # the Trainer never loads it: it compares its settings with trainer_state.json


def pack_checkpoint(checkpoint: Path, output: Path) -> None:
    """Convert the Trainer's folder ``checkpoint`` to the new folder ``output``. Weights are linked, not copied.

    Tensors are memory-mapped, so the optimizer state is not held in memory a second time.

    Raises:
        TypeError: If the state holds an object other than numbers, strings, tensors, arrays and collections of them.
    """
    output.mkdir(parents=True)
    tensors = _Tensors()
    structure: dict[str, Any] = {}
    for path in _files(checkpoint):
        if path.name == _UNUSED:
            continue
        if path.suffix in _PICKLED:
            with safe_globals():
                state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            structure[path.relative_to(checkpoint).as_posix()] = _encode(state, tensors)
        else:
            link_file(path, output / path.relative_to(checkpoint))
    save_file(tensors.by_key, output / _TENSORS)
    (output / _STRUCTURE).write_text(json.dumps(structure, allow_nan=False), "utf-8")


def unpack_checkpoint(stored: Path, output: Path) -> None:
    """Convert the folder ``stored``, written by ``pack_checkpoint``, to the new folder ``output`` for the Trainer."""
    output.mkdir(parents=True)
    for path in _files(stored):
        if path.name not in (_TENSORS, _STRUCTURE):
            link_file(path, output / path.relative_to(stored))
    structure = json.loads((stored / _STRUCTURE).read_text("utf-8"))
    with safe_open(stored / _TENSORS, framework="pt") as tensors:
        for name, value in structure.items():
            torch.save(_decode(value, tensors), output / name)


class _Tensors:
    """Collection of tensors to save in one safetensors file."""

    def __init__(self) -> None:
        self.by_key: dict[str, torch.Tensor] = {}
        self._storages: set[int] = set()

    def add(self, tensor: torch.Tensor) -> str:
        """Add a tensor and return its key in the file."""
        key = str(len(self.by_key))
        tensor = tensor.contiguous()
        # safetensors does not save two views of one storage.
        self.by_key[key] = tensor.clone() if tensor.untyped_storage().data_ptr() in self._storages else tensor
        self._storages.add(tensor.untyped_storage().data_ptr())
        return key


def _encode(value: Any, tensors: _Tensors) -> Any:
    """Return ``value`` as a JSON value, with its tensors moved to ``tensors``."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {"float": str(value)}
        case torch.Tensor():
            return {"tensor": tensors.add(value)}
        case np.ndarray():
            return {"array": tensors.add(torch.from_numpy(value))}
        case list():
            return [_encode(item, tensors) for item in value]
        case tuple():
            return {"tuple": [_encode(item, tensors) for item in value]}
        case dict():
            # A list of pairs, because the optimizer has integer keys and JSON keys are strings.
            return {"dict": [[_encode(key, tensors), _encode(item, tensors)] for key, item in value.items()]}
    raise TypeError(f"the training state contains a {type(value).__name__}, which cannot be stored without pickle")


def _decode(value: Any, tensors: Any) -> Any:
    """Return the value that ``_encode`` encoded, with tensors from the open safetensors file ``tensors``."""
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "float":
            return float(content)
        case "tensor":
            tensor = tensors.get_tensor(content)
            # An empty tensor shares its offset in the file with the next one, and torch.save refuses shared storage of
            # different dtypes.
            return tensor if tensor.numel() else tensor.clone()
        case "array":
            return tensors.get_tensor(content).numpy()
        case "tuple":
            return tuple(_decode(item, tensors) for item in content)
    return {_decode(key, tensors): _decode(item, tensors) for key, item in content}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
