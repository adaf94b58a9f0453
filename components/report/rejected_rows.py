"""Rows of the report's table of rejected rows: reason, label, split, share of the label's rows, examples."""

from collections import Counter
from typing import NamedTuple

from textgate.components.contracts.data_account import kept_by_label
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.losses import Loss

MAX_GROUPS = 50
"""Number of groups in the table."""


class RejectedGroup(NamedTuple):
    """Rejected rows of one reason, label and split."""

    loss: Loss
    """The rows."""
    share: float | None
    """Share of the rows of the class, over all splits; None if the label is no class."""


def rejected_groups(dataset: DatasetManifest) -> list[RejectedGroup]:
    """Return the largest groups of rejected rows; none if the dataset does not know them."""
    kept = kept_by_label(dataset.counts.values())
    lost: Counter[str | None] = Counter()
    for loss in dataset.losses or []:
        lost[loss.label] += loss.rows
    largest = sorted(
        dataset.losses or [], key=lambda loss: (-loss.rows, loss.reason, loss.label or "", loss.split or "")
    )
    rows = {label: kept[label] + lost[label] for label in kept}
    return [
        RejectedGroup(loss, loss.rows / rows[loss.label] if loss.label is not None and loss.label in rows else None)
        for loss in largest[:MAX_GROUPS]
    ]
