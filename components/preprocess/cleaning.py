"""The texts of an ingested dataset, cleaned: as they are asked for, or beforehand in parts.

A cleaned part is itself a dataset, row by row as the ingested one, whose text is the cleaned one and whose label says
whether that is in the language which the recipe asks for.
"""

import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from textgate.components.contracts import Dataset, Preprocess, Progress, Row, dataset_writer
from textgate.components.preprocess.language import language_test

_IN_LANGUAGE, _FOREIGN = "in the language", "foreign"

CleanTexts = Callable[[str], Iterator[tuple[Row, str, Callable[[], bool]]]]
"""Gives of each row of a split the row, its cleaned text, and whether that is in the language that is asked for."""


def clean_texts(dataset: Dataset, settings: Preprocess) -> CleanTexts:
    """The texts of ``dataset``, cleaned as they are asked for; whether they are in the language is told when asked.

    Raises:
        InputError: the language is not known.
    """
    in_language = language_test(settings.language) if settings.language else bool

    def texts(split: str) -> Iterator[tuple[Row, str, Callable[[], bool]]]:
        for row in dataset.rows(split):
            text = settings.normalizer(row.text)
            yield row, text, partial(in_language, text)

    return texts


def clean_part(raw: Path, settings: Preprocess, output: Path) -> None:
    """Write what ``clean_texts`` gives of one part of a source.

    Raises:
        InputError: the language is not known; nothing is written then.
    """
    part = Dataset.open(raw)
    texts = clean_texts(part, settings)
    progress, done = Progress(total=part.manifest.rows_out), itertools.count(1)
    with dataset_writer(output, part.manifest.counts) as writer:
        for split in part.manifest.counts:
            for row, text, in_language in texts(split):
                writer.add(split, Row(row.id, text, _IN_LANGUAGE if text and in_language() else _FOREIGN))
                progress.update(next(done), "cleaning")
        writer.finish(part.manifest.source, [_FOREIGN, _IN_LANGUAGE], normalizer=settings.normalizer)


def cleaned_parts(dataset: Dataset, parts: Sequence[Path]) -> CleanTexts:
    """The texts of ``dataset``, whose parts ``clean_part`` has cleaned."""
    in_order = sorted(map(Dataset.open, parts), key=lambda part: part.manifest.source)

    def texts(split: str) -> Iterator[tuple[Row, str, Callable[[], bool]]]:
        cleaned = itertools.chain.from_iterable(part.rows(split) for part in in_order)
        for row, clean in zip(dataset.rows(split), cleaned, strict=True):
            yield row, clean.text, partial(operator.eq, clean.label, _IN_LANGUAGE)

    return texts
