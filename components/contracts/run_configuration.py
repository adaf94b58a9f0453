"""RunConfiguration: what a run uses after the inputs of its pipeline were applied to the recipe."""

from typing import Any

from textgate.components.contracts.frozen_model import FrozenModel


class RunConfiguration(FrozenModel):
    """Content of ``runs/<run>/configuration.json``, which a pipeline with inputs writes first."""

    recipe: dict[str, Any]
    """Recipe with the values of the inputs."""
    source_version: str
    """Version of the source that the run reads."""
    changes: list[str] = []
    """Values that the inputs changed, such as ``gate.min_f1 0.5 instead of 0.8``."""
