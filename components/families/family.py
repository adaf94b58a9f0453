"""The protocol of a model family, and what a training is given and returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from textgate.components.contracts import Dataset, InputError, ModelBundle, OnnxRuntime, TransformersRuntime
from textgate.components.contracts.bundle import Runtime
from textgate.components.inference import Predictor

_WORDS = 512


class Checkpoints(Protocol):
    """Where a training's checkpoints outlive the process, so that one that was killed can go on."""

    def restore(self, folder: Path) -> bool:
        """Bring the newest whole checkpoint into ``folder``; False when there is none."""
        ...

    def save(self, folder: Path) -> None:
        """Keep the checkpoint that lies in ``folder`` in place of the one before; the folder is taken away."""
        ...


@dataclass(frozen=True)
class TrainingContext:
    """What a training is given besides its data and settings, none of which changes its result."""

    base_model: Path | None = None
    """Local folder or file of the pretrained weights the recipe names."""
    checkpoints: Checkpoints | None = None
    logs: Path | None = None
    """Folder for TensorBoard files."""
    bundles: Mapping[str, Path] = field(default_factory=dict)
    """Folders of the finished systems that the recipe names."""


class FitResult(NamedTuple):
    """What a training comes to."""

    runtime: Runtime
    """What answers for the files it wrote."""
    metrics: dict[str, float]
    """Measured on the split ``validation``, among them ``validation_f1``."""
    history: list[dict[str, float]] = []
    """See ``ModelBundle.history``; empty where nothing is learned epoch by epoch."""


class Family(Protocol):
    """The functions of a family's module."""

    def fit(self, dataset: Dataset, training: Any, folder: Path, context: TrainingContext) -> FitResult:
        """Train on the split ``train``, write the model's files into ``folder``.

        ``training`` is the recipe's section of this family.
        """
        ...

    def predictor(self, folder: Path, bundle: ModelBundle, base_model: Path | None) -> Predictor:
        """Answer from a bundle this family trained, with the library that trained it.

        ``base_model`` is the local folder or file of what ``bundle.base_model`` names.
        """
        ...

    def merge(
        self, folder: Path, bundle: ModelBundle, base_model: Path | None, output: Path
    ) -> tuple[TransformersRuntime, str] | None:
        """Make a bundle whole: what it holds and its base model as one set of files in ``output``.

        Returns the runtime that answers for them and how it was done in words; None when the bundle is whole already.
        """
        ...


class ExportableFamily(Family, Protocol):
    """A family whose trained model is exported before it is served."""

    def export_hf(self, folder: Path, bundle: ModelBundle, output: Path, quantize: bool) -> TransformersRuntime:
        """Write a Hugging Face folder that vLLM, TEI or KServe's own runtime loads into ``output``.

        Args:
            folder: Folder of the merged bundle.
            bundle: Its manifest.
            output: An empty folder.
            quantize: Whether the weights are stored in 4-bit NormalFloat.

        Raises:
            InputError: transformers cannot load the model by itself, because its head is not one of transformers'.
        """
        ...

    def export_onnx(self, folder: Path, bundle: ModelBundle, output: Path) -> tuple[OnnxRuntime, list[str]]:
        """``model.onnx`` in full precision and ``tokenizer.json`` into ``output``.

        Returns the runtime that answers, and the names of the nodes that are never to be rounded. Families that
        answer from plain arrays are served as they are and have no such function.
        """
        ...


def max_benchmark_tokens(bundle: ModelBundle) -> int:
    """Tokens, or words where it knows no longest text, to measure a bundle up to."""
    return bundle.max_tokens or _WORDS


def transformer_max_tokens(bundle: ModelBundle) -> int:
    """Tokens of the longest text that a trained transformer's bundle reads whole.

    Raises:
        InputError: it was exported already.
    """
    if not isinstance(bundle.runtime, TransformersRuntime):
        raise InputError(
            f"the bundle {bundle.name} answers with {bundle.runtime.name}, not with the model it was trained as"
        )
    return bundle.runtime.max_tokens


def custom_head_error(bundle: ModelBundle) -> InputError:
    """Return the error of exporting ``bundle``, whose head transformers does not know, as a Hugging Face folder."""
    return InputError(
        f"export.targets: hf and hf-nf4 are for models that transformers loads by itself, but {bundle.name} has a "
        "head of its own: take targets of ONNX"
    )
