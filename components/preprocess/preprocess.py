"""Clean, deduplicate and split a dataset; memory holds a digest per text, never the texts."""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from textgate.components.contracts import Dataset, InputError, Preprocess, Progress, Rejected, Row, dataset_writer
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.dataset_output import DatasetWriter
from textgate.components.preprocess.cleaning import clean_texts, read_cleaned_parts
from textgate.components.preprocess.positive import with_positive_last

SPLITS = ("train", "validation", "test")
EMPTY_TEXT = "empty text"
ANOTHER_LANGUAGE = "another language"
DUPLICATE = "duplicate"
CONFLICTING_LABEL = "conflicting label"
ALSO_IN_TEST = "also in the test split"
LEFT_OUT = "left out to balance the classes"
NOT_IN_SHARE = "not in the share of the training texts"

_ALL = "all"
"""Ingested split of the rows to distribute over the splits."""
_GIVEN_TEST = "test"
"""Ingested split of the rows that ``source.test`` selects."""

_DigestedRow = tuple[Row, str, bytes, Callable[[], bool]]
"""Row, its cleaned text, the digest of that text, and a function that detects whether it is in the language."""
_Labels = dict[bytes, str]
"""Label of each text that can be kept, by digest."""
_Assignments = dict[bytes, str]
"""Split of each text, or the reason to reject it, by digest."""


def preprocess_dataset(raw: Path, settings: Preprocess, output: Path, parts: Sequence[Path] = ()) -> DatasetManifest:
    """Write the splits train, validation and test of an ingested dataset; its rejected rows are carried over.

    Of several rows with the same cleaned text the first is kept, or none if their labels differ, so no text is in two
    splits. Within each label the texts are sorted by a seeded hash and cut by the configured shares: the split is
    stratified and independent of the order of the rows (Géron, Hands-On Machine Learning, ch. 2, "Create a Test Set").
    A test split given by the source is used as it is, and its texts are rejected from the other splits.

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

    def read(split: str, note: str) -> Iterator[_DigestedRow]:
        for row, text, in_language in read_cleaned(split):
            yield row, text, _digest(text, settings.seed), in_language
            progress.update(next(done), note)

    assignments = _assign(dataset.manifest, settings, lambda split: read(split, "looking for duplicates"))
    with dataset_writer(output, SPLITS, dataset.manifest.metadata) as writer:
        for rejected in dataset.rejected():
            writer.reject(rejected)
        for split, assigned in assignments.items():
            _write_rows(read(split, "splitting"), assigned, writer)
        return writer.finish(
            dataset.manifest.source,
            labels,
            rows_filtered=dataset.manifest.rows_filtered,
            normalizer=settings.normalizer,
        )


def _digest(text: str, seed: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16, key=str(seed).encode()).digest()


def _assign(
    manifest: DatasetManifest, settings: Preprocess, read: Callable[[str], Iterator[_DigestedRow]]
) -> dict[str, _Assignments]:
    """Return the assignments of each ingested split."""
    label_of, assigned = _deduplicate(read(_ALL))
    if _GIVEN_TEST not in manifest.counts:
        return {_ALL: assigned | _split(label_of, manifest.labels, settings, SPLITS)}
    test_label_of, test_rejected = _deduplicate(read(_GIVEN_TEST))
    _require_labels(test_label_of, manifest.labels, manifest.source)
    test_assigned = test_rejected | dict.fromkeys(test_label_of, "test")
    # Also if the labels differ; a text in another language keeps that reason.
    for digest in test_assigned.keys() & (label_of.keys() | assigned.keys()):
        if label_of.pop(digest, None) or assigned[digest] == CONFLICTING_LABEL:
            assigned[digest] = ALSO_IN_TEST
    return {_ALL: assigned | _split(label_of, manifest.labels, settings, SPLITS[:-1]), _GIVEN_TEST: test_assigned}


def _write_rows(rows: Iterable[_DigestedRow], assigned: _Assignments, writer: DatasetWriter) -> None:
    """Write the first row of each text to its split, and reject the others; ``assigned`` is updated."""
    for row, text, digest, _ in rows:
        assignment = assigned[digest] if text else EMPTY_TEXT
        if assignment in SPLITS:
            writer.add(assignment, dataclasses.replace(row, text=text))
            assigned[digest] = DUPLICATE
        else:
            writer.reject(Rejected(row.id, assignment, row.label, row.text))


def _deduplicate(rows: Iterable[_DigestedRow]) -> tuple[_Labels, _Assignments]:
    """Return the labels of the distinct texts that can be kept, and the reasons to reject the others."""
    label_of: _Labels = {}
    rejected: _Assignments = {}
    for row, text, digest, in_language in rows:
        if not text or digest in rejected:
            continue
        if digest not in label_of:
            if in_language():
                label_of[digest] = row.label
            else:
                rejected[digest] = ANOTHER_LANGUAGE
        elif label_of[digest] != row.label:
            del label_of[digest]
            rejected[digest] = CONFLICTING_LABEL
    return label_of, rejected


def _require_labels(test_label_of: _Labels, labels: list[str], source: str) -> None:
    """Raise InputError if a label has no text in the given test split."""
    present = set(test_label_of.values())
    for label in labels:
        if label not in present:
            raise InputError(
                f"the test split of {source} has no text of the label {label!r} that can be kept: "
                "give it some, or leave out source.test to have a test split cut from the rest"
            )


def _split(label_of: _Labels, labels: list[str], settings: Preprocess, splits: Sequence[str]) -> _Assignments:
    """Assign every text that can be kept to one of ``splits``, or to a reason to leave it out."""
    digests_of: dict[str, list[bytes]] = {label: [] for label in labels}
    for digest, label in label_of.items():
        digests_of[label].append(digest)
    smallest = min(map(len, digests_of.values()))
    assigned: _Assignments = {}
    for label, digests in digests_of.items():
        if len(digests) < len(splits):
            raise InputError(
                f"the label {label!r} has {len(digests)} different texts but needs at least {len(splits)}, one in each "
                f"of {', '.join(splits)}: give more texts of it, or leave the label out"
            )
        kept = sorted(digests)
        if settings.balance:
            assigned |= dict.fromkeys(kept[smallest:], LEFT_OUT)
            kept = kept[:smallest]
        test = min(max(1, round(settings.test * len(kept))), len(kept) - 2) if "test" in splits else 0
        validation = min(max(1, round(settings.validation * len(kept))), len(kept) - test - 1)
        held_out = test + validation
        train = max(1, round(settings.train_share * (len(kept) - held_out)))
        assigned |= dict.fromkeys(kept[:test], "test")
        assigned |= dict.fromkeys(kept[test:held_out], "validation")
        assigned |= dict.fromkeys(kept[held_out : held_out + train], "train")
        assigned |= dict.fromkeys(kept[held_out + train :], NOT_IN_SHARE)
    return assigned
