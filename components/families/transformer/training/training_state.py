"""What the Trainer saves of a training, without pickle: tensors as safetensors, all else as JSON.

transformers writes the state of the optimizer, the schedule and the random numbers by ``torch.save``, which is pickle.
What is stored holds none: it is written anew on its way to the store, and turned back on this machine right before the
Trainer reads it.

training_state.safetensors    every tensor and array, numbered
training_state.json           file name to its nested values, each tensor replaced by its number
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
_NEVER_READ = "training_args.bin"  # the Trainer compares its settings with trainer_state.json


def without_pickle(checkpoint: Path, output: Path) -> None:
    """Write the Trainer's folder ``checkpoint`` into the new folder ``output``; weights are linked, not copied.

    Tensors are read through a memory map, so that an optimizer's state is not held a second time.

    Raises:
        TypeError: the state holds an object that is neither number, text, tensor nor a collection of those.
    """
    output.mkdir(parents=True)
    tensors = _Tensors()
    structure: dict[str, Any] = {}
    for path in _files(checkpoint):
        if path.name == _NEVER_READ:
            continue
        if path.suffix in _PICKLED:
            with safe_globals():
                state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            structure[path.relative_to(checkpoint).as_posix()] = _flat(state, tensors)
        else:
            link_file(path, output / path.relative_to(checkpoint))
    save_file(tensors.numbered, output / _TENSORS)
    (output / _STRUCTURE).write_text(json.dumps(structure, allow_nan=False), "utf-8")


def with_pickle(stored: Path, output: Path) -> None:
    """Turn the folder ``stored``, which ``without_pickle`` wrote, into the new folder ``output`` for the Trainer."""
    output.mkdir(parents=True)
    for path in _files(stored):
        if path.name not in (_TENSORS, _STRUCTURE):
            link_file(path, output / path.relative_to(stored))
    structure = json.loads((stored / _STRUCTURE).read_text("utf-8"))
    with safe_open(stored / _TENSORS, framework="pt") as tensors:
        for name, value in structure.items():
            torch.save(_nested(value, tensors), output / name)


class _Tensors:
    """Tensors on their way into one file."""

    def __init__(self) -> None:
        self.numbered: dict[str, torch.Tensor] = {}
        self._storages: set[int] = set()

    def add(self, tensor: torch.Tensor) -> str:
        """Take a tensor in; returns its number."""
        number = str(len(self.numbered))
        tensor = tensor.contiguous()
        # safetensors takes no second view of a storage.
        self.numbered[number] = tensor.clone() if tensor.untyped_storage().data_ptr() in self._storages else tensor
        self._storages.add(tensor.untyped_storage().data_ptr())
        return number


def _flat(value: Any, tensors: _Tensors) -> Any:
    """``value`` as JSON can hold it; its tensors are taken into ``tensors``."""
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
            return [_flat(item, tensors) for item in value]
        case tuple():
            return {"tuple": [_flat(item, tensors) for item in value]}
        case dict():
            # Pairs, since a key of JSON is text and an optimizer's are numbers.
            return {"dict": [[_flat(key, tensors), _flat(item, tensors)] for key, item in value.items()]}
    raise TypeError(f"a training's state holds a {type(value).__name__}, which has no form without pickle")


def _nested(value: Any, tensors: Any) -> Any:
    """What ``_flat`` was given, with the tensors of an open safetensors file."""
    if isinstance(value, list):
        return [_nested(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "float":
            return float(content)
        case "tensor":
            tensor = tensors.get_tensor(content)
            # One without elements would share its neighbour's place in the file, which torch.save refuses.
            return tensor if tensor.numel() else tensor.clone()
        case "array":
            return tensors.get_tensor(content).numpy()
        case "tuple":
            return tuple(_nested(item, tensors) for item in content)
    return {_nested(key, tensors): _nested(item, tensors) for key, item in content}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
