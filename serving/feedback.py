"""Log of feedback and predictions in the store, for drift checks and retraining; ``storage.feedback_log`` reads it."""

import logging
import sys
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from textgate.components.storage import Store
from textgate.serving.log import log_event
from textgate.serving.log_objects import LogObject, Row, pack
from textgate.serving.sampling import is_sampled
from textgate.serving.spool import RecordError, Spool

REMEMBERED_REQUESTS = 10_000
_REMEMBERED_TEXTS = 500_000
MAX_INDEX = 2**31
"""Indexes of texts are smaller."""
MAX_SPOOL_BYTES = 2**28


class _Prediction(NamedTuple):
    """Version that answered a request, with the label and the score of each text."""

    version: str
    labels: tuple[str, ...]
    scores: tuple[float, ...]


_NO_PREDICTION = _Prediction("", (), ())


class _Feedback(NamedTuple):
    record: Row
    """Row of the log, its time in ISO 8601."""
    written: "Future[None]"


class FeedbackLog:
    """Log of feedback and predictions, uploaded to the store by a thread of its own.

    Feedback is on the disk before it is acknowledged, and stays there until the store has it (see ``Spool``). Each row
    is in the store once: the keys of the objects come from the name of the file on disk, so an upload that is repeated
    after a kill or a lost response replaces itself. Predictions are best effort: they are kept in memory, where the
    queue of rows and the queue of packed objects hold ``memory`` bytes each; the oldest are dropped beyond that, and
    all are lost when the process is killed.

    Rows are uploaded ``rows`` at a time or every ``seconds``. While the store does not answer, they wait. Except for
    ``close``, no method blocks.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        share: float = 0.0,
        rows: int = 5_000,
        seconds: float = 60.0,
        memory: int = 2**25,
        disk: int = MAX_SPOOL_BYTES,
    ) -> None:
        """Start the threads; feedback that earlier servers have left in the folder is uploaded first.

        Args:
            store: Store that the rows are written to.
            folder: Folder for feedback that the store does not have yet; servers of the same bucket may share it.
            share: Share of the requests, 0 to 1, whose predictions are written.
            rows: Number of rows after which they are uploaded.
            seconds: Seconds after which rows are uploaded.
            memory: Most bytes of predictions, and of objects of them, that are kept.
            disk: Most bytes of feedback on the disk.
        """
        self.dropped = 0
        """Number of predictions that were lost."""
        self._store, self._share = store, share
        self._rows_per_upload, self._seconds, self._memory = rows, seconds, memory
        self._spool = Spool(folder, rows, disk)
        self._recent: OrderedDict[tuple[str, str], _Prediction] = OrderedDict()
        """Predictions by model and request id, the oldest first."""
        self._recent_texts = 0
        self._lock = threading.Lock()
        self._arrived, self._due = threading.Condition(self._lock), threading.Condition(self._lock)
        self._feedback: list[_Feedback] = []
        """Feedback to write to the disk."""
        self._spooled = 0
        """Number of rows of feedback written to the disk since the last upload began."""
        self._predictions: deque[Row] = deque()
        self._bytes = 0
        """Approximate size of the predictions."""
        self._closing = self._spool_is_closed = False
        # Only the uploading thread uses these two.
        self._objects: deque[LogObject] = deque()
        self._store_is_away = False
        self._spooling = threading.Thread(target=self._spool_feedback, name="feedback-spool", daemon=True)
        self._uploading = threading.Thread(target=self._upload_rows, name="feedback-log", daemon=True)
        self._spooling.start()
        self._uploading.start()

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
        with self._lock:
            self._recent_texts += len(labels) - len(self._recent.pop(key, _NO_PREDICTION).labels)
            self._recent[key] = _Prediction(version, tuple(labels), tuple(scores))
            while len(self._recent) > REMEMBERED_REQUESTS or self._recent_texts > _REMEMBERED_TEXTS:
                self._recent_texts -= len(self._recent.popitem(last=False)[1].labels)
            if is_sampled(request_id, self._share, "predictions"):
                self._append_predictions(
                    (now, request_id, index, model, version, *values)
                    for index, values in enumerate(zip(texts, labels, scores, strict=True))
                )

    def text_count(self, request_id: str, model: str) -> int | None:
        """Return the number of texts of a request, or None if it is not among the last ones that were answered."""
        with self._lock:
            prediction = self._recent.get((model, request_id))
        return len(prediction.labels) if prediction else None

    def add_feedback(self, request_id: str, index: int, model: str, label: str) -> "Future[None]":
        """Log the correct label of a text.

        Returns:
            A future that is done when the row is on the disk. Its error is a SpoolError if the row cannot be written.
            A row whose future is cancelled earlier may be left out.

        Raises:
            ValueError: ``index`` is out of range.
        """
        if not 0 <= index < MAX_INDEX:
            raise ValueError(f"no text has the index {index}")
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        written: Future[None] = Future()
        with self._lock:
            prediction = self._recent.get((model, request_id), _NO_PREDICTION)
            known = index < len(prediction.labels)
            values = (
                (prediction.version, prediction.labels[index], prediction.scores[index])
                if known
                else (None, None, None)
            )
            self._feedback.append(_Feedback((now, request_id, index, model, label, *values), written))
            self._arrived.notify()
        return written

    def close(self, seconds: float = 10.0) -> None:
        """Upload the remaining rows, waiting at most ``seconds``, and stop the threads.

        Feedback that is not in the store by then stays on the disk, where the next server of the folder finds it.
        """
        deadline = time.monotonic() + seconds
        with self._lock:
            self._closing = True
            self._arrived.notify()
        for thread in (self._spooling, self._uploading):
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._uploading.is_alive():
            log_event("the log was not uploaded in time", logging.ERROR, seconds=seconds)
        if rows := self._spool.waiting():
            folder = self._spool.folder
            log_event("feedback waits on the disk for the next server", logging.WARNING, rows=rows, folder=str(folder))

    def _append_predictions(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._predictions.append(row)
            self._bytes += _size(row)
        while self._bytes > self._memory:
            self._bytes -= _size(self._predictions.popleft())
            self.dropped += 1
        if self._is_due():
            self._due.notify()

    def _is_due(self) -> bool:
        # A few long texts are uploaded early.
        rows = max(self._spooled, len(self._predictions))
        return self._spool_is_closed or rows >= self._rows_per_upload or self._bytes >= self._memory // 4

    def _spool_feedback(self) -> None:
        """Write feedback to the disk; rows that arrive during an fsync share the next one."""
        while not self._spool_is_closed:
            with self._lock:
                self._arrived.wait_for(lambda: self._feedback or self._closing)
                feedback, self._feedback = self._feedback, []
                closing = self._closing
            feedback = [item for item in feedback if item.written.set_running_or_notify_cancel()]
            try:
                self._spool.append([item.record for item in feedback])
            except Exception as error:  # the thread must live on
                for item in feedback:
                    item.written.set_exception(error)
            else:
                for item in feedback:
                    item.written.set_result(None)
            with self._lock:
                self._spooled += len(feedback)
                self._spool_is_closed = closing
                if self._is_due():
                    self._due.notify()

    def _upload_rows(self) -> None:
        """Upload rows: first what earlier servers left, then whatever is due."""
        closing = False
        while not closing:
            with self._lock:
                closing, predictions = self._spool_is_closed, self._predictions
                self._predictions, self._bytes, self._spooled = deque(), 0, 0
            self._pack_predictions(predictions)
            self._upload()
            with self._lock:
                closing or self._due.wait_for(self._is_due, self._seconds)
        lost = sum(item.rows for item in self._objects)
        if lost:
            self._drop(lost)
            log_event("predictions are lost: the store stayed away until the end", logging.ERROR, rows=lost)

    def _pack_predictions(self, rows: Sequence[Row]) -> None:
        try:
            self._objects.extend(pack("predictions", rows, str(uuid.uuid4())))
        except Exception as error:  # the thread must live on
            self._drop(len(rows))
            reason = type(error).__name__
            log_event("predictions are lost: they cannot be stored", logging.ERROR, rows=len(rows), reason=reason)
        while sum(len(item.data) for item in self._objects) > self._memory:
            self._drop(self._objects.popleft().rows)

    def _upload(self) -> None:
        """Upload feedback, then predictions, until the store fails."""
        try:
            self._spool.drain(self._upload_feedback)
            # Not before the store has answered, so that an outage does not leave a file for each round.
            self._spool.seal()
            self._spool.drain(self._upload_feedback)
            while self._objects:
                self._store.put(self._objects[0].key, self._objects[0].data)
                self._objects.popleft()
        except Exception as error:  # the thread must live on
            if not self._store_is_away:
                log_event("the store is away: feedback is kept and tried again", logging.WARNING, reason=str(error))
            self._store_is_away = True
        else:
            if self._store_is_away:
                log_event("the store is back: feedback is written again", dropped=self.dropped)
            self._store_is_away = False

    def _upload_feedback(self, name: str, records: Sequence[Row]) -> None:
        try:
            objects = pack("feedback", [(datetime.fromisoformat(row[0]), *row[1:]) for row in records], name)
        except Exception as error:
            raise RecordError(f"{type(error).__name__}: {error}") from error
        for item in objects:
            self._store.put(item.key, item.data)

    def _drop(self, rows: int) -> None:
        with self._lock:
            self.dropped += rows


def _size(row: Row) -> int:
    """Return the approximate size in memory in bytes."""
    return 200 + sum(map(sys.getsizeof, row))
