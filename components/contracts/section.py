"""Section: the settings of one part of a recipe."""

from pydantic import ConfigDict

from textgate.components.contracts.record import Record


class Section(Record):
    """Settings that refuse keys they do not know."""

    model_config = ConfigDict(allow_inf_nan=False)
