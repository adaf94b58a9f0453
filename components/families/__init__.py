"""What differs from one kind of model to another: one module a family, found by the name the recipe gives.

A family's module is imported only when a recipe names it, so that a linear recipe never waits for torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from textgate.components.contracts import (
    Dataset,
    InputError,
    ModelBundle,
    OnnxRuntime,
    TransformersRuntime,
)
from textgate.components.contracts.bundle import Runtime
from textgate.serving import Calibrated, Predictor, load

_WORDS = 512


class Checkpoints(Protocol):
    """Where a training's checkpoints outlive the process, so that one that was killed can go on."""

    def restore(self, folder: Path) -> bool:
        """Bring the newest whole checkpoint into ``folder``; False when there is none."""
        ...

    def keep(self, folder: Path) -> None:
        """Keep the checkpoint that lies in ``folder`` in place of the one before; the folder is taken away."""
        ...


@dataclass(frozen=True)
class Surroundings:
    """What a training is given besides its data and settings, none of which changes its result."""

    checkpoint: Path | None = None
    """Local folder or file of the pretrained weights the recipe names."""
    checkpoints: Checkpoints | None = None
    logs: Path | None = None
    """Folder for TensorBoard files."""
    bundles: Mapping[str, Path] = field(default_factory=dict)
    """Folders of the finished systems that the recipe names."""


class Fitted(NamedTuple):
    """What a training comes to."""

    runtime: Runtime
    """What answers for the files it wrote."""
    metrics: dict[str, float]
    """Measured on the split ``validation``, among them ``validation_f1``."""
    history: list[dict[str, float]] = []
    """See ``ModelBundle.history``; empty where nothing is learned epoch by epoch."""


class Family(Protocol):
    """The functions of a family's module."""

    def fit(self, dataset: Dataset, training: Any, folder: Path, surroundings: Surroundings) -> Fitted:
        """Train on the split ``train``, write the model's files into ``folder``.

        ``training`` is the recipe's section of this family.
        """
        ...

    def predictor(self, folder: Path, bundle: ModelBundle, checkpoint: Path | None) -> Predictor:
        """Answer from a bundle this family trained, with the library that trained it.

        ``checkpoint`` is the local folder or file of what ``bundle.checkpoint`` names.
        """
        ...

    def merge(
        self, folder: Path, bundle: ModelBundle, checkpoint: Path | None, output: Path
    ) -> tuple[TransformersRuntime, str] | None:
        """Make a bundle whole: what it holds and its checkpoint as one set of files in ``output``.

        Returns the runtime that answers for them and how it was done in words; None when the bundle is whole already.
        """
        ...

    def export(self, folder: Path, bundle: ModelBundle, output: Path) -> tuple[OnnxRuntime, list[str]]:
        """``model.onnx`` in full precision and ``tokenizer.json`` into ``output``.

        Returns the runtime that answers, and the names of the nodes that are never to be rounded. Families that
        answer from plain arrays are served as they are and have no such function.
        """
        ...


def family(name: str) -> Family:
    """The module of the family a recipe or bundle names."""
    return cast(Family, import_module(f"{__name__}.{name}"))


def open_predictor(folder: Path, bundle: ModelBundle, checkpoint: Path | None = None) -> Predictor:
    """What answers for the bundle in ``folder``, calibrated: as it is served, or a transformer by the family on torch.

    ``checkpoint`` is the local folder or file of what ``bundle.checkpoint`` names.
    """
    if not isinstance(bundle.runtime, TransformersRuntime):
        return load(folder)
    predictor = family(bundle.family).predictor(folder / bundle.runtime.folder, bundle, checkpoint)
    return Calibrated(predictor, bundle.calibration.temperature)


def longest_served(bundle: ModelBundle) -> int:
    """Tokens, or words where it knows no longest text, to measure a bundle up to."""
    return bundle.max_tokens or _WORDS


def longest_text(bundle: ModelBundle) -> int:
    """Tokens of the longest text that a trained transformer's bundle reads whole.

    Raises:
        InputError: it was exported already.
    """
    if not isinstance(bundle.runtime, TransformersRuntime):
        raise InputError(
            f"the bundle {bundle.name} answers with {bundle.runtime.name}, not with the model it was trained as"
        )
    return bundle.runtime.max_tokens
