"""Clean, deduplicate and split a dataset; memory holds a digest and a key per text, never the texts."""

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from textgate.components.contracts import Dataset, InputError, Preprocess, Progress, Rejected, Row, dataset_writer
from textgate.components.contracts.dataset import DatasetManifest, SplitChoice
from textgate.components.contracts.dataset_output import DatasetWriter
from textgate.components.contracts.text_keys import text_key
from textgate.components.preprocess.cleaning import clean_texts, read_cleaned_parts
from textgate.components.preprocess.positive import with_positive_last
from textgate.components.preprocess.splitting import KeptText, split_texts
from textgate.components.preprocess.time_split import EARLIER_COPY, TimeColumn, split_by_time, start_of_test_split

SPLITS = ("train", "validation", "test")
EMPTY_TEXT = "empty text"
ANOTHER_LANGUAGE = "another language"
DUPLICATE = "duplicate"
CONFLICTING_LABEL = "conflicting label"
ALSO_IN_TEST = "also in the test split"
COPY_IN_TEST = "copy of a text in the test split"

_ALL = "all"
"""Ingested split of the rows to distribute over the splits."""
_GIVEN_TEST = "test"
"""Ingested split of the rows that ``source.test`` selects."""


class _CleanedText(NamedTuple):
    """Row of the ingested dataset with its cleaned text."""

    row: Row
    """Row with its raw text."""
    text: str
    """Cleaned text."""
    digest: bytes
    """Digest of the cleaned text."""
    key: str
    """Key of the raw text."""
    in_language: Callable[[], bool]
    """Function that detects whether the text is in the recipe's language (slow)."""
    time: Callable[[], float]
    """Function that reads the time of the row; 0 without ``preprocess.test_latest_by``."""


_Texts = dict[bytes, KeptText]
"""Distinct texts that can be kept, by digest."""
_Assignments = dict[bytes, str]
"""Split of each text, or the reason to reject it, by digest."""


def preprocess_dataset(raw: Path, settings: Preprocess, output: Path, parts: Sequence[Path] = ()) -> DatasetManifest:
    """Write the splits train, validation and test of an ingested dataset; its rejected rows are carried over.

    Of several rows with the same cleaned text the first is kept, or none if their labels differ, so no text is in two
    splits. ``splitting`` says which text is in which split. A test split given by the source is used as it is; its
    texts and their copies are rejected from the other splits. With ``preprocess.test_latest_by`` the test split is the
    latest texts without copies of earlier ones (``time_split``), and of several rows the earliest is kept.

    Args:
        raw: Folder of the ingested dataset.
        settings: Preprocess settings.
        output: Folder of the dataset to write.
        parts: Folders that ``clean_part`` has written for each part of the source; without them the texts are cleaned
            here.

    Raises:
        InputError: A label has too few texts for every split, a test split that is given or cut by time has none of it,
            a row has no time, or the language or the positive class is unknown. Nothing is written then.
    """
    dataset = Dataset.open(raw)
    labels = with_positive_last(dataset.manifest.labels, settings.positive)
    read_cleaned = read_cleaned_parts(dataset, parts) if parts else clean_texts(dataset, settings)
    progress, done = Progress(total=2 * dataset.manifest.rows_out), itertools.count(1)
    column = TimeColumn(settings.test_latest_by) if settings.test_latest_by else None
    time_of = column.time if column else _timeless

    def read(split: str, note: str) -> Iterator[_CleanedText]:
        for row, text, in_language in read_cleaned(split):
            digest = hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()
            yield _CleanedText(row, text, digest, text_key(row.text), in_language, partial(time_of, row))
            progress.update(next(done), note)

    split = _split(dataset.manifest, settings, lambda split: read(split, "looking for duplicates"), column)
    with dataset_writer(output, SPLITS, dataset.manifest.metadata, keyed=True) as writer:
        for rejected in dataset.rejected():
            writer.reject(rejected)
        for ingested, assigned in split.assigned.items():
            _write_rows(read(ingested, "splitting"), split.texts, assigned, split.start, writer)
        return writer.finish(
            dataset.manifest.source,
            labels,
            rows_filtered=dataset.manifest.rows_filtered,
            normalizer=settings.normalizer,
            test_split=split.choice,
            files=dataset.manifest.files,
        )


