"""Clean, deduplicate and split a dataset; memory holds a digest and a key per text, never the texts."""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from textgate.components.contracts import Dataset, InputError, Preprocess, Progress, Rejected, Row, dataset_writer
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.dataset_output import DatasetWriter
from textgate.components.contracts.text_keys import text_key
from textgate.components.preprocess.cleaning import clean_texts, read_cleaned_parts
from textgate.components.preprocess.positive import with_positive_last
from textgate.components.preprocess.splitting import KeptText, split_texts

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


_Texts = dict[bytes, KeptText]
"""Distinct texts that can be kept, by digest."""
_Assignments = dict[bytes, str]
"""Split of each text, or the reason to reject it, by digest."""


def preprocess_dataset(raw: Path, settings: Preprocess, output: Path, parts: Sequence[Path] = ()) -> DatasetManifest:
    """Write the splits train, validation and test of an ingested dataset; its rejected rows are carried over.

    Of several rows with the same cleaned text the first is kept, or none if their labels differ, so no text is in two
    splits. ``splitting`` says which text is in which split. A test split given by the source is used as it is; its
    texts and their copies are rejected from the other splits.

    Args:
        raw: Folder of the ingested dataset.
        settings: Preprocess settings.
        output: Folder of the dataset to write.
        parts: Folders that ``clean_part`` has written for each part of the source; without them the texts are cleaned
            here.

    Raises:
        InputError: A label has too few texts for every split, a given test split has none of it, or the language or the
            positive class is unknown. Nothing is written then.
    """
    dataset = Dataset.open(raw)
    labels = with_positive_last(dataset.manifest.labels, settings.positive)
    read_cleaned = read_cleaned_parts(dataset, parts) if parts else clean_texts(dataset, settings)
    progress, done = Progress(total=2 * dataset.manifest.rows_out), itertools.count(1)

    def read(split: str, note: str) -> Iterator[_CleanedText]:
        for row, text, in_language in read_cleaned(split):
            digest = hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()
            yield _CleanedText(row, text, digest, text_key(row.text), in_language)
            progress.update(next(done), note)

    texts, assignments = _assign(dataset.manifest, settings, lambda split: read(split, "looking for duplicates"))
    with dataset_writer(output, SPLITS, dataset.manifest.metadata, keyed=True) as writer:
        for rejected in dataset.rejected():
            writer.reject(rejected)
        for split, assigned in assignments.items():
            _write_rows(read(split, "splitting"), texts, assigned, writer)
        return writer.finish(
            dataset.manifest.source,
            labels,
            rows_filtered=dataset.manifest.rows_filtered,
            normalizer=settings.normalizer,
        )


def _assign(
    manifest: DatasetManifest, settings: Preprocess, read: Callable[[str], Iterator[_CleanedText]]
) -> tuple[_Texts, dict[str, _Assignments]]:
    """Return the texts that are kept, and the assignments of each ingested split."""
    texts, assigned = _deduplicate(read(_ALL))
    if _GIVEN_TEST not in manifest.counts:
        return texts, {_ALL: assigned | split_texts(texts, manifest.labels, settings, given_test=False)}
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
    assigned |= split_texts(texts, manifest.labels, settings, given_test=True)
    return texts | test_texts, {_ALL: assigned, _GIVEN_TEST: test_assigned}


def _write_rows(rows: Iterable[_CleanedText], texts: _Texts, assigned: _Assignments, writer: DatasetWriter) -> None:
    """Write the first row of each text to its split, and reject the others; ``assigned`` is updated."""
    for row, text, digest, _, _ in rows:
        assignment = assigned[digest] if text else EMPTY_TEXT
        if assignment in SPLITS:
            writer.add(assignment, dataclasses.replace(row, text=text, key=texts[digest].key))
            assigned[digest] = DUPLICATE
        else:
            writer.reject(Rejected(row.id, assignment, row.label, row.text))


def _deduplicate(rows: Iterable[_CleanedText]) -> tuple[_Texts, _Assignments]:
    """Return the distinct texts that can be kept, and the reasons to reject the others.

    Rows that only the cleaning makes equal may have several keys. Their text has the smallest, so that the order of the
    rows does not matter.
    """
    texts: _Texts = {}
    rejected: _Assignments = {}
    for row, text, digest, key, in_language in rows:
        if not text or digest in rejected:
            continue
        if digest not in texts:
            if in_language():
                texts[digest] = KeptText(row.label, key)
            else:
                rejected[digest] = ANOTHER_LANGUAGE
        elif texts[digest].label != row.label:
            del texts[digest]
            rejected[digest] = CONFLICTING_LABEL
        elif key < texts[digest].key:
            texts[digest] = KeptText(row.label, key)
    return texts, rejected


def _require_labels(test_texts: _Texts, labels: list[str], source: str) -> None:
    """Raise InputError if a label has no text in the given test split."""
    present = {text.label for text in test_texts.values()}
    for label in labels:
        if label not in present:
            raise InputError(
                f"the test split of {source} has no text of the label {label!r} that can be kept: "
                "give it some, or leave out source.test to have a test split cut from the rest"
            )
