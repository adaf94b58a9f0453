"""Clean, deduplicate and split a dataset, without ever holding its texts in memory."""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from textgate.components.contracts import Dataset, InputError, Preprocess, Progress, Rejected, Row, dataset_writer
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.preprocess.cleaning import clean_texts, cleaned_parts

SPLITS = ("train", "validation", "test")
EMPTY_TEXT = "empty text"
ANOTHER_LANGUAGE = "another language"
DUPLICATE = "duplicate"
CONFLICTING_LABEL = "conflicting label"
ALSO_IN_TEST = "also in the test split"
LEFT_OUT = "left out to balance the classes"
NOT_IN_SHARE = "not in the share of the training texts"

_INGESTED = "all"
_GIVEN_TEST = "test"

_Cleaned = tuple[Row, str, bytes, Callable[[], bool]]
"""A row, its cleaned text, the digest of that, and whether it is in the language that is asked for."""
_Places = dict[bytes, str]
"""The split that a text goes to, by its digest, or the reason why it goes to none."""


def preprocess_dataset(raw: Path, settings: Preprocess, output: Path, parts: Sequence[Path] = ()) -> DatasetManifest:
    """Write the splits train, validation and test of an ingested dataset; earlier rejections are carried on.

    Of rows with the same cleaned text the first is kept, or none when their labels differ, so no text can stand in two
    splits. Within each label the texts are ordered by a seeded hash and cut by the shares: the split is stratified and
    the same whatever the order of the rows (Géron, Hands-On Machine Learning, ch. 2, "Create a Test Set"). A test split
    that the source gives is kept whole: a text that stands in it and elsewhere is left out elsewhere.

    ``parts`` are what ``clean_part`` made of each part of the source; without them the texts are cleaned here.

    Raises:
        InputError: a label has too few texts for a place in every split, or none in a test split that is given, or the
            language is not known; nothing is written then.
    """
    dataset = Dataset.open(raw)
    labels = dataset.manifest.labels
    given = _GIVEN_TEST in dataset.manifest.counts
    texts = cleaned_parts(dataset, parts) if parts else clean_texts(dataset, settings)
    progress, done = Progress(total=2 * dataset.manifest.rows_out), itertools.count(1)

    def cleaned(split: str, note: str) -> Iterator[_Cleaned]:
        for row, text, in_language in texts(split):
            yield row, text, _digest(text, settings.seed), in_language
            progress.update(next(done), note)

    label_of, places = _distinct(cleaned(_INGESTED, "looking for duplicates"))
    sources = {_INGESTED: places}
    if given:
        test_label_of, test_places = _distinct(cleaned(_GIVEN_TEST, "looking for duplicates"))
        _require_labels(test_label_of, labels, dataset.manifest.source)
        sources[_GIVEN_TEST] = test_places | dict.fromkeys(test_label_of, "test")
        # Whatever its labels here or there; of one in another language that is what is said.
        for digest in sources[_GIVEN_TEST].keys() & (label_of.keys() | places.keys()):
            if label_of.pop(digest, None) or places[digest] == CONFLICTING_LABEL:
                places[digest] = ALSO_IN_TEST
    places |= _split(label_of, labels, settings, SPLITS[:-1] if given else SPLITS)

    with dataset_writer(output, SPLITS, dataset.manifest.metadata) as writer:
        for rejected in dataset.rejected():
            writer.reject(rejected)
        for source, its_places in sources.items():
            for row, text, digest, _ in cleaned(source, "splitting"):
                place = its_places[digest] if text else EMPTY_TEXT
                if place in SPLITS:
                    writer.add(place, dataclasses.replace(row, text=text))
                    its_places[digest] = DUPLICATE
                else:
                    writer.reject(Rejected(row.id, place, row.label, row.text))
        return writer.finish(
            dataset.manifest.source,
            labels,
            rows_filtered=dataset.manifest.rows_filtered,
            normalizer=settings.normalizer,
        )


def _digest(text: str, seed: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16, key=str(seed).encode()).digest()


def _distinct(rows: Iterable[_Cleaned]) -> tuple[dict[bytes, str], _Places]:
    """The label of every different text that can be kept, and the place of every one that cannot."""
    label_of: dict[bytes, str] = {}
    places: _Places = {}
    for row, text, digest, in_language in rows:
        if not text or digest in places:
            continue
        if digest not in label_of:
            if in_language():
                label_of[digest] = row.label
            else:
                places[digest] = ANOTHER_LANGUAGE
        elif label_of[digest] != row.label:
            del label_of[digest]
            places[digest] = CONFLICTING_LABEL
    return label_of, places


def _require_labels(test_label_of: dict[bytes, str], labels: list[str], source: str) -> None:
    found = set(test_label_of.values())
    for label in labels:
        if label not in found:
            raise InputError(
                f"the test split of {source} has no text of the label {label!r} that can be kept: "
                "give it some, or leave out source.test to have a test split cut from the rest"
            )


def _split(label_of: dict[bytes, str], labels: list[str], settings: Preprocess, splits: Sequence[str]) -> _Places:
    """The place of every text that can be kept, in ``splits``: with a test split to cut, or without."""
    of_label: dict[str, list[bytes]] = {label: [] for label in labels}
    for digest, label in label_of.items():
        of_label[label].append(digest)
    smallest = min(map(len, of_label.values()))
    places: _Places = {}
    for label, digests in of_label.items():
        if len(digests) < len(splits):
            raise InputError(
                f"the label {label!r} has {len(digests)} different texts but needs at least {len(splits)}, one in each "
                f"of {', '.join(splits)}: give more texts of it, or leave the label out"
            )
        kept = sorted(digests)
        if settings.balance:
            places |= dict.fromkeys(kept[smallest:], LEFT_OUT)
            kept = kept[:smallest]
        test = min(max(1, round(settings.test * len(kept))), len(kept) - 2) if "test" in splits else 0
        validation = min(max(1, round(settings.validation * len(kept))), len(kept) - test - 1)
        held_out = test + validation
        train = max(1, round(settings.train_share * (len(kept) - held_out)))
        places |= dict.fromkeys(kept[:test], "test")
        places |= dict.fromkeys(kept[test:held_out], "validation")
        places |= dict.fromkeys(kept[held_out : held_out + train], "train")
        places |= dict.fromkeys(kept[held_out + train :], NOT_IN_SHARE)
    return places
