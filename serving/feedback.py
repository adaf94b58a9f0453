"""What the endpoint keeps in the store for drift checks and retraining: which labels were right, and what it answered.

    feedback/<model>/<YYYY-MM-DD>/<uuid>.parquet       right labels, beside what had been answered
    predictions/<model>/<YYYY-MM-DD>/<uuid>.parquet    a share of the requests, with their texts

Rows of the two belong together by request_id and index, whichever server wrote them. Days and times are UTC.
"""

import io
import logging
import sys
import threading
import uuid
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from textgate.components.contracts import InputError
from textgate.components.storage import Store
from textgate.serving.log import log_event
from textgate.serving.sampling import sampled

Kind = Literal["feedback", "predictions"]

_TIME = pa.timestamp("us", "UTC")
_WHICH = [
    pa.field("time", _TIME, nullable=False),
    pa.field("request_id", pa.string(), nullable=False),
    pa.field("index", pa.int32(), nullable=False),
    pa.field("model", pa.string(), nullable=False),
]
SCHEMAS: dict[Kind, pa.Schema] = {
    "feedback": pa.schema(
        [
            *_WHICH,
            pa.field("label", pa.string(), nullable=False),
            # Null where the request is not among the last that this server answered.
            pa.field("version", pa.string()),
            pa.field("predicted", pa.string()),
            pa.field("score", pa.float64()),
        ]
    ),
    "predictions": pa.schema(
        [
            *_WHICH,
            pa.field("version", pa.string(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("label", pa.string(), nullable=False),
            pa.field("score", pa.float64(), nullable=False),
        ]
    ),
}
"""Columns: ``index`` numbers the texts of a request; in feedback ``label`` is the right one."""

REMEMBERED_REQUESTS = 10_000
_REMEMBERED_TEXTS = 500_000
_INDEXES = range(2**31)


class _Told(NamedTuple):
    """What a request was answered, a label and its score a text."""

    version: str
    labels: tuple[str, ...]
    scores: tuple[float, ...]


_NOTHING = _Told("", (), ())


class _Row(NamedTuple):
    kind: Kind
    values: tuple[Any, ...]
    """In the order of the schema."""

    @property
    def size(self) -> int:
        """Bytes it takes in memory, about."""
        return 200 + sum(map(sys.getsizeof, self.values))


class _Object(NamedTuple):
    key: str
    data: bytes
    rows: int


class Journal:
    """Takes rows from the event loop; a thread of its own writes them. ``close`` aside, no method waits or raises.

    Rows are written ``rows`` at a time or every ``seconds``. While the store is away they are kept and tried again; of
    rows not yet made into objects, and of objects not yet written, the oldest are dropped beyond ``memory`` bytes each.
    """

    def __init__(
        self, store: Store, share: float = 0.0, rows: int = 5_000, seconds: float = 60.0, memory: int = 2**25
    ) -> None:
        """``share`` of the requests, between 0 and 1, has its predictions written."""
        self.dropped = 0
        """Rows that were lost."""
        self._store, self._share = store, share
        self._rows_at_once, self._seconds, self._memory = rows, seconds, memory
        self._told: OrderedDict[tuple[str, str], _Told] = OrderedDict()
        self._texts = 0
        self._changed = threading.Condition()
        self._rows: deque[_Row] = deque()
        self._bytes = 0
        self._closing = False
        # Only the thread touches these two.
        self._objects: deque[_Object] = deque()
        self._away = False
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def answered(
        self,
        request_id: str,
        model: str,
        version: str,
        texts: Sequence[str],
        labels: Sequence[str],
        scores: Sequence[float],
    ) -> None:
        """Remember what each text of a request was told, and note it if the request is among the share."""
        now, key = datetime.now(UTC), (model, request_id)
        with self._changed:
            self._texts += len(labels) - len(self._told.pop(key, _NOTHING).labels)
            self._told[key] = _Told(version, tuple(labels), tuple(scores))
            while len(self._told) > REMEMBERED_REQUESTS or self._texts > _REMEMBERED_TEXTS:
                self._texts -= len(self._told.popitem(last=False)[1].labels)
            if sampled(request_id, self._share, "predictions"):
                self._note(
                    _Row("predictions", (now, request_id, index, model, version, *told))
                    for index, told in enumerate(zip(texts, labels, scores, strict=True))
                )

    def feedback(self, request_id: str, index: int, model: str, label: str) -> None:
        """Note the right label of a text; it is dropped if no text can have that ``index``."""
        now = datetime.now(UTC)
        with self._changed:
            if index not in _INDEXES:
                self.dropped += 1
                return
            told = self._told.get((model, request_id), _NOTHING)
            known = index < len(told.labels)
            values = (told.version, told.labels[index], told.scores[index]) if known else (None, None, None)
            self._note([_Row("feedback", (now, request_id, index, model, label, *values))])

    def close(self, seconds: float = 10.0) -> None:
        """Write what is there, waiting so many seconds at most; to be called last."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        if self._thread.is_alive():
            log_event("feedback was not written in time", logging.ERROR, seconds=seconds)

    def _note(self, rows: Iterable[_Row]) -> None:
        for row in rows:
            self._rows.append(row)
            self._bytes += row.size
        while self._bytes > self._memory:
            self._bytes -= self._rows.popleft().size
            self.dropped += 1
        if self._due():
            self._changed.notify()

    def _due(self) -> bool:
        # Long texts do not wait until they are many.
        return self._closing or len(self._rows) >= self._rows_at_once or self._bytes >= self._memory // 4

    def _work(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                self._changed.wait_for(self._due, self._seconds)
                closing, rows = self._closing, self._rows
                self._rows, self._bytes = deque(), 0
            self._pack(rows)
            self._write()
        lost = sum(waiting.rows for waiting in self._objects)
        if lost:
            self._drop(lost)
            log_event("feedback is lost: the store stayed away until the end", logging.ERROR, rows=lost)

    def _pack(self, rows: Iterable[_Row]) -> None:
        """Rows to objects, one for each kind, model and day."""
        groups: defaultdict[str, list[_Row]] = defaultdict(list)
        for row in rows:
            time, _, _, model = row.values[: len(_WHICH)]
            groups[f"{row.kind}/{model}/{time.date().isoformat()}"].append(row)
        for prefix, group in groups.items():
            try:
                data = _parquet(SCHEMAS[group[0].kind], [row.values for row in group])
            except Exception as error:  # the thread must live on
                self._drop(len(group))
                log_event(
                    "feedback is lost: it cannot be stored", logging.ERROR, rows=len(group), reason=type(error).__name__
                )
            else:
                self._objects.append(_Object(f"{prefix}/{uuid.uuid4()}.parquet", data, len(group)))
        while sum(len(waiting.data) for waiting in self._objects) > self._memory:
            self._drop(self._objects.popleft().rows)

    def _write(self) -> None:
        """What waits, the oldest first, until the store refuses one.

        An object whose answer was lost is written again under the same key, so that no row is there twice.
        """
        while self._objects:
            try:
                self._store.put(self._objects[0].key, self._objects[0].data)
            except Exception as error:  # the thread must live on
                if not self._away:
                    log_event("the store is away: feedback is kept and tried again", logging.WARNING, reason=str(error))
                self._away = True
                return
            self._objects.popleft()
            if self._away:
                log_event("the store is back: feedback is written again", dropped=self.dropped)
            self._away = False

    def _drop(self, rows: int) -> None:
        with self._changed:
            self.dropped += rows


def read_journal(store: Store, kind: Kind, model: str, since: datetime | None = None) -> pa.Table:
    """Rows of ``SCHEMAS[kind]`` from ``since`` on, in order of time, request and index; none is an empty table.

    Raises:
        InputError: the store cannot be reached, or an object is not what a ``Journal`` writes; it is named.
    """
    schema, prefix = SCHEMAS[kind], f"{kind}/{model}/"
    first = since.astimezone(UTC) if since else datetime.min.replace(tzinfo=UTC)
    tables = [schema.empty_table()]
    for day in store.prefixes(prefix):
        if day >= first.date().isoformat():
            tables += [_table(store, item.key, schema) for item in store.objects(f"{prefix}{day}/")]
    table = pa.concat_tables(tables).filter(pc.field("time") >= pa.scalar(first, _TIME))
    return table.sort_by([(name, "ascending") for name in ("time", "request_id", "index")])


def _table(store: Store, key: str, schema: pa.Schema) -> pa.Table:
    stored = store.get(key)
    if stored is None:  # removed since it was listed
        return schema.empty_table()
    try:
        table = pq.read_table(io.BytesIO(stored.data))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{store.uri(key)} is not a readable Parquet file ({error}): remove it") from error
    if table.schema != schema:
        raise InputError(f"{store.uri(key)} has other columns than {', '.join(schema.names)}: remove it")
    return table


def _parquet(schema: pa.Schema, rows: Sequence[tuple[Any, ...]]) -> bytes:
    columns = zip(*rows, strict=True)
    arrays = [_array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), file, compression="zstd")
    return file.getvalue()


def _array(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
    values = list(values)
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        # Unpaired surrogates cannot be stored; the normaliser too makes U+FFFD of them.
        return pa.array([v and v.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for v in values], kind)
