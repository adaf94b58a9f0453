"""Data sets of the Hugging Face hub, streamed by the ``datasets`` library."""

from collections.abc import Iterator
from typing import Any

from textgate.components.contracts import InputError
from textgate.components.ingest.readers import Record
from textgate.components.storage.fetch import hub_parts


def read_hub(uri: str, label: str) -> Iterator[Record]:
    """The rows of every split of ``hf://org/name[@revision]``, with a column ``split`` that the row filter can select.

    A label stored as a class number is given the name the data set has for it. No code of the data set is run.

    Raises:
        InputError: no such data set, or it cannot be read.
    """
    import datasets

    name, revision = hub_parts(uri)
    try:
        splits = datasets.load_dataset(name, revision=revision, streaming=True)
        for split in sorted(splits):
            yield from read_rows(splits[split], split, label)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            f"{uri} cannot be read: {str(error).splitlines()[0] if str(error) else type(error)}"
        ) from error


def read_rows(rows: Any, split: str, label: str) -> Iterator[Record]:
    """The rows of one split, a ``datasets.IterableDataset``."""
    names = getattr((rows.features or {}).get(label), "names", None)
    for number, row in enumerate(rows, 1):
        value = row.get(label)
        if names and isinstance(value, int):
            # The hub marks a row without a label by -1.
            row[label] = names[value] if 0 <= value < len(names) else None
        yield Record(f"{split}:{number}", {**row, "split": split})
