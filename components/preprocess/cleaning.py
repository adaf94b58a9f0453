"""Cleaning of an ingested dataset's texts: on the fly, or part by part beforehand.

A cleaned part is itself a dataset with the rows of the ingested part in the same order. Its text is the cleaned text,
and its label says whether the text is in the recipe's language.
"""

import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from textgate.components.contracts import Dataset, Preprocess, Progress, Row, dataset_writer
from textgate.components.preprocess.language import language_filter

_IN_LANGUAGE, _FOREIGN = "in the language", "foreign"

CleanedRow = tuple[Row, str, Callable[[], bool]]
"""Row, its cleaned text, and a function that detects whether the text is in the recipe's language (slow)."""
ReadCleaned = Callable[[str], Iterator[CleanedRow]]
"""Function from a split's name to its cleaned rows."""


def clean_texts(dataset: Dataset, settings: Preprocess) -> ReadCleaned:
    """Return a reader that cleans the texts of ``dataset`` on the fly.

    Raises:
        InputError: The language is unknown.
    """
    in_language = language_filter(settings.language) if settings.language else bool

    def read(split: str) -> Iterator[CleanedRow]:
        for row in dataset.rows(split):
            text = settings.normalizer(row.text)
            yield row, text, partial(in_language, text)

    return read


def clean_part(raw: Path, settings: Preprocess, output: Path) -> None:
    """Write the cleaned texts of one part of a source.

    Args:
        raw: Folder that ``ingest_part`` has written.
        settings: Preprocess settings.
        output: Folder of the cleaned part.

    Raises:
        InputError: The language is unknown. Nothing is written then.
    """
    part = Dataset.open(raw)
    read = clean_texts(part, settings)
    progress, done = Progress(total=part.manifest.rows_out), itertools.count(1)
    with dataset_writer(output, part.manifest.counts) as writer:
        for split in part.manifest.counts:
            for row, text, in_language in read(split):
                writer.add(split, Row(row.id, text, _IN_LANGUAGE if text and in_language() else _FOREIGN))
                progress.update(next(done), "cleaning")
        writer.finish(part.manifest.source, [_FOREIGN, _IN_LANGUAGE], normalizer=settings.normalizer)


def read_cleaned_parts(dataset: Dataset, parts: Sequence[Path]) -> ReadCleaned:
    """Return a reader of the texts that ``clean_part`` has cleaned.

    Args:
        dataset: Joined dataset.
        parts: Folders of its cleaned parts, in any order.
    """
    sorted_parts = sorted(map(Dataset.open, parts), key=lambda part: part.manifest.source)

    def read(split: str) -> Iterator[CleanedRow]:
        cleaned = itertools.chain.from_iterable(part.rows(split) for part in sorted_parts)
        for row, clean in zip(dataset.rows(split), cleaned, strict=True):
            yield row, clean.text, partial(operator.eq, clean.label, _IN_LANGUAGE)

    return read
