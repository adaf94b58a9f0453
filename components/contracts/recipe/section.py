"""RecipeSection: base class of every section of a recipe."""

from pydantic import ConfigDict

from textgate.components.contracts.frozen_model import FrozenModel


class RecipeSection(FrozenModel):
    """Immutable settings that reject unknown keys, NaN and infinity.

    The docstring below each field is the field's description in the JSON schema and in the reference of recipe keys.
    """

    model_config = ConfigDict(allow_inf_nan=False, use_attribute_docstrings=True)
