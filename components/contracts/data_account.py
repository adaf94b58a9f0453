"""Account of a dataset's rows in words: rows in, kept, and rejected by reason, class and split, with an example."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.losses import Loss, rows_by_label

_MAX_CLASSES = 3
_MAX_GONE_LABELS = 10
_LABEL_CHARACTERS = 60
_EXAMPLE_CHARACTERS = 40
_INGESTED = "all"
"""Split of the ingested rows that the source gives no split."""


def account_lines(manifest: DatasetManifest) -> list[str]:
    """Return the account: one line with the totals, and one for each reason of rejection, the most frequent first."""
    kept = f"{manifest.rows_in:,} rows in, {manifest.rows_out:,} kept"
    if manifest.counts.keys() != {_INGESTED}:
        kept += f" ({', '.join(f'{split} {sum(rows.values()):,}' for split, rows in manifest.counts.items())})"
    if manifest.rejected:
        kept += f", {sum(manifest.rejected.values()):,} rejected"
    if manifest.rows_filtered:
        kept += f"; {manifest.rows_filtered:,} more not selected by source.where"
    by_rows = sorted(manifest.rejected, key=lambda reason: (-manifest.rejected[reason], reason))
    if manifest.losses is None:
        return [kept, *(f"{manifest.rejected[reason]:,} {reason}" for reason in by_rows)]
    rows = kept_by_label(manifest.counts.values())
    return [kept, *(reason_line(reason, manifest.losses, rows) for reason in by_rows)]


def kept_by_label(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """Return the number of rows by class over all splits."""
    return sum(map(Counter, counts), Counter())


def reason_line(reason: str, losses: Sequence[Loss], kept: Mapping[str, int]) -> str:
    """Return one reason with its number of rows, the labels that lose most, given splits, and an example.

    Args:
        reason: Reason of rejection.
        losses: Rejected rows.
        kept: Number of accepted rows by class.
    """
    own = [loss for loss in losses if loss.reason == reason]
    example = max(own, key=lambda loss: loss.rows).examples[0]
    text = "" if example.text is None else f" {_shown(' '.join(example.text.split()), _EXAMPLE_CHARACTERS)}"
    details = [
        *([labels] if (labels := lost_labels(reason, losses, kept)) else []),
        *([splits] if (splits := lost_splits(reason, losses)) else []),
        f"such as {example.id}{text}",
    ]
    return f"{sum(loss.rows for loss in own):,} {reason} ({'; '.join(details)})"


def lost_labels(reason: str, losses: Sequence[Loss], kept: Mapping[str, int]) -> str:
    """Return the labels of the rows that are rejected for a reason, those that lose most first; empty if none is known.

    A label of which no row is kept, such as an unknown one, is named with its rows; another one also with its share.
    """
    rows = {label: count for label, count in rows_by_label(losses, reason).items() if label is not None}
    totals = Counter(kept)
    for loss in losses:
        if loss.label is not None and loss.label in kept:
            totals[loss.label] += loss.rows
    gone = sorted(rows.keys() - kept.keys(), key=lambda label: (-rows[label], label))
    classes = sorted(rows.keys() & kept.keys(), key=lambda label: (-rows[label] / totals[label], label))
    parts = [f"{_shown(label, _LABEL_CHARACTERS)} {rows[label]:,}" for label in gone[:_MAX_GONE_LABELS]]
    parts += [
        f"{_shown(label, _LABEL_CHARACTERS)} {rows[label]:,} of {totals[label]:,} ({rows[label] / totals[label]:.1%})"
        for label in classes[:_MAX_CLASSES]
    ]
    if hidden := len(rows) - len(parts):
        parts.append(f"{hidden:,} more {'label' if hidden == 1 else 'labels'}")
    return ", ".join(parts)


def lost_splits(reason: str, losses: Sequence[Loss]) -> str:
    """Return the rows of each split given by the source that are rejected for a reason; empty if there are none."""
    splits: Counter[str] = Counter()
    for loss in losses:
        if loss.reason == reason and loss.split is not None and loss.split != _INGESTED:
            splits[loss.split] += loss.rows
    return ", ".join(f"{rows:,} in the given split {split}" for split, rows in splits.items())


def _shown(text: str, characters: int) -> str:
    return repr(text if len(text) <= characters else f"{text[:characters]}…")
