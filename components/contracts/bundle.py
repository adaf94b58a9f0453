"""ModelBundle: a self-contained folder with a trained classifier.

    <folder>/bundle.json      manifest with sha256 and size of every other file
    <folder>/trained_on.bin   keys of the texts it was trained and validated on (``text_keys``), if they are known
    <folder>/training_cost.json   cost of its training, if it is known; the manifest does not list it
    <folder>/...              files of the runtime

A bundle that does not match its manifest does not load. Nothing is pickled: safetensors, ONNX and JSON only.
"""

import hashlib
import math
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from textgate.components.contracts.files import file_sha256, write_file
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.normalizer import TextNormalizer
from textgate.components.contracts.parse import parse_json
from textgate.components.contracts.text_keys import TRAINED_ON
from textgate.components.contracts.training_cost import TRAINING_COST
from textgate.components.step import InputError

MANIFEST = "bundle.json"
MAX_TOKENS = 131_072
"""Longest input of any model, in tokens."""
MAX_NGRAM = 8
"""Longest n-gram of a linear model, in words."""
_LARGEST_MANIFEST = 16 * 2**20
"""Bytes of ``bundle.json``."""

MaxTokens = Annotated[int, Field(gt=0, le=MAX_TOKENS)]


def check_ngrams(value: tuple[int, int]) -> tuple[int, int]:
    """Return the lengths of the shortest and the longest n-gram.

    Raises:
        ValueError: They are not in order, or out of bounds.
    """
    if not 1 <= value[0] <= value[1] <= MAX_NGRAM:
        raise ValueError(f"ngrams must be [shortest, longest] with 1 <= shortest <= longest <= {MAX_NGRAM}")
    return value


class LinearRuntime(FrozenModel):
    """Linear layer on weighted n-gram counts, in plain arrays (``model.safetensors``, ``vocabulary.json``)."""

    name: Literal["linear"] = "linear"
    """Discriminator of the runtime."""
    ngrams: tuple[int, int]
    """Lengths of the shortest and the longest n-gram, in words."""
    sublinear: bool
    """Use 1 + log(tf) instead of the term frequency tf."""
    norm: Literal["l2", "l1"] = "l2"
    """Norm of a text's weighted counts: ``l2`` as in TF-IDF, ``l1`` for a mean over the words."""

    @field_validator("ngrams")
    @classmethod
    def _ordered(cls, value: tuple[int, int]) -> tuple[int, int]:
        return check_ngrams(value)


class OnnxRuntime(FrozenModel):
    """ONNX graph for ONNX Runtime, with the tokenizer in ``tokenizer.json``."""

    name: Literal["onnx"] = "onnx"
    """Discriminator of the runtime."""
    precision: Literal["fp32", "fp16", "int8", "int4"]
    """Number format of the weights."""
    graph: str = "model.onnx"
    """Path of the graph in the bundle."""
    excluded_nodes: int = Field(default=0, alias="kept")
    """Number of nodes that stay in full precision because quantizing them cost too much accuracy."""
    blocks: bool = False
    """Whether quantization scales are per block rather than per channel."""
    max_tokens: MaxTokens
    """Longest input in tokens; longer texts are truncated."""
    opset: int
    """Version of the ONNX operator set."""
    producer: str
    """Exporter of the graph with its version."""
    inputs: dict[str, list[str | int]]
    """Name to shape of the int64 inputs; a named axis is dynamic."""
    outputs: dict[str, list[str | int]]
    """Name to shape of the float32 outputs."""


class TransformersRuntime(FrozenModel):
    """Hugging Face model folder: the form that is trained, and that vLLM, TEI or KServe's own runtime can serve.

    It needs torch, so the server of this package does not serve it.
    """

    name: Literal["transformers"] = "transformers"
    """Discriminator of the runtime."""
    folder: str = ""
    """Folder in the bundle; empty for the bundle itself."""
    quantization: Literal["nf4"] | None = None
    """4-bit NormalFloat weights, or None for full precision."""
    max_tokens: MaxTokens
    """Longest input in tokens; longer texts are truncated."""
    base_model: str | None = Field(default=None, alias="checkpoint")
    """URI of the pretrained weights that the files of the bundle (an adapter or a head) extend; None if it is
    complete."""


class EnsembleRuntime(FrozenModel):
    """Weighted mean of the calibrated probabilities of several bundles, each in a folder of this one."""

    name: Literal["ensemble"] = "ensemble"
    """Discriminator of the runtime."""
    members: list[str] = Field(min_length=2)
    """Folders in the bundle, each with a bundle of the same labels."""
    weights: list[Annotated[float, Field(ge=0)]] = Field(min_length=2)
    """Weight per member; they sum to 1."""
    max_tokens: MaxTokens | None = None
    """Longest input in tokens of any member that truncates; None if no member does."""

    @model_validator(mode="after")
    def _one_weight_per_member(self) -> "EnsembleRuntime":
        if len(self.weights) != len(self.members) or not math.isclose(sum(self.weights), 1, abs_tol=1e-6):
            raise ValueError("there must be one weight per member, and they must sum to 1")
        return self


Runtime = Annotated[LinearRuntime | OnnxRuntime | TransformersRuntime | EnsembleRuntime, Field(discriminator="name")]


