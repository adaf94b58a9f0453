"""Clean, deduplicate and split a dataset, without ever holding its texts in memory."""

import hashlib
from collections import defaultdict
from pathlib import Path

from textgate.components.contracts import Dataset, InputError, Preprocess, Progress, Rejected, Row, dataset_writer
from textgate.components.contracts.dataset import DatasetManifest

SPLITS = ("train", "validation", "test")
EMPTY_TEXT = "empty text"
DUPLICATE = "duplicate"
CONFLICTING_LABEL = "conflicting label"

_CONFLICT = ""
_INGESTED = "all"


def preprocess_dataset(raw: Path, settings: Preprocess, output: Path) -> DatasetManifest:
    """Write the splits train, validation and test of an ingested dataset; earlier rejections are carried on.

    Of rows with the same cleaned text the first is kept, or none when their labels differ, so no text can stand in two
    splits. Within each label the texts are ordered by a seeded hash and cut by the shares: the split is stratified and
    the same whatever the order of the rows (Géron, Hands-On Machine Learning, ch. 2, "Create a Test Set").

    Raises:
        InputError: a label has too few texts for a place in every split; nothing is written then.
    """
    dataset = Dataset.open(raw)
    labels = dataset.manifest.labels
    total = dataset.manifest.rows_out
    progress = Progress(total=2 * total)

    label_of: dict[bytes, str] = {}
    for number, row in enumerate(dataset.rows(_INGESTED), 1):
        text = settings.normalizer(row.text)
        if text:
            digest = _digest(text, settings.seed)
            if label_of.setdefault(digest, row.label) != row.label:
                label_of[digest] = _CONFLICT
        progress.update(number, "looking for duplicates")
    split_of = _split(label_of, labels, settings)

    with dataset_writer(output, SPLITS) as writer:
        for rejected in dataset.rejected():
            writer.reject(rejected)
        for number, row in enumerate(dataset.rows(_INGESTED), 1):
            text = settings.normalizer(row.text)
            digest = _digest(text, settings.seed)
            if not text:
                writer.reject(Rejected(row.id, EMPTY_TEXT, row.label, row.text))
            elif label_of[digest] == _CONFLICT:
                writer.reject(Rejected(row.id, CONFLICTING_LABEL, row.label, row.text))
            elif (split := split_of.pop(digest, None)) is None:
                writer.reject(Rejected(row.id, DUPLICATE, row.label, row.text))
            else:
                writer.add(split, Row(row.id, text, row.label))
            progress.update(total + number, "splitting")
        return writer.finish(
            dataset.manifest.source,
            labels,
            rows_filtered=dataset.manifest.rows_filtered,
            normalizer=settings.normalizer,
        )


def _digest(text: str, seed: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16, key=str(seed).encode()).digest()


def _split(label_of: dict[bytes, str], labels: list[str], settings: Preprocess) -> dict[bytes, str]:
    """The split of every digest that is kept."""
    of_label: dict[str, list[bytes]] = defaultdict(list)
    for digest, label in label_of.items():
        of_label[label].append(digest)
    split_of: dict[bytes, str] = {}
    for label in labels:
        digests = sorted(of_label[label])
        if len(digests) < len(SPLITS):
            raise InputError(
                f"the label {label!r} has {len(digests)} different texts but needs at least {len(SPLITS)}, one in each "
                f"of {', '.join(SPLITS)}: give more texts of it, or leave the label out"
            )
        test = min(max(1, round(settings.test * len(digests))), len(digests) - 2)
        validation = min(max(1, round(settings.validation * len(digests))), len(digests) - test - 1)
        for position, digest in enumerate(digests):
            split_of[digest] = "test" if position < test else "validation" if position < test + validation else "train"
    return split_of
