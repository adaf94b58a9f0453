"""Profile of a data source before anything is trained: one pass over its rows, and one that fetches examples."""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from textgate.components.contracts import Rejected
from textgate.components.ingest.ingest import accept_row
from textgate.components.ingest.labels import LabelNames, sort_labels
from textgate.components.ingest.source_filters import ALL
from textgate.pipelines.inspection.columns import SourceColumns, find_columns, split_of
from textgate.pipelines.inspection.data_profile import DataProfile, require_few_labels, with_given_test
from textgate.pipelines.inspection.duplicates import DuplicateCounts, count_duplicates
from textgate.pipelines.inspection.examples import Examples
from textgate.pipelines.inspection.findings import find_problems
from textgate.pipelines.inspection.given_splits import find_leaks, split_statistics
from textgate.pipelines.inspection.inspection import (
    DuplicateStatistics,
    Inspection,
    LabelStatistics,
    MarkStatistics,
    PersonalData,
)
from textgate.pipelines.inspection.labels import is_missing_marker, spelling_groups
from textgate.pipelines.inspection.languages import find_languages
from textgate.pipelines.inspection.lengths import measure_lengths, token_counter
from textgate.pipelines.inspection.near_duplicates import THRESHOLD, NearDuplicateFinder
from textgate.pipelines.inspection.personal_data import KINDS
from textgate.pipelines.inspection.row_table import MARKS, RowTable, rows_by_number
from textgate.pipelines.inspection.source_format import describe_format

MAX_ROWS = 1_000_000
"""Default number of rows to read."""
MIN_LABEL_ROWS = 20
"""Rows of a label from which on a share of them is stated."""


class InspectedSource(NamedTuple):
    """Profile of a source, and the part of it that a recipe is drafted from."""

    inspection: Inspection
    profile: DataProfile


class _Collected(NamedTuple):
    """Rows of a source after the first pass."""

    table: RowTable
    near: NearDuplicateFinder
    rows: int
    complete: bool
    rejected: Counter[str]
    rejected_labels: Counter[str]


def inspect_source(
    uri: str,
    text: str | None = None,
    label: str | None = None,
    max_rows: int = MAX_ROWS,
    tokenizer: tuple[str, Path] | None = None,
) -> InspectedSource:
    """Read a source once and profile it; examples are read in a second pass that ends at the last one.

    Args:
        uri: File, folder, ``s3://``, ``https://``, ``hf://`` or ``pypi://``.
        text: Name of the text column, instead of a guess.
        label: Name of the label column, instead of a guess.
        max_rows: Number of rows to read. Memory is 35 bytes a row.
        tokenizer: Name and file or folder of the tokenizer that counts the tokens.

    Raises:
        InputError: The source or the tokenizer cannot be read, no column looks like a text or a label, or there are
            more than 1,000 labels.
    """
    started = time.monotonic()
    count_tokens = token_counter(tokenizer[1] if tokenizer else None)
    # What the readers print is no part of the answer of --json.
    with redirect_stdout(StringIO()) as printed:
        found = find_columns(uri, text, label)
        collected = _collect(found, max_rows)
    table, sample = collected.table, collected.table.sample
    duplicates = count_duplicates(table, collected.near)
    splits = split_statistics(table)
    leaks = find_leaks(table, splits)
    groups = [*duplicates.exact_groups, *duplicates.conflict_groups, *duplicates.near_groups]
    with redirect_stdout(StringIO()):
        examples = Examples(found, [*groups, *(group for leak in leaks for group in leak.groups)])
    inspection = Inspection(
        source=uri,
        format=describe_format(found),
        notes=list(dict.fromkeys(printed.getvalue().splitlines())),
        text=found.source.text_columns,
        label=found.source.label,
        split=found.split,
        columns=found.columns,
        rows=collected.rows,
        complete=collected.complete,
        usable=len(table),
        rejected=dict(collected.rejected.most_common()),
        labels=_labels(table, collected.rejected_labels),
        spellings=spelling_groups(table.labels),
        missing_markers=sorted(filter(is_missing_marker, table.labels)),
        lengths=measure_lengths(table, sample, count_tokens, tokenizer[0] if tokenizer else None) if sample else None,
        sampled=len(sample),
        languages=find_languages(sample),
        duplicates=_duplicates(duplicates, examples),
        splits=splits,
        leaks=[leak.with_examples(examples) for leak in leaks],
        marks=_marks(table),
        personal_data=_personal_data(table),
        findings=[],
        seconds=0,
    )
    inspection = inspection.model_copy(
        update={"findings": find_problems(inspection), "seconds": time.monotonic() - started}
    )
    return InspectedSource(inspection, _profile(found, collected))


