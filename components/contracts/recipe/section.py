"""Section: the settings of one part of a recipe."""

from pydantic import ConfigDict

from textgate.components.contracts.frozen_model import FrozenModel


class RecipeSection(FrozenModel):
    """Settings that refuse keys they do not know."""

    model_config = ConfigDict(allow_inf_nan=False)
