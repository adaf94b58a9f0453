"""Read a source to its last row, and keep every row with a text and a label or say why not."""

from collections.abc import Iterator
from pathlib import Path

from textgate.components.contracts import InputError, Progress, Rejected, Row, Source, dataset_writer
from textgate.components.contracts.dataset import DatasetManifest, DatasetWriter
from textgate.components.ingest.hub import read_hub
from textgate.components.ingest.readers import laid_out, read
from textgate.components.ingest.reasons import (
    EMPTY_TEXT,
    MISSING_LABEL,
    NOT_A_RECORD,
    OVER_LONG_LINE,
    UNDECODABLE,
    UNKNOWN_LABEL,
)
from textgate.components.ingest.records import Record, as_text, is_texts, surrogate_in
from textgate.components.ingest.where import RowFilter
from textgate.components.storage.fetch import fetch

SPLIT = "all"
TEST = "test"
_MOST_LABELS = 1_000


def ingest_source(source: Source, output: Path, downloads: Path) -> DatasetManifest:
    """Write the source as a dataset; ``downloads`` keeps what is fetched.

    Its rows are in one split, ``all``, but for those that ``source.test`` selects, which are in another, ``test``.

    Raises:
        InputError: there is no such source or column, or it holds no two classes of rows; nothing is written then.
    """
    row_filter = RowFilter.parse(source.where) if source.where else None
    test_filter = RowFilter.parse(source.test) if source.test else None
    path = None if source.uri.startswith("hf://") else fetch(source.uri, downloads)
    if path is not None:
        source = laid_out(source, path)
    progress = Progress(total=0)
    with dataset_writer(output, [SPLIT, TEST] if test_filter else [SPLIT]) as writer:
        filtered = tested = rows = 0
        for rows, record in enumerate(_records(source, path, row_filter, test_filter), 1):
            if row_filter and record.columns is not None and not row_filter.matches(record.columns):
                filtered += 1
            elif test_filter and record.columns is not None and test_filter.matches(record.columns):
                tested += 1
                _take(record, source, writer, TEST)
            else:
                _take(record, source, writer, SPLIT)
            if rows % 1_000 == 0:
                progress.update(rows, "reading")
        print(f"read {rows:,} rows", flush=True)
        labels = _labels(source, writer, rows, filtered)
        if source.test and not 0 < tested < rows - filtered:
            raise InputError(
                f"source.test {source.test!r} selects {tested:,} of the {rows - filtered:,} rows of {source.uri}: "
                "it must select some of them and leave others to train on"
            )
        return writer.finish(source.uri, labels, rows_filtered=filtered)


def _records(source: Source, path: Path | None, *filters: RowFilter | None) -> Iterator[Record]:
    selecting = {column for row_filter in filters if row_filter for column in row_filter.columns}
    wanted = list(dict.fromkeys([*source.text_columns, source.label, *sorted(selecting)]))
    if path is None:
        return read_hub(source, wanted)
    return read(path, source, wanted, filters[0])


def _take(record: Record, source: Source, writer: DatasetWriter, split: str) -> None:
    if record.columns is None:
        writer.reject(Rejected(record.id, record.reason, None, None))
        return
    values = [record.columns.get(column) for column in source.text_columns]
    texts = [as_text(value) for value in values]
    text = texts[0] if len(texts) == 1 else " ".join(part for part in texts if part.strip())
    raw = as_text(record.columns.get(source.label)).strip()
    label = source.labels.get(raw) if source.labels is not None else raw
    if surrogate_in(text) or surrogate_in(raw):
        reason = UNDECODABLE
    elif isinstance(record.columns.get(source.label), dict | list) or any(
        isinstance(value, dict | list) and not is_texts(value) for value in values
    ):
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
        writer.add(split, Row(record.id, text, label))
        if len(writer.counts[split]) > _MOST_LABELS:
            raise InputError(
                f"the label column {source.label!r} of {source.uri} has over {_MOST_LABELS:,} different values: "
                "name the column that holds the classes with --set source.label=…"
            )
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
