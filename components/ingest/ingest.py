"""Read a source completely; accept every row that has a text and a label, and reject the others with a reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from textgate.components.contracts import InputError, Progress, Rejected, Row, Source, dataset_writer
from textgate.components.contracts.dataset import DatasetManifest, SourceFile
from textgate.components.contracts.dataset_output import DatasetWriter
from textgate.components.ingest.hub_source import read_hub
from textgate.components.ingest.local_source import apply_csv_layout, list_data_files, read_local
from textgate.components.ingest.raw_rows import RawRow, has_surrogate, is_text_list, to_text
from textgate.components.ingest.rejection_reasons import (
    EMPTY_TEXT,
    MISSING_LABEL,
    NOT_A_RECORD,
    OVER_LONG_LINE,
    UNDECODABLE,
    UNKNOWN_LABEL,
)
from textgate.components.ingest.row_filter import RowFilter
from textgate.components.sources import fetch

ALL = "all"
"""Split of all rows that ``source.test`` does not select."""
TEST = "test"
"""Split of the rows that ``source.test`` selects."""
_MAX_LABELS = 1_000


def ingest_source(source: Source, output: Path, downloads: Path) -> DatasetManifest:
    """Write a source as a dataset.

    Args:
        source: Source settings.
        output: Folder of the dataset, with the split ``all``, and ``test`` if ``source.test`` is set.
        downloads: Folder that keeps what is downloaded.

    Raises:
        InputError: The source or a column does not exist, or there are no two classes. Nothing is written then.
    """
    filters = SourceFilters.parse(source)
    path = None if source.uri.startswith("hf://") else fetch(source.uri, downloads)
    if path is not None:
        source = apply_csv_layout(source, list_data_files(path))
    columns = filters.columns(source)
    with dataset_writer(output, split_names(source), source.metadata) as writer:
        files: list[SourceFile] = []
        rows = read_hub(source, columns) if path is None else read_local(path, source, columns, filters.where, files)
        row_count, filtered = write_rows(rows, source, filters, writer)
        return finish_dataset(source, writer, row_count, filtered, files)


@dataclass(frozen=True)
class SourceFilters:
    """Parsed row filters of a source."""

    where: RowFilter | None
    """Selects the rows to read."""
    test: RowFilter | None
    """Selects the given test split."""

    @classmethod
    def parse(cls, source: Source) -> "SourceFilters":
        """Parse the filters of a source.

        Raises:
            InputError: A filter cannot be parsed.
        """
        return cls(*(RowFilter.parse(text) if text else None for text in (source.where, source.test)))

    def columns(self, source: Source) -> list[str]:
        """Return the columns to read: text, label, metadata, and the filters' columns."""
        filtered = {column for row_filter in (self.where, self.test) if row_filter for column in row_filter.columns}
        return list(dict.fromkeys([*source.text_columns, source.label, *source.metadata, *sorted(filtered)]))


def split_names(source: Source) -> list[str]:
    """Return the names of the splits to write."""
    return [ALL, TEST] if source.test else [ALL]


def write_rows(
    rows: Iterator[RawRow], source: Source, filters: SourceFilters, writer: DatasetWriter
) -> tuple[int, int]:
    """Accept or reject every row.

    Returns:
        Number of rows, and number of rows that the row filter did not select.
    """
    progress = Progress(total=0)
    filtered = count = 0
    for count, row in enumerate(rows, 1):
        if filters.where and row.columns is not None and not filters.where.matches(row.columns):
            filtered += 1
        elif filters.test and row.columns is not None and filters.test.matches(row.columns):
            _write_row(row, source, writer, TEST)
        else:
            _write_row(row, source, writer, ALL)
        if count % 1_000 == 0:
            progress.update(count, "reading")
    print(f"read {count:,} rows", flush=True)
    return count, filtered


