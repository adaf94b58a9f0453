"""How the splits of a dataset were made."""

from typing import Literal

from textgate.components.contracts.frozen_model import FrozenModel


class SplitChoice(FrozenModel):
    """How the test split and the validation split were chosen."""

    by: Literal["hash", "source", "time"]
    """``hash``: a share of the texts by their hash. ``source``: the rows that ``source.test`` selects. ``time``: the
    latest texts (``preprocess.test_latest_by``)."""
    column: str | None = None
    """Column with the time; None if it was not chosen by time."""
    since: str | None = None
    """Time of the earliest texts that can be in the test split; all training and validation texts are from before. A
    number as in the source, or a date or time in UTC in ISO 8601; None if it was not chosen by time."""
    validation: Literal["hash", "source"] = "hash"
    """How the validation split was chosen: a share of the other texts by their hash, or the rows that
    ``source.validation`` selects."""


class NearDuplicateGroups(FrozenModel):
    """Groups of near duplicates among the texts that were kept; copies, which have one key, count as one text."""

    threshold: float
    """Jaccard index of the texts' shingles from which on they are near duplicates (``preprocess.near_duplicates``)."""
    texts: int
    """Number of texts in groups of two or more."""
    groups: int
    """Number of such groups."""
    joined: int
    """Number of groups that their own hashes would have put into several splits."""
    scattered: int
    """Number of texts in groups that are too large to be kept in one split, as those made from a template are."""
