"""Section: the settings of one part of a recipe."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Settings that refuse keys they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
