"""Labelled texts that are in memory, written to Parquet files as the source of a recipe.

``write_source`` takes pandas DataFrames, a ``datasets.Dataset``, every table with the Arrow PyCapsule interface
(arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html), such as those of Arrow and polars, and mappings
of split names to them, such as a ``datasets.DatasetDict``.
"""

import hashlib
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from textgate.components.contracts import InputError, Source, file_sha256, new_folder

if TYPE_CHECKING:
    import pyarrow as pa

_VALIDATION_NAMES = ("validation", "valid", "val", "dev")
_BATCH_ROWS = 10_000
_HASH_CHARACTERS = 16


class ArrowTable(Protocol):
    """Table with the Arrow PyCapsule interface."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export the table."""


def write_source(data: Any, text: str, label: str, folder: Path) -> Source:
    """Write a table, or a mapping of split names to tables, and return it as a source.

    The splits ``test`` and ``validation`` (or ``valid``, ``val``, ``dev``) are the source's given splits if there are
    others to train on. Class numbers of a ``ClassLabel`` become their names.

    Args:
        data: The table or tables.
        text: Name of the text column.
        label: Name of the label column.
        folder: Folder in which a file or folder is created, named by a hash of its content.

    Raises:
        InputError: A column is missing, or ``data`` is of another type.
    """
    splits = dict(data) if isinstance(data, Mapping) else {}
    for name in splits:
        if not re.fullmatch(r"\w+([.-]\w+)*", str(name)):
            raise InputError(f"the data have a split {name!r}: a name has letters, digits, _, - and inner dots")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        files = {name: Path(temporary) / f"{name}.parquet" for name in splits or {"data": data}}
        for name, file in files.items():
            _write_file(splits.get(name, data), text, label, file)
        content = "\0".join(f"{name}\0{file_sha256(file)}" for name, file in sorted(files.items()))
        target = folder / hashlib.sha256(content.encode()).hexdigest()[:_HASH_CHARACTERS]
        with new_folder(target, keep_existing=True) as new:
            for file in files.values():
                file.rename(new / file.name)
    source = Source(uri=str(target if splits else target / "data.parquet"), text=text, label=label)
    test = "test" if "test" in splits else None
    validation = next((name for name in _VALIDATION_NAMES if name in splits), None)
    if not splits.keys() - {test, validation}:
        return source
    given = {"test": test, "validation": validation}
    return source.model_copy(update={split: f"split == {name!r}" for split, name in given.items() if name})


def _write_file(data: Any, text: str, label: str, path: Path) -> None:
    import pyarrow.parquet as pq

    schema, tables = _tables(data, text, label)
    with pq.ParquetWriter(path, schema) as writer:
        for table in tables:
            writer.write_table(table)


def _tables(data: Any, text: str, label: str) -> tuple["pa.Schema", Iterator["pa.Table"]]:
    """Return text and label as Arrow tables of one schema."""
    import pyarrow as pa

    # An object of a library exists only if the library has been imported.
    pandas, datasets = sys.modules.get("pandas"), sys.modules.get("datasets")
    if datasets and isinstance(data, datasets.Dataset):
        _require_columns(data.column_names, text, label)
        names = getattr(data.features[label], "names", None)
        batches = data.select_columns([text, label]).with_format("arrow").iter(_BATCH_ROWS)
        tables = (_with_class_names(batch, label, names) if names else batch for batch in batches)
        types = data.features.arrow_schema
        label_type = pa.string() if names else types.field(label).type
        return pa.schema([(text, types.field(text).type), (label, label_type)]), tables
    if pandas and isinstance(data, pandas.DataFrame):
        _require_columns(list(map(str, data.columns)), text, label)
        try:
            table = pa.Table.from_pandas(data[[text, label]], preserve_index=False)
        except pa.ArrowException as error:
            raise InputError(f"a column of the data has values of several types: {', '.join(error.args)}") from error
    elif hasattr(data, "__arrow_c_stream__"):
        whole = pa.table(data)
        _require_columns(whole.column_names, text, label)
        table = whole.select([text, label])
    else:
        raise InputError(
            f"the data are of type {type(data).__name__}, which cannot be read: give a path or URI, a DataFrame, a "
            "Dataset or DatasetDict of the library datasets, or a table of Arrow or polars"
        )
    return table.schema, iter([table])


def _with_class_names(table: "pa.Table", label: str, names: list[str]) -> "pa.Table":
    """Replace class numbers by names; the library marks a missing label by -1."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = table[label].combine_chunks()
    known = pc.if_else(pc.greater_equal(numbers, 0), numbers, pa.scalar(None, numbers.type))
    return table.set_column(table.column_names.index(label), label, pa.array(names, pa.string()).take(known))


def _require_columns(existing: list[str], text: str, label: str) -> None:
    missing = [column for column in (text, label) if column not in existing]
    if missing:
        raise InputError(
            f"the data have no column {missing[0]!r}; they have {', '.join(existing)}: name the columns with text= and "
            "label="
        )
