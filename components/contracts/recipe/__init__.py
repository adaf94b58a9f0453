"""The recipe: one YAML file a system, a section a step."""

from textgate.components.contracts.recipe.recipe import (
    MODEL_NAME,
    MOST_SHARDS,
    Accelerator,
    Compute,
    Export,
    Gate,
    Recipe,
    Resources,
    Toleration,
)

__all__ = ["MODEL_NAME", "MOST_SHARDS", "Accelerator", "Compute", "Export", "Gate", "Recipe", "Resources", "Toleration"]
