"""FrozenModel: base class of everything that one step writes as JSON and another reads."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """Immutable pydantic model that rejects unknown fields.

    A field that is renamed keeps its JSON key as its ``alias``, so that files of earlier versions stay readable and
    fingerprints do not change.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )
