"""Rejected rows of a dataset, counted by reason, label and split with a few examples each, within bounded memory."""

from collections.abc import Iterable
from typing import NamedTuple

from pydantic import Field

from textgate.components.contracts.frozen_model import FrozenModel

MAX_EXAMPLES = 3
_MAX_GROUPS = 1_000
"""Number of groups with a label; in further ones the label counts as not known. Any text can be an unknown label."""
_TEXT_CHARACTERS = 100


class RejectedExample(FrozenModel):
    """One of the rejected rows."""

    id: str
    """Origin of the row as ``file:row``."""
    text: str | None
    """First 100 characters of the text; None if it could not be read."""


class Loss(FrozenModel):
    """Rejected rows of one reason, label and split."""

    reason: str
    """Reason of the rejection."""
    label: str | None
    """Name of the class, or the label in the source if it is no class; None if it is not known, or has no label."""
    split: str | None
    """Split of the ingested rows: ``all``, or a split that the source gives; None if it is not known."""
    rows: int = Field(gt=0)
    """Number of rows."""
    examples: list[RejectedExample]
    """The first three of the rows."""


class _Group(NamedTuple):
    reason: str
    label: str | None
    split: str | None


class LossCounter:
    """Counter of rejected rows; memory is bounded by the number of groups."""

    def __init__(self) -> None:
        self._rows: dict[_Group, int] = {}
        self._examples: dict[_Group, list[RejectedExample]] = {}

    def add(self, reason: str, label: str | None, split: str | None, row_id: str, text: str | None) -> None:
        """Count a rejected row."""
        group = _Group(reason, label, split)
        if label is not None and group not in self._rows and len(self._rows) >= _MAX_GROUPS:
            group = _Group(reason, None, split)
        self._rows[group] = self._rows.get(group, 0) + 1
        examples = self._examples.setdefault(group, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(RejectedExample(id=row_id, text=None if text is None else text[:_TEXT_CHARACTERS]))

    def losses(self) -> list[Loss]:
        """Return the groups, sorted by reason, split and label."""
        groups = sorted(self._rows, key=lambda group: (group.reason, group.split or "", group.label or ""))
        return [
            Loss(**group._asdict(), rows=self._rows[group], examples=list(self._examples[group])) for group in groups
        ]


def rows_by_label(losses: Iterable[Loss], reason: str) -> dict[str | None, int]:
    """Return the number of rows that were rejected for a reason, by label, over all splits."""
    rows: dict[str | None, int] = {}
    for loss in losses:
        if loss.reason == reason:
            rows[loss.label] = rows.get(loss.label, 0) + loss.rows
    return rows
