"""Versions of the steps' code, for cache keys: KFP keys a cache on arguments and image name, never on imported code."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import textgate.components

_COMPONENTS = Path(next(iter(textgate.components.__path__)))

# The rooms whose code each cached step runs, besides its own folder and the contracts.
_ROOMS = {
    "ingest": ["components/storage"],
    "preprocess": [],
    "train": ["components/families", "components/metrics", "components/storage", "serving"],
    "select": [],
    "compare": ["components/families", "components/metrics", "components/report", "serving"],
    "evaluate": ["components/families", "components/metrics", "components/storage", "serving"],
    "merge_quantize": ["components/families", "components/metrics", "components/storage", "serving"],
    "export_onnx": ["components/families", "components/metrics", "serving"],
}
_LIBRARIES = (
    "accelerate",
    "bitsandbytes",
    "datasets",
    "gensim",
    "numpy",
    "onnx",
    "onnxruntime",
    "peft",
    "py3langid",
    "pyarrow",
    "scikit-learn",
    "tokenizers",
    "torch",
    "transformers",
)


@cache
def code_version(step: str) -> str:
    """Sha256 over the Python sources a step runs and the versions of the libraries its result depends on."""
    digest = hashlib.sha256()
    rooms = ["components/contracts", f"components/{step}", *_ROOMS[step]]
    sources = [source for room in rooms for source in (_COMPONENTS.parent / room).rglob("*.py")]
    for source in sorted([*sources, _COMPONENTS / "step.py"]):
        digest.update(f"{source.relative_to(_COMPONENTS.parent)}\0".encode() + source.read_bytes() + b"\0")
    for library in _LIBRARIES:
        try:
            digest.update(f"{library}=={version(library)}\0".encode())
        except PackageNotFoundError:
            continue
    return digest.hexdigest()
