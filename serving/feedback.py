"""Log of feedback and predictions in the store, for drift checks and retraining; ``storage.feedback_log`` reads it."""

import io
import logging
import sys
import threading
import uuid
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from textgate.components.storage import Store
from textgate.components.storage.feedback_log import KEY_FIELDS, SCHEMAS, Kind
from textgate.serving.log import log_event
from textgate.serving.sampling import is_sampled

REMEMBERED_REQUESTS = 10_000
_REMEMBERED_TEXTS = 500_000
MAX_INDEX = 2**31
"""Indexes of texts are smaller."""


class _Prediction(NamedTuple):
    """Version that answered a request, with the label and the score of each text."""

    version: str
    labels: tuple[str, ...]
    scores: tuple[float, ...]


_NO_PREDICTION = _Prediction("", (), ())


class _Row(NamedTuple):
    kind: Kind
    values: tuple[Any, ...]
    """Values in the order of the schema."""

    @property
    def size(self) -> int:
        """Approximate size in memory in bytes."""
        return 200 + sum(map(sys.getsizeof, self.values))


class _Object(NamedTuple):
    key: str
    data: bytes
    rows: int


class FeedbackLog:
    """Log of feedback and predictions, written to the store by a thread of its own.

    Except for ``close``, no method blocks or raises. Rows are written ``rows`` at a time or every ``seconds``. While
    the store does not answer, rows are kept and written later. The queue of rows and the queue of packed objects hold
    ``memory`` bytes each; beyond that the oldest are dropped.
    """

    def __init__(
        self, store: Store, share: float = 0.0, rows: int = 5_000, seconds: float = 60.0, memory: int = 2**25
    ) -> None:
        """Start the thread.

        Args:
            store: Store that the rows are written to.
            share: Share of the requests, 0 to 1, whose predictions are written.
            rows: Number of rows after which they are written.
            seconds: Seconds after which rows are written.
            memory: Most bytes of rows, and of objects, that are kept.
        """
        self.dropped = 0
        """Number of rows that were lost."""
        self._store, self._share = store, share
        self._rows_per_write, self._seconds, self._memory = rows, seconds, memory
        self._recent: OrderedDict[tuple[str, str], _Prediction] = OrderedDict()
        """Predictions by model and request id, the oldest first."""
        self._recent_texts = 0
        self._changed = threading.Condition()
        self._rows: deque[_Row] = deque()
        self._bytes = 0
        self._closing = False
        # Only the thread uses these two.
        self._objects: deque[_Object] = deque()
        self._store_is_away = False
        self._thread = threading.Thread(target=self._run, name="feedback-log", daemon=True)
        self._thread.start()

    def add_prediction(
        self,
        request_id: str,
        model: str,
        version: str,
        texts: Sequence[str],
        labels: Sequence[str],
        scores: Sequence[float],
    ) -> None:
        """Remember the predictions of a request for later feedback, and log them if the request is sampled."""
        now, key = datetime.now(UTC), (model, request_id)
        with self._changed:
            self._recent_texts += len(labels) - len(self._recent.pop(key, _NO_PREDICTION).labels)
            self._recent[key] = _Prediction(version, tuple(labels), tuple(scores))
            while len(self._recent) > REMEMBERED_REQUESTS or self._recent_texts > _REMEMBERED_TEXTS:
                self._recent_texts -= len(self._recent.popitem(last=False)[1].labels)
            if is_sampled(request_id, self._share, "predictions"):
                self._append(
                    _Row("predictions", (now, request_id, index, model, version, *values))
                    for index, values in enumerate(zip(texts, labels, scores, strict=True))
                )

    def text_count(self, request_id: str, model: str) -> int | None:
        """Return the number of texts of a request, or None if it is not among the last ones that were answered."""
        with self._changed:
            prediction = self._recent.get((model, request_id))
        return len(prediction.labels) if prediction else None

    def add_feedback(self, request_id: str, index: int, model: str, label: str) -> None:
        """Log the correct label of a text; it is dropped if ``index`` is out of range."""
        now = datetime.now(UTC)
        with self._changed:
            if not 0 <= index < MAX_INDEX:
                self.dropped += 1
                return
            prediction = self._recent.get((model, request_id), _NO_PREDICTION)
            known = index < len(prediction.labels)
            values = (
                (prediction.version, prediction.labels[index], prediction.scores[index])
                if known
                else (None, None, None)
            )
            self._append([_Row("feedback", (now, request_id, index, model, label, *values))])

    def close(self, seconds: float = 10.0) -> None:
        """Write the remaining rows, waiting at most ``seconds``, and stop the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        if self._thread.is_alive():
            log_event("feedback was not written in time", logging.ERROR, seconds=seconds)

    def _append(self, rows: Iterable[_Row]) -> None:
        for row in rows:
            self._rows.append(row)
            self._bytes += row.size
        while self._bytes > self._memory:
            self._bytes -= self._rows.popleft().size
            self.dropped += 1
        if self._is_due():
            self._changed.notify()

    def _is_due(self) -> bool:
        # A few long texts are written early.
        return self._closing or len(self._rows) >= self._rows_per_write or self._bytes >= self._memory // 4

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                self._changed.wait_for(self._is_due, self._seconds)
                closing, rows = self._closing, self._rows
                self._rows, self._bytes = deque(), 0
            self._pack(rows)
            self._write()
        lost = sum(item.rows for item in self._objects)
        if lost:
            self._drop(lost)
            log_event("feedback is lost: the store stayed away until the end", logging.ERROR, rows=lost)

    def _pack(self, rows: Iterable[_Row]) -> None:
        """Pack rows into objects, one for each kind, model and day."""
        groups: defaultdict[str, list[_Row]] = defaultdict(list)
        for row in rows:
            time, _, _, model = row.values[: len(KEY_FIELDS)]
            groups[f"{row.kind}/{model}/{time.date().isoformat()}"].append(row)
        for prefix, group in groups.items():
            try:
                data = _to_parquet(SCHEMAS[group[0].kind], [row.values for row in group])
            except Exception as error:  # the thread must live on
                self._drop(len(group))
                log_event(
                    "feedback is lost: it cannot be stored", logging.ERROR, rows=len(group), reason=type(error).__name__
                )
            else:
                self._objects.append(_Object(f"{prefix}/{uuid.uuid4()}.parquet", data, len(group)))
        while sum(len(item.data) for item in self._objects) > self._memory:
            self._drop(self._objects.popleft().rows)

    def _write(self) -> None:
        """Write the objects, the oldest first, until the store fails.

        An object whose response was lost is written again under the same key, so that no row is duplicated.
        """
        while self._objects:
            try:
                self._store.put(self._objects[0].key, self._objects[0].data)
            except Exception as error:  # the thread must live on
                if not self._store_is_away:
                    log_event("the store is away: feedback is kept and tried again", logging.WARNING, reason=str(error))
                self._store_is_away = True
                return
            self._objects.popleft()
            if self._store_is_away:
                log_event("the store is back: feedback is written again", dropped=self.dropped)
            self._store_is_away = False

    def _drop(self, rows: int) -> None:
        with self._changed:
            self.dropped += rows


def _to_parquet(schema: pa.Schema, rows: Sequence[tuple[Any, ...]]) -> bytes:
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
