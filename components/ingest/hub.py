"""Data sets of the Hugging Face hub, streamed by the ``datasets`` library."""

from collections.abc import Iterator, Sequence
from typing import Any

from textgate.components.contracts import InputError, Source
from textgate.components.ingest.records import SPLIT_COLUMN, RawRow, require_columns
from textgate.components.sources import parse_hub_uri


def read_hub(source: Source, wanted: Sequence[str]) -> Iterator[RawRow]:
    """The rows of every split of ``hf://org/name[@revision]``, with a column ``split`` that the row filter can select.

    A label or a metadata column stored as a class number is given the name the data set has for it, unless
    ``source.labels`` maps the number. No code of the data set is run.

    Raises:
        InputError: no such data set or column, or it cannot be read.
    """
    import datasets

    name, revision = parse_hub_uri(source.uri)
    try:
        splits = datasets.load_dataset(name, revision=revision, streaming=True)
        for split in sorted(splits):
            yield from read_rows(splits[split], split, source, wanted)
    except InputError:
        raise
    except Exception as error:  # the library raises its own, its transport's, Arrow's and OSErrors
        raise InputError(
            f"{source.uri} cannot be read: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error


def read_rows(rows: Any, split: str, source: Source, wanted: Sequence[str]) -> Iterator[RawRow]:
    """The rows of one split, a ``datasets.IterableDataset``."""
    features = rows.features or {}
    named = {column: getattr(features.get(column), "names", None) for column in (source.label, *source.metadata)}
    for number, row in enumerate(rows, 1):
        if number == 1:
            require_columns(wanted, [*row, SPLIT_COLUMN], source.uri)
        for column, names in named.items():
            value = row.get(column)
            mapped = column == source.label and str(value) in (source.labels or {})
            if names and isinstance(value, int) and not mapped:
                # The hub marks a row without a label by -1.
                row[column] = names[value] if 0 <= value < len(names) else None
        yield RawRow(f"{split}:{number}", {**row, SPLIT_COLUMN: split})
