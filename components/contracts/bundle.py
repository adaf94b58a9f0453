"""ModelBundle: a trained classifier as a folder that answers for itself.

    <folder>/bundle.json      the manifest, naming every other file with its sha256 and size
    <folder>/...              the files of the runtime it names

A bundle that does not match its manifest does not load. Nothing in it is pickled: safetensors, ONNX and JSON only.
"""

import hashlib
import math
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from textgate.components.contracts.files import file_sha256
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.normalizer import TextNormalizer
from textgate.components.contracts.parse import parse_json
from textgate.components.step import InputError

MANIFEST = "bundle.json"


class LinearRuntime(FrozenModel):
    """Weighted counts of n-grams and a linear layer, from plain arrays (``model.safetensors``, ``vocabulary.json``)."""

    name: Literal["linear"] = "linear"
    ngrams: tuple[int, int]
    sublinear: bool
    norm: Literal["l2", "l1"] = "l2"
    """What a text's weighted counts are divided by: their Euclidean length, as in TF-IDF, or their sum, for a mean."""


class OnnxRuntime(FrozenModel):
    """An ONNX graph on ONNX Runtime behind ``tokenizer.json``."""

    name: Literal["onnx"] = "onnx"
    precision: Literal["fp32", "fp16", "int8", "int4"]
    graph: str = "model.onnx"
    """File of the graph in the bundle."""
    excluded_nodes: int = Field(default=0, alias="kept")
    """Number of nodes that stay in full precision because quantizing them cost too much accuracy."""
    blocks: bool = False
    """Rounded numbers share a scale by the block, not by the channel."""
    max_tokens: int = Field(gt=0)
    opset: int
    producer: str
    """What exported the graph, with its version."""
    inputs: dict[str, list[str | int]]
    """Name to shape, int64; an axis with a name is dynamic."""
    outputs: dict[str, list[str | int]]
    """Name to shape, float32."""


class TransformersRuntime(FrozenModel):
    """A Hugging Face checkpoint folder: what is trained, and what vLLM, TEI or KServe's own runtime would serve.

    It answers with torch, so the ``serving`` of this package does not.
    """

    name: Literal["transformers"] = "transformers"
    folder: str = ""
    """In the bundle."""
    quantization: Literal["nf4"] | None = None
    max_tokens: int = Field(gt=0)
    base_model: str | None = Field(default=None, alias="checkpoint")
    """URI of the pretrained weights that the bundle's files go on top of; None when the files are whole."""


class EnsembleRuntime(FrozenModel):
    """The weighted mean of the calibrated probabilities of whole bundles in folders of this one."""

    name: Literal["ensemble"] = "ensemble"
    members: list[str] = Field(min_length=2)
    """Folders in the bundle, each a served bundle of the same labels."""
    weights: list[Annotated[float, Field(ge=0)]] = Field(min_length=2)
    """Of each member; they sum to 1."""
    max_tokens: int | None = Field(default=None, gt=0)
    """Of the member that reads furthest, among those that do not read everything."""

    @model_validator(mode="after")
    def _a_share_each(self) -> "EnsembleRuntime":
        if len(self.weights) != len(self.members) or not math.isclose(sum(self.weights), 1, abs_tol=1e-6):
            raise ValueError("weights must be one a member and sum to 1")
        return self


Runtime = Annotated[LinearRuntime | OnnxRuntime | TransformersRuntime | EnsembleRuntime, Field(discriminator="name")]