def finish_dataset(
    source: Source, writer: DatasetWriter, row_count: int, filtered: int, files: Sequence[SourceFile]
) -> DatasetManifest:
    """Write the manifest after the last row.

    Args:
        source: Source settings.
        writer: Writer of the rows.
        row_count: Number of rows read.
        filtered: Number of rows that the row filter did not select.
        files: How each file was read.

    Raises:
        InputError: The rows cannot be used to train a classifier.
    """
    labels = _labels(source, writer, row_count, filtered)
    if source.test and not (writer.counts[TEST] and writer.counts[ALL]):
        test_rows, usable = writer.counts[TEST].total(), writer.counts[TEST].total() + writer.counts[ALL].total()
        raise InputError(
            f"source.test {source.test!r} selects {test_rows:,} of the {usable:,} rows of {source.uri} "
            "that can be used: it must select some of them and leave others to train on"
        )
    return writer.finish(source.uri, labels, rows_filtered=filtered, files=files)


def require_few_labels(source: Source, writer: DatasetWriter, split: str) -> None:
    """Check that the label column has at most 1,000 different values.

    Raises:
        InputError: There are more, so the column probably does not hold the classes.
    """
    if len(writer.counts[split]) > _MAX_LABELS:
        raise InputError(
            f"the label column {source.label!r} of {source.uri} has over {_MAX_LABELS:,} different values: "
            "name the column that holds the classes with --set source.label=…"
        )


def _write_row(row: RawRow, source: Source, writer: DatasetWriter, split: str) -> None:
    if row.columns is None:
        writer.reject(Rejected(row.id, row.reason, None, row.text, row.line, row.column))
        return
    values = [row.columns.get(column) for column in source.text_columns]
    texts = [to_text(value) for value in values]
    text = texts[0] if len(texts) == 1 else " ".join(part for part in texts if part.strip())
    raw_label = to_text(row.columns.get(source.label)).strip()
    label = source.labels.get(raw_label) if source.labels is not None else raw_label
    metadata = {column: to_text(row.columns.get(column)).strip() for column in source.metadata}
    if any(map(has_surrogate, [text, raw_label, *metadata.values()])):
        reason = UNDECODABLE
    elif isinstance(row.columns.get(source.label), dict | list) or any(
        isinstance(value, dict | list) and not is_text_list(value) for value in values
    ):
        reason = NOT_A_RECORD
    elif len(text) + sum(map(len, metadata.values())) > source.max_line_bytes:
        reason = OVER_LONG_LINE
    elif not text.strip():
        reason = EMPTY_TEXT
    elif not raw_label:
        reason = MISSING_LABEL
    elif label is None:
        reason = UNKNOWN_LABEL
    else:
        writer.add(split, Row(row.id, text, label, metadata))
        require_few_labels(source, writer, split)
        return
    writer.reject(Rejected(row.id, reason, raw_label or None, text, row.line))


def _labels(source: Source, writer: DatasetWriter, row_count: int, filtered: int) -> list[str]:
    """Return the label names in class order; raise InputError unless there are at least two classes with rows."""
    labels = {label for counts in writer.counts.values() for label in counts}
    if row_count == 0:
        raise InputError(f"{source.uri} has no rows")
    if filtered == row_count:
        raise InputError(f"the row filter {source.where!r} selects none of the {row_count:,} rows of {source.uri}")
    if not labels:
        counts = [f"{count:,} {reason}" for reason, count in sorted(writer.rejected.items())]
        if filtered:
            counts.append(f"{filtered:,} not selected by the row filter {source.where!r}")
        raise InputError(f"no row of {source.uri} can be used: {', '.join(counts)}")
    if len(labels) == 1:
        raise InputError(
            f"every row of {source.uri} has the label {labels.pop()!r}: a classifier needs at least two classes"
        )
    if source.labels is None:
        return sorted(labels)
    configured = list(dict.fromkeys(source.labels.values()))
    unused = [label for label in configured if label not in labels]
    if unused:
        raise InputError(f"no row of {source.uri} has the label {unused[0]!r} that source.labels names")
    return configured