class Calibration(FrozenModel):
    """Temperature and decision threshold, fitted on the validation split."""

    temperature: float = Field(default=1.0, ge=0.01, le=100, allow_inf_nan=False)
    """Temperature of the softmax: probabilities are raised to 1 / temperature and normalized. The export step fits
    0.05 to 20."""
    threshold: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    """Lowest probability of class 1 at which it is predicted, for two classes; None predicts the more probable
    class."""

    def predict(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Return the index of the predicted class, (n,) int64, for calibrated probabilities (n, classes) float64."""
        if self.threshold is None:
            return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)
        return (probabilities[:, 1] >= self.threshold).astype(np.int64)


class FileEntry(FrozenModel):
    """Digest and size of a file in a bundle."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hex sha256 of the content."""
    size: int = Field(ge=0)
    """Size in bytes."""


class ModelBundle(FrozenModel):
    """Content of ``bundle.json``."""

    format_version: Literal[1] = 1
    """Version of the format of the manifest."""
    name: str
    """Name of the recipe."""
    family: str
    """Model family, such as ``transformer``."""
    runtime: Runtime
    """Runtime that computes the predictions."""
    labels: list[str] = Field(min_length=2)
    """Label names in the order of the probabilities."""
    normalizer: TextNormalizer
    """Text cleaning of the training data, which is applied to every text before prediction."""
    recipe: dict[str, Any]
    """Sections of the recipe that determine the weights; gate thresholds are not included."""
    metrics: dict[str, float]
    """Metric name to value on the validation split, from training."""
    history: list[dict[str, float]] = []
    """Training history in order: ``epoch`` with ``loss`` or ``validation_f1``."""
    dataset: str
    """Fingerprint of the training dataset."""
    versions: dict[str, str]
    """Library name to version during training."""
    calibration: Calibration = Calibration()
    """Temperature and decision threshold."""
    alternatives: dict[str, Runtime] = Field(default_factory=dict)
    """Further runtimes by export target; files that only one of them needs are in a folder named after the target."""
    files: dict[str, FileEntry] = Field(default_factory=dict)
    """Path in the bundle to digest and size, for every file except the manifest and the cost of the training."""

    @model_validator(mode="after")
    def _labels_are_a_choice(self) -> "ModelBundle":
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("two labels are equal")
        if self.calibration.threshold is not None and len(self.labels) != 2:
            raise ValueError(f"a threshold is for two labels, but there are {len(self.labels)}")
        return self

    @property
    def base_model(self) -> str | None:
        """URI of the pretrained weights that the bundle needs besides its own files; None if it is complete."""
        return self.runtime.base_model if isinstance(self.runtime, TransformersRuntime) else None

    @property
    def max_tokens(self) -> int | None:
        """Longest input in tokens; None if texts are never truncated."""
        return None if isinstance(self.runtime, LinearRuntime) else self.runtime.max_tokens

    @property
    def size(self) -> int:
        """Bytes of the files that the runtime needs, without those of the alternatives."""
        alternatives = tuple(f"{target}/" for target in self.alternatives)
        return sum(
            entry.size for name, entry in self.files.items() if name != TRAINED_ON and not name.startswith(alternatives)
        )

    @property
    def fingerprint(self) -> str:
        """Sha256 of the canonical manifest, which contains the sha256 of every file but ``trained_on.bin``.

        A published bundle leaves that file out, and has the fingerprint of the original. Defaults are left out, so that
        a new field does not change the fingerprints of existing bundles.
        """
        content = self.without_trained_on().model_dump_json(exclude_defaults=True)
        return hashlib.sha256(content.encode("utf-8")).hexdigest()

    def without_trained_on(self) -> "ModelBundle":
        """Return the manifest of the bundle without the keys of the texts that it was trained on."""
        return self.model_copy(update={"files": {name: self.files[name] for name in self.files if name != TRAINED_ON}})

    def write(self, folder: Path) -> "ModelBundle":
        """Hash the files in ``folder`` and write the manifest there; return the manifest with its files."""
        files = {name: _entry(folder / name) for name in _names(folder)}
        manifest = self.model_copy(update={"files": files})
        write_file(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
        return manifest

    @classmethod
    def parse(cls, text: str | bytes, where: str) -> "ModelBundle":
        """Parse the JSON of a manifest; ``where`` names it in error messages.

        Raises:
            InputError: The text is not a bundle manifest, is too large, or names a file outside the bundle.
        """
        if len(text) > _LARGEST_MANIFEST:
            raise InputError(f"{where} is larger than the maximum, {_LARGEST_MANIFEST:,} bytes")
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
            InputError: There is no manifest, or a file is missing, not listed, a link, or has another size or sha256.
                The message names the file.
        """
        folder = Path(folder)
        if (folder / MANIFEST).is_symlink():
            raise InputError(f"{folder} is not a model bundle: {MANIFEST} is a link")
        # Opening a named pipe would wait for its writer.
        if (folder / MANIFEST).is_fifo():
            raise InputError(f"{folder} is not a model bundle: {MANIFEST} is a pipe")
        try:
            with (folder / MANIFEST).open("rb") as file:
                text = file.read(_LARGEST_MANIFEST + 1)
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
    names = (path.relative_to(folder).as_posix() for path in files)
    return sorted(name for name in names if name not in (MANIFEST, TRAINING_COST))


def _entry(path: Path) -> FileEntry:
    return FileEntry(sha256=file_sha256(path), size=path.stat().st_size)
