"""Metadata of KFP artifacts without the checksums that every step records."""

from typing import Any


def without_checksums(artifact: Any) -> dict[str, Any]:
    """Return the metadata of an artifact that a step has written, without its checksums."""
    metadata = dict(artifact.metadata)
    assert metadata.pop("sha256")
    assert metadata.pop("files")
    return metadata
