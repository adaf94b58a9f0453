"""The recipe: one YAML file per system, with one section per step."""

from textgate.components.contracts.recipe.evaluate_settings import EvaluateSettings
from textgate.components.contracts.recipe.export import Export
from textgate.components.contracts.recipe.gate import Gate
from textgate.components.contracts.recipe.preprocess import Preprocess
from textgate.components.contracts.recipe.recipe import Recipe
from textgate.components.contracts.recipe.resources import Accelerator, Compute, Resources, Toleration
from textgate.components.contracts.recipe.source import Source

__all__ = [
    "Accelerator",
    "Compute",
    "EvaluateSettings",
    "Export",
    "Gate",
    "Preprocess",
    "Recipe",
    "Resources",
    "Source",
    "Toleration",
]
