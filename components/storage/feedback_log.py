"""Reader of the feedback and the predictions that servers log in the store.

    feedback/<model>/<YYYY-MM-DD>/<uuid>.parquet       correct labels, with the predictions they refer to
    predictions/<model>/<YYYY-MM-DD>/<uuid>.parquet    texts and predictions of a share of the requests

Rows of both are joined on request_id and index, whichever server wrote them. Days and times are UTC.
"""

import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from textgate.components.contracts import InputError
from textgate.components.storage.s3 import ObjectSummary, Store

Kind = Literal["feedback", "predictions"]

_TIME = pa.timestamp("us", "UTC")
KEY_FIELDS = [
    pa.field("time", _TIME, nullable=False),
    pa.field("request_id", pa.string(), nullable=False),
    pa.field("index", pa.int32(), nullable=False),
    pa.field("model", pa.string(), nullable=False),
]
SCHEMAS: dict[Kind, pa.Schema] = {
    "feedback": pa.schema(
        [
            *KEY_FIELDS,
            pa.field("label", pa.string(), nullable=False),
            # Null if the request is not among the last ones that this server answered.
            pa.field("version", pa.string()),
            pa.field("predicted", pa.string()),
            pa.field("score", pa.float64()),
        ]
    ),
    "predictions": pa.schema(
        [
            *KEY_FIELDS,
            pa.field("version", pa.string(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("label", pa.string(), nullable=False),
            pa.field("score", pa.float64(), nullable=False),
        ]
    ),
}
"""Columns; ``index`` is that of the text in its request, and ``label`` in feedback is the correct label."""


def read_feedback_log(store: Store, kind: Kind, model: str, since: datetime | None = None) -> pa.Table:
    """Read the rows of a model, sorted by time, request and index.

    Args:
        store: Store that a server's ``FeedbackLog`` wrote to.
        kind: Kind of rows.
        model: Name of the model.
        since: Time of the first row; None reads all.

    Returns:
        A table with the schema ``SCHEMAS[kind]``, empty if there are no rows.

    Raises:
        InputError: If the store cannot be reached, or an object was not written by ``FeedbackLog``.
    """
    table = pa.concat_tables([SCHEMAS[kind].empty_table(), *iterate_feedback_log(store, kind, model, since)])
    return table.sort_by([(name, "ascending") for name in ("time", "request_id", "index")])


def iterate_feedback_log(store: Store, kind: Kind, model: str, since: datetime | None = None) -> Iterator[pa.Table]:
    """Yield the rows of a model, one stored object at a time; see ``read_feedback_log``."""
    yield from iterate_objects(store, kind, log_objects(store, kind, model, since), since)


def iterate_objects(
    store: Store, kind: Kind, items: Iterable[ObjectSummary], since: datetime | None = None
) -> Iterator[pa.Table]:
    """Yield the rows of some of the objects of ``log_objects``, one object at a time; see ``read_feedback_log``."""
    first = since.astimezone(UTC) if since else datetime.min.replace(tzinfo=UTC)
    for item in items:
        yield _read_object(store, item.key, SCHEMAS[kind]).filter(pc.field("time") >= pa.scalar(first, _TIME))


def log_objects(store: Store, kind: Kind, model: str, since: datetime | None = None) -> Iterator[ObjectSummary]:
    """Yield the objects of the days from that of ``since`` on, sorted by key.

    Raises:
        InputError: If the store cannot be reached.
    """
    prefix = f"{kind}/{model}/"
    for day in store.prefixes(prefix):
        if since is None or day >= since.astimezone(UTC).date().isoformat():
            yield from store.objects(f"{prefix}{day}/")


def _read_object(store: Store, key: str, schema: pa.Schema) -> pa.Table:
    stored = store.get(key)
    if stored is None:  # deleted since it was listed
        return schema.empty_table()
    try:
        table = pq.read_table(io.BytesIO(stored.data))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{store.uri(key)} is not a readable Parquet file ({error}): remove it") from error
    if table.schema != schema:
        raise InputError(f"{store.uri(key)} has other columns than {', '.join(schema.names)}: remove it")
    return table
