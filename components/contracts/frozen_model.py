"""Record: what one step writes as JSON and others read."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """Fields that do not change, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)
