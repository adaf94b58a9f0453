"""What differs from one kind of model to another: one module a family, found by the name the recipe gives.

A family's module is imported only when a recipe names it, so that a linear recipe never waits for torch.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from textgate.components.contracts import Dataset, LinearRuntime, ModelBundle, OnnxRuntime, TransformersRuntime
from textgate.serving import Predictor


class Family(Protocol):
    """The functions every family's module has."""

    def fit(
        self, dataset: Dataset, training: Any, checkpoint: Path | None, folder: Path
    ) -> tuple[LinearRuntime | TransformersRuntime, dict[str, float]]:
        """Train on the split ``train``, write the model's files into ``folder``.

        Returns the runtime that answers for the files, and metrics measured on the split ``validation``.
        ``training`` is the recipe's section of this family, ``checkpoint`` the local folder of its base model.
        """
        ...

    def predictor(self, folder: Path, bundle: ModelBundle) -> Predictor:
        """Answer from a bundle this family trained, with the library that trained it."""
        ...

    def merge(self, folder: Path, bundle: ModelBundle, output: Path) -> str | None:
        """Merge an adapter into its base: files into ``output``, and how it was done; None when there is no adapter."""
        ...

    def export(self, folder: Path, bundle: ModelBundle, target: str, output: Path) -> OnnxRuntime | None:
        """Files for serving into ``output``, and the runtime that answers; None when the bundle is served as it is."""
        ...


def family(name: str) -> Family:
    """The module of the family a recipe or bundle names."""
    return cast(Family, import_module(f"{__name__}.{name}"))
