"""Clean, deduplicate and split a dataset; memory holds some numbers per text, never the texts."""

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Dataset, Preprocess, Progress, Rejected, dataset_writer
from textgate.components.contracts.data_account import account_lines
from textgate.components.contracts.dataset import (
    DatasetManifest,
)
from textgate.components.contracts.dataset_output import DatasetWriter
from textgate.components.contracts.dataset_splits import NearDuplicateGroups, SplitChoice
from textgate.components.contracts.text_keys import canonical_key, canonical_text
from textgate.components.preprocess.cleaning import CleanedRow, clean_texts, read_cleaned_parts
from textgate.components.preprocess.contradictions import CopyCounter
from textgate.components.preprocess.given_splits import (
    keep_given_splits,
    reject_groups_of_given_splits,
    reject_texts_of_given_splits,
)
from textgate.components.preprocess.near_duplicates import Groups, group_texts
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
from textgate.components.preprocess.signatures import Signatures
from textgate.components.preprocess.splitting import positions, split_codes, split_texts
from textgate.components.preprocess.texts import Floats, Integers, RowTable, Texts, distinct, distinct_texts, group_hash
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
    output.parent.mkdir(parents=True, exist_ok=True)
    with Signatures(output.parent) as signatures:
        rows = _read_rows(read, ingested, dataset.manifest.labels, settings, column, signatures)
        texts = distinct_texts(rows)
        reject_texts_of_given_splits(texts, ingested)
        groups = group_texts(texts, signatures, settings.near_duplicates)
    choice, start, joined = _split(texts, groups, ingested, dataset.manifest, settings, column)
    outcomes = _row_outcomes(texts, np.frombuffer(rows.times, np.float64), start)
    with dataset_writer(output, SPLITS, dataset.manifest.metadata, keyed=True) as writer:
        for rejected in dataset.rejected():
            writer.reject(rejected)
        cleaned = ((split, row) for split in ingested for row in read(split, "splitting"))
        copies = CopyCounter(texts, dataset.manifest.labels) if TEST in ingested else None
        _write_rows(cleaned, outcomes, texts, copies, writer)
        manifest = writer.finish(
            dataset.manifest.source,
            labels,
            rows_filtered=dataset.manifest.rows_filtered,
            normalizer=settings.normalizer,
            test_split=choice,
            near_duplicate_groups=_near_duplicate_groups(texts, groups, settings.near_duplicates, joined),
            warnings=dataset.manifest.warnings,
            files=dataset.manifest.files,
            corrections=dataset.manifest.corrections,
            test_copies=copies.counts() if copies else None,
            source_version=dataset.manifest.source_version,
        )
    print(*account_lines(manifest), sep="\n", flush=True)
    return manifest


def _read_rows(
    read: _Read,
    ingested: Sequence[str],
    labels: Sequence[str],
    settings: Preprocess,
    column: TimeColumn | None,
    signatures: Signatures,
) -> RowTable:
    """Return the table of all rows, in the order of the ingested splits; write their signatures."""
    rows = RowTable(labels)
    for part, split in enumerate(ingested):
        for row, text, in_language in read(split, "looking for duplicates"):
            usable, canonical = bool(text) and in_language(), canonical_text(row.text)
            rows.add(part, text, row.label, canonical_key(canonical), usable)
            if column:
                rows.times.append(column.time(row) if usable else 0.0)
            if settings.group:
                rows.groups.append(group_hash(row.metadata[settings.group]))
            if settings.near_duplicates:
                signatures.add(canonical)
    return rows


def _split(
    texts: Texts,
    groups: Groups,
    ingested: Sequence[str],
    manifest: DatasetManifest,
    settings: Preprocess,
    column: TimeColumn | None,
) -> tuple[SplitChoice, float, int]:
    """Set the outcome of every text.

    Returns:
        How the splits were chosen, the time of the earliest test texts (infinite without ``column``), and the number of
        groups of near duplicates that would have been in several splits.

    Raises:
        InputError: See ``preprocess_dataset``.
    """
    given = set(ingested) - {ALL}
    reject_groups_of_given_splits(texts, ingested, groups)
    keep_given_splits(texts, ingested, manifest.labels, manifest.source)
    by_validation: Literal["hash", "source"] = "source" if VALIDATION in given else "hash"
    choice = SplitChoice(by="source" if TEST in given else "hash", validation=by_validation)
    start, period = np.inf, ""
    pending = texts.pending
    if column and texts.time is not None:
        key = groups.of_text[pending]
        start, texts.outcome[pending] = split_by_time(
            texts.time[pending], key, groups.near[key], texts.label[pending], manifest.labels, settings.test, column
        )
        since = column.text(start)
        choice = SplitChoice(by="time", column=column.name, since=since, validation=by_validation)
        given, period = {*given, TEST}, f" before {column.name} {since}"
        pending = texts.pending
    unit, index = distinct(groups.joint[groups.of_text[pending]])
    position = positions(groups.anchor[unit], settings.seed)
    texts.outcome[pending] = split_texts(
        index, position, texts.label[pending], manifest.labels, settings, given, period
    )
    return choice, start, _divided(groups, pending, settings, given)


def _divided(groups: Groups, texts: Integers, settings: Preprocess, given: Collection[str]) -> int:
    """Return the number of groups of near duplicates that the keys of ``texts`` would put into several splits."""
    keys, sizes = _near_groups(groups, texts)
    members = keys[sizes[groups.near[keys]] > 1]
    own = split_codes(positions(groups.keys[members], settings.seed), settings, given)
    pairs = np.unique(np.stack([groups.near[members], own]), axis=1)
    return int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())


def _near_groups(groups: Groups, texts: Integers) -> tuple[Integers, Integers]:
    """Return the indices of the keys of ``texts``, and how many of them are in the group named by each key, (k,)."""
    present = np.zeros(len(groups.keys), np.bool_)
    present[groups.of_text[texts]] = True
    keys = np.flatnonzero(present).astype(np.int32)
    sizes = np.zeros(len(groups.keys), np.int32)
    np.add.at(sizes, groups.near[keys], 1)
    return keys, sizes


def _near_duplicate_groups(
    texts: Texts, groups: Groups, threshold: float | None, joined: int
) -> NearDuplicateGroups | None:
    """Return the counts of near duplicates for the manifest; None without a ``threshold``."""
    if threshold is None:
        return None
    _, sizes = _near_groups(groups, np.flatnonzero(texts.outcome < len(SPLITS)).astype(np.int32))
    several = sizes[sizes > 1]
    return NearDuplicateGroups(
        threshold=threshold,
        texts=int(several.sum()),
        groups=len(several),
        joined=joined,
        scattered=groups.scattered,
    )


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
    rows: Iterable[tuple[str, CleanedRow]],
    outcomes: npt.NDArray[np.uint8],
    texts: Texts,
    copies: CopyCounter | None,
    writer: DatasetWriter,
) -> None:
    """Write each row, given with its ingested split, to its split, or reject it; count copies of test texts."""
    for number, (ingested, (row, text, _)) in enumerate(rows):
        outcome = outcome_name(outcomes[number])
        if outcome in SPLITS:
            key = f"{texts.key[texts.of_row[number]]:016x}"
            writer.add(outcome, dataclasses.replace(row, text=text, key=key))
        else:
            rejected = Rejected(row.id, outcome, row.label, row.text, ingested)
            writer.reject(rejected)
            if copies:
                copies.add(int(texts.of_row[number]), rejected)