def _collect(found: SourceColumns, max_rows: int) -> _Collected:
    """Read the rows, and keep numbers of the usable ones."""
    table, near, rows = RowTable(), NearDuplicateFinder(), 0
    rejected: Counter[str] = Counter()
    rejected_labels: Counter[str] = Counter()
    source_rows, names = found.rows(), LabelNames(found.source.labels)
    for raw in islice(source_rows, max_rows):
        rows += 1
        row = accept_row(raw, found.source, names, ALL)
        if isinstance(row, Rejected):
            rejected[row.reason] += 1
            if row.label:
                rejected_labels[row.label] += 1
            continue
        table.add(row.text, row.label, split_of(found, raw))
        near.add(row.text)
        require_few_labels(table.labels, found.source)
    return _Collected(table, near, rows, next(source_rows, None) is None, rejected, rejected_labels)


def _labels(table: RowTable, rejected: Mapping[str, int]) -> list[LabelStatistics]:
    """Return the labels, largest first; of equally large ones in the order of their names."""
    groups = rows_by_number(table.label_numbers, len(table.labels))
    words = table.words
    statistics = [
        LabelStatistics(
            label=label,
            rows=len(rows),
            share=len(rows) / len(table),
            rejected=rejected.get(label, 0),
            median_words=float(np.median(words[rows])),
        )
        for label, rows in zip(table.labels, groups, strict=True)
    ]
    order = {label: index for index, label in enumerate(sort_labels(each.label for each in statistics))}
    return sorted(statistics, key=lambda each: (-each.rows, order[each.label]))


def _marks(table: RowTable) -> list[MarkStatistics]:
    """Return the marks but personal data, of all rows and by label."""
    groups = dict(zip(table.labels, rows_by_number(table.label_numbers, len(table.labels)), strict=True))
    statistics = []
    for name in MARKS:
        marked = table.has_mark(name)
        if name not in KINDS and marked.any():
            by_label = {
                label: float(marked[rows].mean())
                for label, rows in sorted(groups.items())
                if len(rows) >= MIN_LABEL_ROWS
            }
            statistics.append(
                MarkStatistics(name=name, rows=int(marked.sum()), share=float(marked.mean()), by_label=by_label)
            )
    return statistics


def _personal_data(table: RowTable) -> list[PersonalData]:
    kinds = [(kind, table.has_mark(kind)) for kind in KINDS if table.personal_values[kind]]
    return [
        PersonalData(
            kind=kind,
            rows=int(marked.sum()),
            values=table.personal_values[kind],
            share=float(marked.mean()),
            masked=table.masked_examples[kind],
        )
        for kind, marked in kinds
    ]


def _duplicates(counts: DuplicateCounts, examples: Examples) -> DuplicateStatistics:
    return DuplicateStatistics(
        exact=counts.exact,
        copies=counts.copies,
        conflicting_texts=counts.conflicting_texts,
        conflicting_rows=counts.conflicting_rows,
        near_compared=counts.near_compared,
        near_texts=counts.near_texts,
        near_conflicting=counts.near_conflicting,
        similarity=THRESHOLD,
        exact_examples=examples.show(counts.exact_groups),
        conflict_examples=examples.show(counts.conflict_groups),
        near_examples=examples.show(counts.near_groups),
    )


def _profile(found: SourceColumns, collected: _Collected) -> DataProfile:
    table = collected.table
    labels = dict(
        zip(table.labels, np.bincount(table.label_numbers, minlength=len(table.labels)).tolist(), strict=True)
    )
    splits = Counter(
        dict(zip(table.splits, np.bincount(table.split_numbers, minlength=len(table.splits)).tolist(), strict=True))
    )
    return DataProfile(
        with_given_test(found, splits),
        found.names,
        {label: labels[label] for label in sort_labels(labels)},
        collected.rows,
        collected.rows - len(table),
        collected.complete,
    )
