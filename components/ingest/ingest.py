"""Read a source to its last row, and keep every row with a text and a label or say why not."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from textgate.components.contracts import InputError, Progress, Rejected, Row, Source, dataset_writer
from textgate.components.contracts.dataset import DatasetManifest, DatasetWriter
from textgate.components.ingest.hub import read_hub
from textgate.components.ingest.readers import data_files, laid_out, read
from textgate.components.ingest.reasons import (
    EMPTY_TEXT,
    MISSING_LABEL,
    NOT_A_RECORD,
    OVER_LONG_LINE,
    UNDECODABLE,
    UNKNOWN_LABEL,
)
from textgate.components.ingest.records import RawRow, as_text, is_texts, surrogate_in
from textgate.components.ingest.where import RowFilter
from textgate.components.sources import fetch

SPLIT = "all"
TEST = "test"
_MOST_LABELS = 1_000


def ingest_source(source: Source, output: Path, downloads: Path) -> DatasetManifest:
    """Write the source as a dataset; ``downloads`` keeps what is fetched.

    Its rows are in one split, ``all``, but for those that ``source.test`` selects, which are in another, ``test``.

    Raises:
        InputError: there is no such source or column, or it holds no two classes of rows; nothing is written then.
    """
    filters = Filters.of(source)
    path = None if source.uri.startswith("hf://") else fetch(source.uri, downloads)
    if path is not None:
        source = laid_out(source, data_files(path))
    wanted = filters.wanted(source)
    with dataset_writer(output, splits(source), source.metadata) as writer:
        records = read_hub(source, wanted) if path is None else read(path, source, wanted, filters.where)
        rows, filtered = take_all(records, source, filters, writer)
        return finish(source, writer, rows, filtered)


@dataclass(frozen=True)
class Filters:
    """The source's row filters."""

    where: RowFilter | None
    test: RowFilter | None

    @classmethod
    def of(cls, source: Source) -> "Filters":
        """Raises InputError where one cannot be parsed."""
        return cls(*(RowFilter.parse(text) if text else None for text in (source.where, source.test)))

    def wanted(self, source: Source) -> list[str]:
        """The columns that are read: text, label, metadata, and what the filters ask for."""
        asked = {column for row_filter in (self.where, self.test) if row_filter for column in row_filter.columns}
        return list(dict.fromkeys([*source.text_columns, source.label, *source.metadata, *sorted(asked)]))


def splits(source: Source) -> list[str]:
    """Names of the splits that the source is written in."""
    return [SPLIT, TEST] if source.test else [SPLIT]


def take_all(records: Iterator[RawRow], source: Source, filters: Filters, writer: DatasetWriter) -> tuple[int, int]:
    """Keep or reject every record; returns how many there were, and how many the row filter did not select."""
    progress = Progress(total=0)
    filtered = rows = 0
    for rows, record in enumerate(records, 1):
        if filters.where and record.columns is not None and not filters.where.matches(record.columns):
            filtered += 1
        elif filters.test and record.columns is not None and filters.test.matches(record.columns):
            _take(record, source, writer, TEST)
        else:
            _take(record, source, writer, SPLIT)
        if rows % 1_000 == 0:
            progress.update(rows, "reading")
    print(f"read {rows:,} rows", flush=True)
    return rows, filtered


def finish(source: Source, writer: DatasetWriter, rows: int, filtered: int) -> DatasetManifest:
    """Write the manifest of a source that has been read whole.

    Raises:
        InputError: its rows make no task.
    """
    labels = _labels(source, writer, rows, filtered)
    if source.test and not (writer.counts[TEST] and writer.counts[SPLIT]):
        tested, usable = writer.counts[TEST].total(), writer.counts[TEST].total() + writer.counts[SPLIT].total()
        raise InputError(
            f"source.test {source.test!r} selects {tested:,} of the {usable:,} rows of {source.uri} that can be used: "
            "it must select some of them and leave others to train on"
        )
    return writer.finish(source.uri, labels, rows_filtered=filtered)


def require_few_labels(source: Source, writer: DatasetWriter, split: str) -> None:
    """Raise InputError where the label column cannot be one of classes."""
    if len(writer.counts[split]) > _MOST_LABELS:
        raise InputError(
            f"the label column {source.label!r} of {source.uri} has over {_MOST_LABELS:,} different values: "
            "name the column that holds the classes with --set source.label=…"
        )


def _take(record: RawRow, source: Source, writer: DatasetWriter, split: str) -> None:
    if record.columns is None:
        writer.reject(Rejected(record.id, record.reason, None, None))
        return
    values = [record.columns.get(column) for column in source.text_columns]
    texts = [as_text(value) for value in values]
    text = texts[0] if len(texts) == 1 else " ".join(part for part in texts if part.strip())
    raw = as_text(record.columns.get(source.label)).strip()
    label = source.labels.get(raw) if source.labels is not None else raw
    metadata = {column: as_text(record.columns.get(column)).strip() for column in source.metadata}
    if any(map(surrogate_in, [text, raw, *metadata.values()])):
        reason = UNDECODABLE
    elif isinstance(record.columns.get(source.label), dict | list) or any(
        isinstance(value, dict | list) and not is_texts(value) for value in values
    ):
        reason = NOT_A_RECORD
    elif len(text) + sum(map(len, metadata.values())) > source.max_line_bytes:
        reason = OVER_LONG_LINE
    elif not text.strip():
        reason = EMPTY_TEXT
    elif not raw:
        reason = MISSING_LABEL
    elif label is None:
        reason = UNKNOWN_LABEL
    else:
        writer.add(split, Row(record.id, text, label, metadata))
        require_few_labels(source, writer, split)
        return
    writer.reject(Rejected(record.id, reason, raw or None, text))


def _labels(source: Source, writer: DatasetWriter, rows: int, filtered: int) -> list[str]:
    """The label names in class order; InputError where the rows make no task."""
    found = {label for counts in writer.counts.values() for label in counts}
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
