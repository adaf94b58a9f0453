"""Read a source completely; accept every row that has a text and a label, and reject the others with a reason."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from textgate.components.contracts import InputError, Progress, Rejected, Row, Source, dataset_writer
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.dataset_output import DatasetWriter
from textgate.components.ingest.corrections import CorrectingWriter, Corrections
from textgate.components.ingest.hub_source import read_hub
from textgate.components.ingest.local_source import apply_csv_layout, list_data_files, read_local
from textgate.components.ingest.origins import (
    OriginWriter,
    RowAccount,
    RowWriter,
    as_one_source,
    require_rows_of_each,
    with_common_labels,
)
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
from textgate.components.step import WARNING_PREFIX

ALL = "all"
"""Split of all rows that neither ``source.test`` nor ``source.validation`` selects."""
TEST = "test"
"""Split of the rows that ``source.test`` selects."""
VALIDATION = "validation"
"""Split of the rows that ``source.validation`` selects."""
_MAX_LABELS = 1_000


def ingest_source(source: Source, output: Path, downloads: Path) -> DatasetManifest:
    """Write a source as a dataset.

    Args:
        source: Source settings.
        output: Folder of the dataset, with the split ``all``, and those of ``test`` and ``validation`` that the source
            gives.
        downloads: Folder that keeps what is downloaded.

    Raises:
        InputError: The source or a column does not exist, or there are no two classes. Nothing is written then.
    """
    filters = {name: SourceFilters.parse(one) for name, one in source.sources.items()}
    paths = {
        name: None if one.uri.startswith("hf://") else fetch(one.uri, downloads) for name, one in source.sources.items()
    }
    sources = with_common_labels(
        {
            name: apply_csv_layout(source.sources[name], list_data_files(path) if path else [])
            for name, path in paths.items()
        }
    )
    corrections = read_corrections(source, downloads)
    row_count = filtered = 0
    accounts: defaultdict[str, RowAccount] = defaultdict(RowAccount)
    with dataset_writer(output, split_names(source), source.metadata_columns) as writer:
        for name, one in sources.items():
            path, columns = paths[name], filters[name].columns(one)
            rows = read_hub(one, columns) if path is None else read_local(path, one, columns, filters[name].where)
            target: RowWriter = CorrectingWriter(writer, corrections) if corrections else writer
            target = OriginWriter(target, name, source, accounts[name]) if source.also else target
            read, left_out = write_rows(rows, one, filters[name], target)
            row_count, filtered = row_count + read, filtered + left_out
        if source.also:
            require_rows_of_each(sources, accounts)
        return finish_dataset(as_one_source(source, sources), writer, row_count, filtered, corrections)


def read_corrections(source: Source, downloads: Path) -> Corrections | None:
    """Return the corrections of ``source.corrections``; None without it.

    Raises:
        InputError: The file does not exist or cannot be used.
    """
    return Corrections(fetch(source.corrections, downloads)) if source.corrections else None


@dataclass(frozen=True)
class SourceFilters:
    """Parsed row filters of a source."""

    where: RowFilter | None
    """Selects the rows to read."""
    test: RowFilter | None
    """Selects the given test split."""
    validation: RowFilter | None
    """Selects the given validation split."""

    @classmethod
    def parse(cls, source: Source) -> "SourceFilters":
        """Parse the filters of a source.

        Raises:
            InputError: A filter cannot be parsed.
        """
        expressions = (source.where, source.test, source.validation)
        return cls(*(RowFilter.parse(text) if text else None for text in expressions))

    def columns(self, source: Source) -> list[str]:
        """Return the columns to read: text, label, metadata, and the filters' columns."""
        row_filters = (self.where, self.test, self.validation)
        filtered = {column for row_filter in row_filters if row_filter for column in row_filter.columns}
        return list(dict.fromkeys([*source.text_columns, source.label, *source.metadata, *sorted(filtered)]))

    def split(self, row: RawRow) -> str:
        """Return the split of a row; a row that could not be read is in ``ALL``.

        Raises:
            InputError: Both ``source.test`` and ``source.validation`` select the row.
        """
        in_test, in_validation = (
            row_filter is not None and row.columns is not None and row_filter.matches(row.columns)
            for row_filter in (self.test, self.validation)
        )
        if self.test and self.validation and in_test and in_validation:
            raise InputError(
                f"both source.test {self.test.expression!r} and source.validation {self.validation.expression!r} "
                f"select the row {row.id}: change one of them, because a row is in one split only"
            )
        return TEST if in_test else VALIDATION if in_validation else ALL


