"""Clean, deduplicate and split a dataset; memory holds some numbers per text, never the texts."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Dataset, Preprocess, Progress, Rejected, dataset_writer
from textgate.components.contracts.dataset import DatasetManifest, SplitChoice
from textgate.components.contracts.dataset_output import DatasetWriter
from textgate.components.contracts.text_keys import text_key
from textgate.components.preprocess.cleaning import CleanedRow, clean_texts, read_cleaned_parts
from textgate.components.preprocess.given_splits import keep_given_splits, reject_texts_of_given_splits
from textgate.components.preprocess.outcomes import (
    ALL,
    CODE,
    DUPLICATE,
    EARLIER_COPY,
    SPLITS,
    TEST,
    VALIDATION,
    outcome_name,
)
from textgate.components.preprocess.positive import with_positive_last
from textgate.components.preprocess.splitting import positions, split_texts
from textgate.components.preprocess.texts import Floats, RowTable, Texts, distinct_texts
from textgate.components.preprocess.time_split import TimeColumn, split_by_time

_Read = Callable[[str, str], Iterator[CleanedRow]]
"""Function from a split's name and a note on the progress to its cleaned rows."""


def preprocess_dataset(raw: Path, settings: Preprocess, output: Path, parts: Sequence[Path] = ()) -> DatasetManifest:
    """Write the splits train, validation and test of an ingested dataset; its rejected rows are carried over.

    Of several rows with the same cleaned text the first is kept, or none if their labels differ, so no text is in two
    splits. ``splitting`` says which text is in which split. Splits given by the source are used as they are: texts of
    the test split and their copies are rejected from the validation split, and those of both from the training split.
    With ``preprocess.test_latest_by`` the test split is the latest texts without copies of earlier ones
    (``time_split``), and of several rows the earliest is kept.

    Args:
        raw: Folder of the ingested dataset.
        settings: Preprocess settings.
        output: Folder of the dataset to write.
        parts: Folders that ``clean_part`` has written for each part of the source; without them the texts are cleaned
            here.

    Raises:
        InputError: A label has too few texts for every split, a split that is given or cut by time has none of it, a
            row has no time, or the language or the positive class is unknown. Nothing is written then.
    """
    dataset = Dataset.open(raw)
    labels = with_positive_last(dataset.manifest.labels, settings.positive)
    read_cleaned = read_cleaned_parts(dataset, parts) if parts else clean_texts(dataset, settings)
    progress, done = Progress(total=2 * dataset.manifest.rows_out), itertools.count(1)

    def read(split: str, note: str) -> Iterator[CleanedRow]:
        for row in read_cleaned(split):
            yield row
            progress.update(next(done), note)

    ingested = [ALL, *(split for split in (VALIDATION, TEST) if split in dataset.manifest.counts)]
    column = TimeColumn(settings.test_latest_by) if settings.test_latest_by else None
    rows = _read_rows(read, ingested, dataset.manifest.labels, column)
    texts = distinct_texts(rows)
    choice, start = _split(texts, ingested, dataset.manifest, settings, column)
    outcomes = _row_outcomes(texts, np.frombuffer(rows.times, np.float64), start)
    with dataset_writer(output, SPLITS, dataset.manifest.metadata, keyed=True) as writer:
        for rejected in dataset.rejected():
            writer.reject(rejected)
        cleaned = itertools.chain.from_iterable(read(split, "splitting") for split in ingested)
        _write_rows(cleaned, outcomes, texts, writer)
        return writer.finish(
            dataset.manifest.source,
            labels,
            rows_filtered=dataset.manifest.rows_filtered,
            normalizer=settings.normalizer,
            test_split=choice,
        )


def _read_rows(read: _Read, ingested: Sequence[str], labels: Sequence[str], column: TimeColumn | None) -> RowTable:
    """Return the table of all rows, in the order of the ingested splits."""
    rows = RowTable(labels)
    for part, split in enumerate(ingested):
        for row, text, in_language in read(split, "looking for duplicates"):
            rows.add(part, text, row.label, text_key(row.text))
            usable = bool(text) and in_language()
            rows.foreign.append(not usable)
            if column:
                rows.times.append(column.time(row) if usable else 0.0)
    return rows


def _split(
    texts: Texts, ingested: Sequence[str], manifest: DatasetManifest, settings: Preprocess, column: TimeColumn | None
) -> tuple[SplitChoice, float]:
    """Set the outcome of every text.

    Returns:
        How the splits were chosen, and the time of the earliest test texts (infinite without ``column``).

    Raises:
        InputError: See ``preprocess_dataset``.
    """
    given = set(ingested) - {ALL}
    reject_texts_of_given_splits(texts, ingested)
    keep_given_splits(texts, ingested, manifest.labels, manifest.source)
    by_validation = "source" if VALIDATION in given else "hash"
    choice = SplitChoice(by="source" if TEST in given else "hash", validation=by_validation)
    start, period = np.inf, ""
    if column and texts.time is not None:
        pending = texts.pending
        _, unit = np.unique(texts.key[pending], return_inverse=True)
        start, texts.outcome[pending] = split_by_time(
            texts.time[pending], unit, texts.label[pending], manifest.labels, settings.test, column
        )
        since = column.text(start)
        choice = SplitChoice(by="time", column=column.name, since=since, validation=by_validation)
        given, period = {*given, TEST}, f" before {column.name} {since}"
    pending = texts.pending
    keys, unit = np.unique(texts.key[pending], return_inverse=True)
    position = positions(keys, settings.seed)
    texts.outcome[pending] = split_texts(unit, position, texts.label[pending], manifest.labels, settings, given, period)
    return choice, start


def _row_outcomes(texts: Texts, times: Floats, start: float) -> npt.NDArray[np.uint8]:
    """Return the outcome of each row, (rows,): one row of each text that is kept has its split, the others a reason.

    Args:
        texts: Texts with their outcomes.
        times: Time of each row, (rows,); empty if rows have no times.
        start: Time of the earliest test texts; later rows of an earlier text are copies of it.
    """
    outcomes = texts.outcome[texts.of_row]
    further = outcomes < len(SPLITS)
    further[texts.row] = False
    outcomes[further] = CODE[DUPLICATE]
    if texts.time is not None:
        outcomes[further & (times >= start) & (texts.time[texts.of_row] < start)] = CODE[EARLIER_COPY]
    return outcomes


def _write_rows(
    rows: Iterable[CleanedRow], outcomes: npt.NDArray[np.uint8], texts: Texts, writer: DatasetWriter
) -> None:
    """Write each row to its split, or reject it."""
    for number, (row, text, _) in enumerate(rows):
        outcome = outcome_name(outcomes[number])
        if outcome in SPLITS:
            key = f"{texts.key[texts.of_row[number]]:016x}"
            writer.add(outcome, dataclasses.replace(row, text=text, key=key))
        else:
            writer.reject(Rejected(row.id, outcome, row.label, row.text))
