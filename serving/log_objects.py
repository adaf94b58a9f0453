"""Rows of the log of feedback and predictions, packed into the Parquet objects that ``storage.feedback_log`` reads."""

import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from textgate.components.storage.feedback_log import KEY_FIELDS, SCHEMAS, Kind

Row = Sequence[Any]
"""Values in the order of the schema."""


class LogObject(NamedTuple):
    """Object to write to the store."""

    key: str
    data: bytes
    rows: int


def pack(kind: Kind, rows: Iterable[Row], name: str) -> list[LogObject]:
    """Pack rows into objects, one for each model and day.

    Args:
        kind: Kind of rows.
        rows: Rows with the columns ``SCHEMAS[kind]``.
        name: Name of the objects in the folders of model and day; the same rows and name give the same objects.

    Raises:
        Exception: If a row does not fit the schema.
    """
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        time, _, _, model = row[: len(KEY_FIELDS)]
        groups[f"{kind}/{model}/{time.date().isoformat()}"].append(row)
    return [
        LogObject(f"{prefix}/{name}.parquet", _to_parquet(SCHEMAS[kind], group), len(group))
        for prefix, group in groups.items()
    ]


def _to_parquet(schema: pa.Schema, rows: Sequence[Row]) -> bytes:
    columns = zip(*rows, strict=True)
    arrays = [_to_array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), file, compression="zstd")
    return file.getvalue()


def _to_array(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
    values = list(values)
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        # Unpaired surrogates cannot be stored; they become U+FFFD, as in the normalizer.
        return pa.array([v and v.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for v in values], kind)