class Calibration(FrozenModel):
    """How probabilities become an answer; fitted on the split ``validation``."""

    temperature: float = Field(default=1.0, gt=0)
    """Probabilities are raised to 1 / temperature and normalised."""
    threshold: float | None = Field(default=None, ge=0, le=1)
    """Of two classes the last is answered from this probability on; without it, the more probable one."""

    def classes(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Class numbers (n,) int64 for calibrated ``probabilities`` (n, classes)."""
        if self.threshold is None:
            return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)
        return (probabilities[:, 1] >= self.threshold).astype(np.int64)


class FileEntry(FrozenModel):
    """One file of a bundle."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class ModelBundle(FrozenModel):
    """``bundle.json``."""

    format_version: Literal[1] = 1
    name: str
    """The recipe's name."""
    family: str
    runtime: Runtime
    labels: list[str] = Field(min_length=2)
    """Label names in the order of the probabilities."""
    normalizer: TextNormalizer
    recipe: dict[str, Any]
    """The recipe sections that shaped the weights; thresholds of the gates are not among them."""
    metrics: dict[str, float]
    """Measured on the validation split while training."""
    history: list[dict[str, float]] = []
    """What was measured while training, in its order: ``epoch`` with ``loss`` or ``validation_f1``."""
    dataset: str
    """Fingerprint of the dataset it was trained on."""
    versions: dict[str, str]
    """Library versions at training."""
    calibration: Calibration = Calibration()
    alternatives: dict[str, Runtime] = Field(default_factory=dict)
    """Further runtimes by target; what only one needs lies in a folder of its target's name."""
    files: dict[str, FileEntry] = Field(default_factory=dict)

    @property
    def base_model(self) -> str | None:
        """URI of the pretrained weights it takes besides its own files to answer; None when it is whole."""
        return self.runtime.base_model if isinstance(self.runtime, TransformersRuntime) else None

    @property
    def max_tokens(self) -> int | None:
        """Tokens of the longest text that it reads whole; None when it reads every text whole."""
        return None if isinstance(self.runtime, LinearRuntime) else self.runtime.max_tokens

    @property
    def size(self) -> int:
        """Bytes of the files that its runtime needs to answer; those of the alternatives are not counted."""
        beside = tuple(f"{target}/" for target in self.alternatives)
        return sum(entry.size for name, entry in self.files.items() if not name.startswith(beside))

    @property
    def fingerprint(self) -> str:
        """sha256 of the canonical manifest, and through it of every file.

        Defaults are left out, so that a field added later changes no bundle that was made before.
        """
        return hashlib.sha256(self.model_dump_json(exclude_defaults=True).encode("utf-8")).hexdigest()

    def write(self, folder: Path) -> "ModelBundle":
        """Hash every file that lies in ``folder`` and write the manifest beside them; returns the manifest written."""
        files = {name: _entry(folder / name) for name in _names(folder)}
        manifest = self.model_copy(update={"files": files})
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
        return manifest

    @classmethod
    def parse(cls, text: str | bytes, where: str) -> "ModelBundle":
        """A manifest from its JSON; ``where`` names it in errors.

        Raises:
            InputError: not a bundle manifest, or it names a file outside its folder.
        """
        bundle = parse_json(cls, text, where, "a bundle manifest")
        for name in bundle.files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name or name != str(path) or name == MANIFEST:
                raise InputError(f"{where} names the file {name!r}, which does not lie inside the bundle")
        return bundle

    @classmethod
    def load(cls, folder: str | Path) -> "ModelBundle":
        """Read the manifest and check every file against it.

        Raises:
            InputError: no manifest, or a file is missing, unlisted, a link, or of another size or sha256; it is named.
        """
        folder = Path(folder)
        if (folder / MANIFEST).is_symlink():
            raise InputError(f"{folder} is not a model bundle: {MANIFEST} is a link")
        try:
            text = (folder / MANIFEST).read_bytes()
        except OSError as error:
            raise InputError(f"{folder} is not a model bundle: {MANIFEST} cannot be read ({error})") from error
        bundle = cls.parse(text, str(folder / MANIFEST))
        present = set(_names(folder))
        for name in sorted(present ^ bundle.files.keys()):
            problem = "is missing" if name in bundle.files else f"is not named in {MANIFEST}"
            raise InputError(f"the bundle {folder} does not match its manifest: {name} {problem}")
        for name, expected in bundle.files.items():
            if (folder / name).is_symlink() or _entry(folder / name) != expected:
                raise InputError(f"the bundle {folder} does not match its manifest: {name} has been changed")
        return bundle


def _names(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return sorted(name for path in files if (name := path.relative_to(folder).as_posix()) != MANIFEST)


def _entry(path: Path) -> FileEntry:
    return FileEntry(sha256=file_sha256(path), size=path.stat().st_size)