class _Split(NamedTuple):
    """Result of splitting the distinct texts."""

    texts: _Texts
    """Texts that are kept."""
    assigned: dict[str, _Assignments]
    """Assignments of each ingested split."""
    choice: SplitChoice
    """How the test split was chosen."""
    start: float = math.inf
    """Time from which on texts are the test split, if it was cut by time."""


def _split(
    manifest: DatasetManifest,
    settings: Preprocess,
    read: Callable[[str], Iterator[_CleanedText]],
    column: TimeColumn | None,
) -> _Split:
    """Deduplicate and split the texts; ``column`` has the times by which to cut the test split."""
    texts, assigned = _deduplicate(read(_ALL))
    if column:
        start = start_of_test_split(texts, column, settings.test)
        choice = SplitChoice(by="time", column=column.name, since=column.text(start))
        assigned |= split_by_time(texts, manifest.labels, settings, start, column)
        return _Split(texts, {_ALL: assigned}, choice, start)
    if _GIVEN_TEST not in manifest.counts:
        assigned |= split_texts(texts, manifest.labels, settings, has_test=False)
        return _Split(texts, {_ALL: assigned}, SplitChoice(by="hash"))
    test_texts, test_rejected = _deduplicate(read(_GIVEN_TEST))
    _require_labels(test_texts, manifest.labels, manifest.source)
    test_assigned = test_rejected | dict.fromkeys(test_texts, "test")
    # Also if the labels differ; a text in another language keeps that reason.
    for digest in test_assigned.keys() & (texts.keys() | assigned.keys()):
        if texts.pop(digest, None) or assigned[digest] == CONFLICTING_LABEL:
            assigned[digest] = ALSO_IN_TEST
    test_keys = {text.key for text in test_texts.values()}
    copies = [digest for digest, text in texts.items() if text.key in test_keys]
    for digest in copies:
        del texts[digest]
        assigned[digest] = COPY_IN_TEST
    assigned |= split_texts(texts, manifest.labels, settings, has_test=True)
    return _Split(texts | test_texts, {_ALL: assigned, _GIVEN_TEST: test_assigned}, SplitChoice(by="source"))


def _write_rows(
    rows: Iterable[_CleanedText], texts: _Texts, assigned: _Assignments, start: float, writer: DatasetWriter
) -> None:
    """Write the earliest row of each text to its split, and reject the others; ``assigned`` is updated.

    Rows from the time ``start`` on whose text is from before are rejected as its copies.
    """
    for row, text, digest, _, _, time in rows:
        assignment = assigned[digest] if text else EMPTY_TEXT
        if assignment in (*SPLITS, DUPLICATE) and time() > texts[digest].time:
            assignment = EARLIER_COPY if texts[digest].time < start <= time() else DUPLICATE
        if assignment in SPLITS:
            writer.add(assignment, dataclasses.replace(row, text=text, key=texts[digest].key))
            assigned[digest] = DUPLICATE
        else:
            writer.reject(Rejected(row.id, assignment, row.label, row.text))


def _deduplicate(rows: Iterable[_CleanedText]) -> tuple[_Texts, _Assignments]:
    """Return the distinct texts that can be kept, and the reasons to reject the others.

    Rows that only the cleaning makes equal may have several keys. Their text has the smallest, so that the order of the
    rows does not matter, and the earliest time.
    """
    texts: _Texts = {}
    rejected: _Assignments = {}
    for row, text, digest, key, in_language, time in rows:
        if not text or digest in rejected:
            continue
        if digest not in texts:
            if in_language():
                texts[digest] = KeptText(row.label, key, time())
            else:
                rejected[digest] = ANOTHER_LANGUAGE
        elif texts[digest].label != row.label:
            del texts[digest]
            rejected[digest] = CONFLICTING_LABEL
        else:
            texts[digest] = KeptText(row.label, min(key, texts[digest].key), min(time(), texts[digest].time))
    return texts, rejected


def _timeless(_row: Row) -> float:
    return 0.0


def _require_labels(test_texts: _Texts, labels: list[str], source: str) -> None:
    """Raise InputError if a label has no text in the given test split."""
    present = {text.label for text in test_texts.values()}
    for label in labels:
        if label not in present:
            raise InputError(
                f"the test split of {source} has no text of the label {label!r} that can be kept: "
                "give it some, or leave out source.test to have a test split cut from the rest"
            )
