"""Reader of data sets on the Hugging Face hub, streamed by the ``datasets`` library."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from textgate.components.contracts import InputError, Source
from textgate.components.ingest.raw_rows import SPLIT_COLUMN, RawRow, require_columns
from textgate.components.sources import HubDataset

_MAX_SUBSETS_SHOWN = 20


def read_hub(source: Source, columns: Sequence[str], commit: str = "") -> Iterator[RawRow]:
    """Yield the rows of every split of ``hf://org/name[/subset][@revision]``; the column ``split`` names the split.

    A class number of a label or metadata column is replaced by its name, unless ``source.labels`` maps the number. The
    data set's own code is not run.

    Args:
        source: Source settings.
        columns: Columns that must exist.
        commit: Commit to read; if it is empty, the present one of the revision that the URI names.

    Raises:
        InputError: The data set or a column does not exist, or the data set cannot be read.
    """
    import datasets

    hub = HubDataset.parse(source.uri)
    try:
        splits = datasets.load_dataset(hub.name, hub.subset, revision=commit or hub.revision, streaming=True)
        for split in sorted(splits):
            yield from read_split(splits[split], split, source, columns)
    except InputError:
        raise
    except ValueError as error:
        _require_subset(hub, source.uri)
        raise InputError(_unreadable(source.uri, error)) from error
    except Exception as error:  # the library raises its own errors, those of its transport and Arrow, and OSErrors
        raise InputError(_unreadable(source.uri, error)) from error


def _unreadable(uri: str, error: Exception) -> str:
    return f"{uri} cannot be read: {' '.join(str(error).split()) or type(error).__name__}"


def _require_subset(hub: HubDataset, uri: str) -> None:
    """Raise InputError if the URI names no subset of a data set that has several, or one that it does not have."""
    import datasets

    names: list[str] = []
    with suppress(Exception):  # the error that is known already is reported then
        names = sorted(datasets.get_dataset_config_names(hub.name, revision=hub.revision))
    if not names or hub.subset in names or (hub.subset is None and len(names) == 1):
        return
    shown = names[:_MAX_SUBSETS_SHOWN]
    if len(names) > len(shown):
        shown.append(f"{len(names) - len(shown):,} more")
    problem = f"has no subset {hub.subset!r}" if hub.subset else "has several subsets"
    example = f"hf://{hub.name}/{names[0]}" + (f"@{hub.revision}" if hub.revision else "")
    raise InputError(f"{uri} {problem}: name one of {', '.join(shown)}, as in {example}")


def read_split(rows: Any, split: str, source: Source, columns: Sequence[str]) -> Iterator[RawRow]:
    """Yield the rows of one split.

    Args:
        rows: A ``datasets.IterableDataset``.
        split: Name of the split.
        source: Source settings.
        columns: Columns that must exist.

    Raises:
        InputError: A column does not exist.
    """
    features = rows.features or {}
    class_names = {column: getattr(features.get(column), "names", None) for column in (source.label, *source.metadata)}
    for number, row in enumerate(rows, 1):
        if number == 1:
            require_columns(columns, [*row, SPLIT_COLUMN], source.uri)
        for column, names in class_names.items():
            value = row.get(column)
            is_mapped = column == source.label and str(value) in (source.labels or {})
            if names and isinstance(value, int) and not is_mapped:
                # The hub marks a missing label by -1.
                row[column] = names[value] if 0 <= value < len(names) else None
        yield RawRow(f"{split}:{number}", {**row, SPLIT_COLUMN: split})
