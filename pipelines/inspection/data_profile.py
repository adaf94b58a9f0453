"""Profile of a data source for ``textgate init``: its columns and its labels."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

from textgate.components.contracts import InputError, Rejected, Source
from textgate.components.ingest.ingest import accept_row
from textgate.components.ingest.labels import LabelNames, sort_labels
from textgate.components.ingest.raw_rows import to_text
from textgate.components.ingest.source_filters import ALL
from textgate.pipelines.inspection.columns import MAX_LABELS, SourceColumns, find_columns
from textgate.pipelines.inspection.splits import split_filter, split_role

_MAX_ROWS = 200_000


@dataclass(frozen=True)
class DataProfile:
    """Source of a recipe, and the labels counted in its rows."""

    source: Source
    columns: list[str]
    """Names of all columns."""
    labels: dict[str, int]
    """Label in the source to number of rows, sorted by label."""
    rows: int
    """Rows that were read."""
    unusable: int
    """Rows that ingest would reject."""
    complete: bool
    """Whether all rows were read; of a large source only the first are."""


def profile(uri: str, text: str | None = None, label: str | None = None) -> DataProfile:
    """Read a data source and find its text column, its label column and its labels.

    Args:
        uri: File, folder, ``s3://``, ``https://``, ``hf://`` or ``pypi://``.
        text: Name of the text column, instead of a guess.
        label: Name of the label column, instead of a guess.

    Raises:
        InputError: If the source cannot be read, a named column does not exist, no column looks like a text or a label,
            or the label column has fewer than 2 or more than 1,000 values.
    """
    found = find_columns(uri, text, label)
    splits: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    names, rows = LabelNames(found.source.labels), 0
    for row in islice(found.rows(), _MAX_ROWS):
        rows += 1
        accepted = accept_row(row, found.source, names, ALL)
        if not isinstance(accepted, Rejected):
            labels[accepted.label] += 1
            splits[to_text((row.columns or {}).get(found.split)) if found.split else ""] += 1
            require_few_labels(labels, found.source)
    require_two_labels(labels, found.source)
    source = with_given_test(found, splits)
    counts = {label: labels[label] for label in sort_labels(labels)}
    return DataProfile(source, found.names, counts, rows, rows - labels.total(), rows < _MAX_ROWS)


def require_two_labels(labels: Collection[str], source: Source) -> None:
    """Check that there are at least two labels.

    Raises:
        InputError: There are fewer.
    """
    if len(labels) < 2:
        values_found = f"the value {min(labels)!r} only" if labels else "no value"
        raise InputError(
            f"the column {source.label!r} of {source.uri} has {values_found}: a classifier needs at least two labels; "
            "name the column that holds them with --label"
        )


def require_few_labels(labels: Collection[str], source: Source) -> None:
    """Check that there are at most 1,000 labels.

    Raises:
        InputError: There are more, so the column probably does not hold the classes.
    """
    if len(labels) > MAX_LABELS:
        raise InputError(
            f"the column {source.label!r} of {source.uri} has over {MAX_LABELS:,} values: name the column that "
            "holds the labels with --label"
        )


def with_given_test(found: SourceColumns, splits: Counter[str]) -> Source:
    """Return the source with ``source.test`` set if the names of its splits say which are for testing.

    Args:
        found: Source with its columns.
        splits: Number of rows of each split.
    """
    tests = [name for name in splits if split_role(name) == "test"]
    if found.split and tests and len(tests) < len(splits) and (selected := split_filter(found.split, tests)):
        return found.source.model_copy(update={"test": selected})
    return found.source