def split_names(source: Source) -> list[str]:
    """Return the names of the splits to write."""
    sources = source.sources.values()
    given = {TEST: any(one.test for one in sources), VALIDATION: any(one.validation for one in sources)}
    return [ALL, *(split for split, is_given in given.items() if is_given)]


def write_rows(rows: Iterator[RawRow], source: Source, filters: SourceFilters, writer: RowWriter) -> tuple[int, int]:
    """Accept or reject every row.

    Returns:
        Number of rows, and number of rows that the row filter did not select.
    """
    progress = Progress(total=0)
    filtered = count = 0
    for count, row in enumerate(rows, 1):
        if filters.where and row.columns is not None and not filters.where.matches(row.columns):
            filtered += 1
        else:
            _write_row(row, source, writer, filters.split(row))
        if count % 1_000 == 0:
            progress.update(count, "reading")
    print(f"read {count:,} rows", flush=True)
    return count, filtered


def finish_dataset(
    source: Source, writer: DatasetWriter, row_count: int, filtered: int, corrections: Corrections | None
) -> DatasetManifest:
    """Write the manifest after the last row.

    Args:
        source: Source settings.
        writer: Writer of the rows.
        row_count: Number of rows read.
        filtered: Number of rows that the row filter did not select.
        corrections: Corrections that the rows went through; None if there are none.

    Raises:
        InputError: A correction uses an unknown label, or the rows cannot be used to train a classifier.
    """
    counts = None
    if corrections:
        counts = corrections.counts((source.labels or {}).values())
        print(f"{WARNING_PREFIX}{counts.message}", flush=True)
    labels = _labels(source, writer, row_count, filtered)
    _require_given_splits(source, writer)
    return writer.finish(source.uri, labels, rows_filtered=filtered, corrections=counts)


def require_few_labels(source: Source, writer: RowWriter, split: str) -> None:
    """Check that the label column has at most 1,000 different values.

    Raises:
        InputError: There are more, so the column probably does not hold the classes.
    """
    if len(writer.counts[split]) > _MAX_LABELS:
        raise InputError(
            f"the label column {source.label!r} of {source.uri} has over {_MAX_LABELS:,} different values: "
            "name the column that holds the classes with --set source.label=…"
        )


def _require_given_splits(source: Source, writer: DatasetWriter) -> None:
    """Raise InputError unless each given split has rows and leaves others."""
    given = {TEST: source.test, VALIDATION: source.validation}
    wrong = {
        split: expression
        for split, expression in given.items()
        if expression and not (writer.counts[split] and writer.counts[ALL])
    }
    if not wrong:
        return
    selected = " and ".join(
        f"source.{split} {expression!r} selects {writer.counts[split].total():,}" for split, expression in wrong.items()
    )
    usable = sum(counts.total() for counts in writer.counts.values())
    raise InputError(
        f"{selected} of the {usable:,} rows of {source.uri} that can be used: {'it' if len(wrong) == 1 else 'they'} "
        "must select some of them and leave others to train on"
    )


def _write_row(row: RawRow, source: Source, writer: RowWriter, split: str) -> None:
    if row.columns is None:
        writer.reject(Rejected(row.id, row.reason, None, None))
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
    writer.reject(Rejected(row.id, reason, raw_label or None, text))


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
