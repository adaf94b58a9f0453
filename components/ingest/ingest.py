"""Read a source to its last row, and keep every row with a text and a label or say why not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textgate.components.contracts import InputError, Progress, Rejected, Row, Source, dataset_writer
from textgate.components.contracts.dataset import DatasetManifest, DatasetWriter
from textgate.components.ingest.hub import read_hub
from textgate.components.ingest.readers import Record, read, surrogate_in
from textgate.components.ingest.reasons import (
    EMPTY_TEXT,
    MISSING_LABEL,
    NOT_A_RECORD,
    OVER_LONG_LINE,
    UNDECODABLE,
    UNKNOWN_LABEL,
)
from textgate.components.ingest.where import RowFilter
from textgate.components.storage.fetch import fetch

SPLIT = "all"
_MOST_LABELS = 1_000


def ingest_source(source: Source, output: Path, downloads: Path) -> DatasetManifest:
    """Write the source as a dataset of one split, ``all``; ``downloads`` keeps what is fetched.

    Raises:
        InputError: there is no such source or column, or it holds no two classes of rows; nothing is written then.
    """
    row_filter = RowFilter.parse(source.where) if source.where else None
    progress = Progress(total=0)
    with dataset_writer(output, [SPLIT]) as writer:
        filtered = rows = 0
        for rows, record in enumerate(_records(source, downloads, row_filter), 1):
            if row_filter and record.columns is not None and not row_filter.matches(record.columns):
                filtered += 1
            else:
                _take(record, source, writer)
            if rows % 1_000 == 0:
                progress.update(rows, "reading")
        print(f"read {rows:,} rows", flush=True)
        labels = _labels(source, writer, rows, filtered)
        return writer.finish(source.uri, labels, rows_filtered=filtered)


def _records(source: Source, downloads: Path, row_filter: RowFilter | None) -> Iterator[Record]:
    selecting = row_filter.columns if row_filter else set()
    wanted = list(dict.fromkeys([source.text, source.label, *sorted(selecting)]))
    if source.uri.startswith("hf://"):
        return read_hub(source, wanted)
    return read(fetch(source.uri, downloads), source, wanted)


def _take(record: Record, source: Source, writer: DatasetWriter) -> None:
    if record.columns is None:
        writer.reject(Rejected(record.id, record.reason, None, None))
        return
    values = record.columns.get(source.text), record.columns.get(source.label)
    text, raw = _as_text(values[0]), _as_text(values[1]).strip()
    label = source.labels.get(raw) if source.labels is not None else raw
    if surrogate_in(text) or surrogate_in(raw):
        reason = UNDECODABLE
    elif any(isinstance(value, dict | list) for value in values):
        reason = NOT_A_RECORD
    elif len(text) > source.max_line_bytes:
        reason = OVER_LONG_LINE
    elif not text.strip():
        reason = EMPTY_TEXT
    elif not raw:
        reason = MISSING_LABEL
    elif label is None:
        reason = UNKNOWN_LABEL
    else:
        writer.add(SPLIT, Row(record.id, text, label))
        if len(writer.counts[SPLIT]) > _MOST_LABELS:
            raise InputError(
                f"the label column {source.label!r} of {source.uri} has over {_MOST_LABELS:,} different values: "
                "name the column that holds the classes with --set source.label=…"
            )
        return
    writer.reject(Rejected(record.id, reason, raw or None, text))


def _as_text(value: Any) -> str:
    """A cell as text: nothing is empty, and a whole number is the same whether its column was read as float or not."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _labels(source: Source, writer: DatasetWriter, rows: int, filtered: int) -> list[str]:
    """The label names in class order; InputError where the rows make no task."""
    found = set(writer.counts[SPLIT])
    if rows == 0:
        raise InputError(f"{source.uri} has no rows")
    if filtered == rows:
        raise InputError(f"the row filter {source.where!r} selects none of the {rows:,} rows of {source.uri}")
    if not found:
        counts = [f"{count:,} {reason}" for reason, count in sorted(writer.rejected.items())]
        if filtered:
            counts.append(f"{filtered:,} not selected by the row filter {source.where!r}")
        raise InputError(f"no row of {source.uri} can be used: {', '.join(counts)}")
    if len(found) == 1:
        raise InputError(
            f"every row of {source.uri} has the label {found.pop()!r}: a classifier needs at least two classes"
        )
    if source.labels is None:
        return sorted(found)
    named = list(dict.fromkeys(source.labels.values()))
    absent = [label for label in named if label not in found]
    if absent:
        raise InputError(f"no row of {source.uri} has the label {absent[0]!r} that source.labels names")
    return named
