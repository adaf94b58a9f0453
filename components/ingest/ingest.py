"""Read a source completely; accept every row that has a text and a label, and reject the others with a reason."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from textgate.components.contracts import InputError, Progress, Rejected, Row, Source, dataset_writer
from textgate.components.contracts.data_account import account_lines, kept_by_label, reason_line
from textgate.components.contracts.dataset import (
    DatasetManifest,
)
from textgate.components.contracts.dataset_output import DatasetWriter
from textgate.components.contracts.losses import Loss, rows_by_label
from textgate.components.contracts.source_file import SourceFile
from textgate.components.ingest.corrections import CorrectingWriter, Corrections
from textgate.components.ingest.hub_source import read_hub
from textgate.components.ingest.labels import LabelNames, counted, label_warnings, read_label, sort_labels
from textgate.components.ingest.local_source import apply_csv_layout, list_data_files, read_local
from textgate.components.ingest.loss_limits import require_few_losses
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
from textgate.components.ingest.source_filters import ALL, TEST, VALIDATION, SourceFilters, known_values
from textgate.components.sources import fetch, joined, pinned
from textgate.components.step import WARNING_PREFIX

_MAX_LABELS = 1_000


def ingest_source(source: Source, output: Path, downloads: Path, version: str = "") -> DatasetManifest:
    """Write a source as a dataset.

    Args:
        source: Source settings.
        output: Folder of the dataset, with the split ``all``, and those of ``test`` and ``validation`` that the source
            gives.
        downloads: Folder that keeps what is downloaded.
        version: Version of the source to read, see ``pinned``; the present one by default.

    Raises:
        InputError: The source or a column does not exist, or there are no two classes. Nothing is written then.
        ConflictError: The source is not or does not stay at its version. Nothing is written then.
    """
    filters = {name: SourceFilters.parse(one) for name, one in source.sources.items()}
    row_count, filtered, files = 0, 0, list[SourceFile]()
    accounts: defaultdict[str, RowAccount] = defaultdict(RowAccount)
    with (
        dataset_writer(output, split_names(source), source.metadata_columns) as writer,
        pinned(source, version) as versions,
    ):
        paths = {
            name: None if one.uri.startswith("hf://") else fetch(one.uri, downloads, versions[one.uri])
            for name, one in source.sources.items()
        }
        sources = with_common_labels(
            {
                name: apply_csv_layout(source.sources[name], list_data_files(path) if path else [])
                for name, path in paths.items()
            }
        )
        corrections = read_corrections(source, downloads, versions)
        for name, one in sources.items():
            path, columns = paths[name], filters[name].columns(one)
            where = filters[name].where
            rows = (
                read_hub(one, columns, versions[one.uri])
                if path is None
                else read_local(path, one, columns, where, files)
            )
            target: RowWriter = CorrectingWriter(writer, corrections) if corrections else writer
            target = OriginWriter(target, name, source, accounts[name]) if source.also else target
            read, left_out = write_rows(rows, one, filters[name], target)
            row_count, filtered = row_count + read, filtered + left_out
        if source.also:
            require_rows_of_each(sources, accounts)
        one_source = as_one_source(source, sources)
        return finish_dataset(one_source, writer, row_count, filtered, files, corrections, joined(versions))


def read_corrections(source: Source, downloads: Path, versions: Mapping[str, str]) -> Corrections | None:
    """Return the corrections of ``source.corrections``; None without it.

    Raises:
        InputError: The file does not exist or cannot be used.
        ConflictError: The file has another version.
    """
    uri = source.corrections
    return Corrections(fetch(uri, downloads, versions[uri])) if uri else None


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
    progress, names = Progress(total=0), LabelNames(source.labels)
    filtered = count = 0
    for count, row in enumerate(rows, 1):
        if not filters.selects(row):
            filtered += 1
        else:
            _write_row(row, source, names, writer, filters.split(row))
        if count % 1_000 == 0:
            progress.update(count, "reading")
    print(f"read {count:,} rows", flush=True)
    return count, filtered


def finish_dataset(
    source: Source,
    writer: DatasetWriter,
    row_count: int,
    filtered: int,
    files: Sequence[SourceFile],
    corrections: Corrections | None,
    version: str,
) -> DatasetManifest:
    """Write the manifest after the last row.

    Args:
        source: Source settings.
        writer: Writer of the rows.
        row_count: Number of rows read.
        filtered: Number of rows that the row filter did not select.
        files: How each file was read.
        corrections: Corrections that the rows went through; None if there are none.
        version: Version of the source that was read.

    Raises:
        InputError: A correction uses an unknown label, the rows cannot be used to train a classifier, or too many are
            rejected.
    """
    counts = None
    if corrections:
        counts = corrections.counts((source.labels or {}).values())
        print(f"{WARNING_PREFIX}{counts.message}", flush=True)
    names, kept, losses = LabelNames(source.labels), kept_by_label(writer.counts.values()), writer.losses.losses()
    labels = _labels(source, names, kept, losses, row_count, filtered)
    _require_given_splits(source, writer)
    require_few_losses(source, kept, losses, names)
    unknown = {label: rows for label, rows in rows_by_label(losses, UNKNOWN_LABEL).items() if label is not None}
    warnings = label_warnings(kept, unknown, names)
    manifest = writer.finish(
        source.uri,
        labels,
        rows_filtered=filtered,
        warnings=warnings,
        files=files,
        corrections=counts,
        source_version=version,
    )
    print(*account_lines(manifest), *(f"{WARNING_PREFIX}{warning}" for warning in warnings), sep="\n", flush=True)
    return manifest


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


def _write_row(row: RawRow, source: Source, names: LabelNames, writer: RowWriter, split: str) -> None:
    result = accept_row(row, source, names, split)
    if isinstance(result, Rejected):
        writer.reject(result)
    else:
        writer.add(split, result)
        require_few_labels(source, writer, split)


def accept_row(row: RawRow, source: Source, names: LabelNames, split: str) -> Row | Rejected:
    """Return a raw row as a row of the dataset, or rejected with the reason why it cannot be used.

    Args:
        row: Raw row.
        source: Source settings.
        names: Names of the labels.
        split: Split that the row would be in.
    """
    columns = known_values(row)
    values = [columns.get(column) for column in source.text_columns]
    texts = [to_text(value) for value in values]
    text = texts[0] if len(texts) == 1 else source.separator.join(part for part in texts if part.strip())
    found = read_label(columns.get(source.label))
    label = names.name(found)
    metadata = {column: to_text(columns.get(column)).strip() for column in source.metadata}
    if row.columns is None:
        reason = row.reason
    elif any(map(has_surrogate, [text, found, *metadata.values()])):
        reason = UNDECODABLE
    elif isinstance(columns.get(source.label), dict | list) or any(
        isinstance(value, dict | list) and not is_text_list(value) for value in values
    ):
        reason = NOT_A_RECORD
    elif len(text) + sum(map(len, metadata.values())) > source.max_line_bytes:
        reason = OVER_LONG_LINE
    elif not text.strip():
        reason = EMPTY_TEXT
    elif not found:
        reason = MISSING_LABEL
    elif label is None:
        reason = UNKNOWN_LABEL
    else:
        return Row(row.id, text, label, metadata)
    known = found and not has_surrogate(found)
    shown = row.text or text or None
    rejected_label = (label or found) if known else None
    return Rejected(row.id, reason, rejected_label, shown, split, row.line, row.column)


def _labels(
    source: Source, names: LabelNames, kept: Mapping[str, int], losses: Sequence[Loss], row_count: int, filtered: int
) -> list[str]:
    """Return the label names in class order; raise InputError unless there are at least two classes with rows."""
    if row_count == 0:
        raise InputError(f"{source.uri} has no rows")
    if filtered == row_count:
        raise InputError(f"the row filter {source.where!r} selects none of the {row_count:,} rows of {source.uri}")
    reasons = sorted({loss.reason for loss in losses})
    rejected = ", ".join(reason_line(reason, losses, kept) for reason in reasons)
    if not kept:
        if filtered:
            rejected += f", {filtered:,} not selected by the row filter {source.where!r}"
        named = f"; source.labels names {', '.join(map(repr, names.keys))}" if UNKNOWN_LABEL in reasons else ""
        raise InputError(f"no row of {source.uri} can be used: {rejected}{named}")
    if len(kept) == 1:
        rejections = f" ({sum(loss.rows for loss in losses):,} rejected: {rejected})" if losses else ""
        raise InputError(
            f"every row of {source.uri} that can be used has the label {next(iter(kept))!r}{rejections}: a classifier "
            "needs at least two classes"
        )
    if names.configured is None:
        return sort_labels(kept)
    unused = [label for label in names.configured if label not in kept]
    if unused:
        found = dict(kept) | {str(label): rows for label, rows in rows_by_label(losses, UNKNOWN_LABEL).items()}
        raise InputError(
            f"no row of {source.uri} has the label {unused[0]!r} that source.labels names; it has {counted(found)}"
        )
    return names.configured
