"""Batching across requests: one queue, and one worker thread for each core.

A worker takes the chunk that has waited longest and adds chunks of the same version until the batch has a good size.
Batches therefore grow with the load, and no request waits for others to arrive: continuous batching as in Clipper
(Crankshaw et al. 2017, section 4.3), without its delay. If there is only one batch, all threads work on it together. A
batch belongs to one version, so a swap never mixes two. A request is rejected on arrival if the queue would delay it
for too long, as estimated from recent processing times, so that accepted requests are answered in time.
"""

import asyncio
import logging
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from textgate.components.inference import LoadedBundle, PartialPrediction
from textgate.serving.errors import RequestError
from textgate.serving.log import log_event
from textgate.serving.metrics import Metrics

_BATCH_COST = 1_400
"""Cost of a batch, in characters including the overhead of each text: about 256 tokens."""
_MAX_BATCHES_PER_TURN = 8
"""Most batches that a worker takes at once: sorted by length together, they are fuller and have less padding."""
_TEXT_OVERHEAD = 16
"""Cost of a text in addition to its characters, in characters: special tokens and handling."""
_CHARACTERS_PER_TOKEN = 8
_NICE = 10
"""Niceness of the worker threads relative to the event loop."""
_SMOOTHING = 0.8
"""Weight of the previous estimate in the moving average of the processing time."""


@dataclass(eq=False)
class ServedVersion:
    """Version of a model that is loaded and warmed up."""

    model: str
    version: str
    loaded: LoadedBundle
    """The bundle, predicting on one thread."""
    parallel: LoadedBundle
    """The bundle, predicting on all threads."""
    seconds_per_cost: float = 0.0
    """Moving average of one thread's processing time for a unit of cost."""

    def __post_init__(self) -> None:
        self._max_characters = (self.loaded.bundle.max_tokens or sys.maxsize) * _CHARACTERS_PER_TOKEN

    def cost(self, text: str) -> int:
        """Return the estimated cost of a text in characters, without what the model will truncate."""
        return _TEXT_OVERHEAD + min(len(text), self._max_characters)

    def record_timing(self, seconds: float, cost: int) -> None:
        """Update the moving average with the time that one thread took."""
        latest = seconds / cost
        previous = self.seconds_per_cost
        self.seconds_per_cost = _SMOOTHING * previous + (1 - _SMOOTHING) * latest if previous else latest


@dataclass(frozen=True)
class BatchPrediction:
    """Predictions of one version for the texts of one request."""

    model: str
    version: str
    labels: list[str]
    """All labels of the model, in the order of the probabilities."""
    label_indices: list[int]
    """Index of each text's predicted label; the bundle's decision threshold is applied if it has one."""
    probabilities: list[list[float]]
    """Probabilities of all labels for each text."""
    truncated: list[bool]
    """For each text, True if the model did not read its end."""


@dataclass(eq=False)
class _PendingRequest:
    """Texts of one request and their results so far; used on the event loop's thread only."""

    version: ServedVersion
    future: "asyncio.Future[BatchPrediction]"
    prediction: BatchPrediction
    remaining: int
    """Number of texts without a result."""

    def set_result(self, row: int, label_index: int, probabilities: list[float], truncated: bool) -> None:
        prediction = self.prediction
        prediction.label_indices[row], prediction.probabilities[row] = label_index, probabilities
        prediction.truncated[row] = truncated
        self.remaining -= 1
        if not self.remaining and not self.future.done():
            self.future.set_result(prediction)


@dataclass(eq=False)
class _Chunk:
    """Texts of one request that are processed in one turn of a worker."""

    request: _PendingRequest
    rows: list[int]
    texts: list[str]
    cost: int
    seconds: float
    """Estimated processing time."""
    arrived: float


@dataclass
class Batcher:
    """Queue and worker threads; ``predict`` must be called on the event loop on which the batcher was created."""

    threads: int
    max_wait_seconds: float
    """Longest time that a request may be expected to wait in the queue."""
    metrics: Metrics
    _queues: dict[ServedVersion, deque[_Chunk]] = field(default_factory=dict)
    _queued_seconds: float = 0.0
    _queued_texts: int = 0
    _busy_threads: int = 0
    _closed: bool = False

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.metrics.queue_texts.set_function(lambda: self._queued_texts)
        self.metrics.queue_seconds.set_function(lambda: self._queued_seconds)
        self._changed = threading.Condition()
        self._workers = [
            threading.Thread(target=self._run_worker, name=f"worker-{index}", daemon=True)
            for index in range(self.threads)
        ]
        for worker in self._workers:
            worker.start()

    async def predict(self, version: ServedVersion, texts: Sequence[str], deadline_seconds: float) -> BatchPrediction:
        """Classify ``texts`` within ``deadline_seconds``.

        Raises:
            RequestError: 429 if the queue is too long; 504 if the deadline has passed.
        """
        self.check_capacity(deadline_seconds)
        count, labels = len(texts), version.loaded.bundle.labels
        prediction = BatchPrediction(version.model, version.version, labels, [0] * count, [[]] * count, [False] * count)
        future: asyncio.Future[BatchPrediction] = self._loop.create_future()
        chunks = _split(_PendingRequest(version, future, prediction, count), texts)
        with self._changed:
            self._queues.setdefault(version, deque()).extend(chunks)
            self._update_backlog(chunks, 1)
            self._changed.notify(len(chunks))
        timer = self._loop.call_later(deadline_seconds, _time_out, future, deadline_seconds)
        try:
            return await future
        finally:
            timer.cancel()

    def check_capacity(self, deadline_seconds: float = math.inf) -> None:
        """Check that a request that arrives now can be answered within ``deadline_seconds``.

        Raises:
            RequestError: 429 if the queue is too long.
        """
        wait = self._queued_seconds / self.threads
        if wait > min(self.max_wait_seconds, deadline_seconds):
            raise RequestError(
                429,
                f"the server is overloaded: a response would take {wait:.1f} s longer than usual; "
                f"try again in {math.ceil(wait)} s, or send fewer texts",
                retry_after=math.ceil(wait),
            )

    def close(self) -> None:
        """Process the queue, then stop the worker threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()

    def _update_backlog(self, chunks: Sequence[_Chunk], sign: int) -> None:
        for chunk in chunks:
            self._queued_seconds = max(0.0, self._queued_seconds + sign * chunk.seconds)
            self._queued_texts += sign * len(chunk.texts)

    def _run_worker(self) -> None:
        # The event loop reads and rejects requests at normal priority, however much there is to predict.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while True:
            chunks, is_only_batch = self._next_batch()
            if not chunks:
                return
            # The client may have given up.
            chunks = [chunk for chunk in chunks if not chunk.request.future.done()]
            if chunks:
                self._predict_batch(chunks, is_only_batch)
            with self._changed:
                self._busy_threads -= 1

    def _next_batch(self) -> tuple[list[_Chunk], bool]:
        """Wait for the next batch.

        Returns:
            Chunks of one version, none if the batcher is closed and the queue is empty; and whether no other batch is
            queued or being processed.
        """
        with self._changed:
            while not self._queues:
                if self._closed:
                    return [], False
                self._changed.wait()
            version, queue = min(self._queues.items(), key=lambda item: item[1][0].arrived)
            # The threads share the queue evenly, but no batch is split for that.
            fair_cost = sum(chunk.cost for chunk in queue) / self.threads
            max_cost = min(max(fair_cost, _BATCH_COST), _MAX_BATCHES_PER_TURN * _BATCH_COST)
            chunks, cost = [queue.popleft()], 0
            while queue and (cost := cost + chunks[-1].cost) + queue[0].cost <= max_cost:
                chunks.append(queue.popleft())
            if not queue:
                del self._queues[version]
            self._update_backlog(chunks, -1)
            self._busy_threads += 1
            return chunks, not self._queues and self._busy_threads == 1

    def _predict_batch(self, chunks: list[_Chunk], is_only_batch: bool) -> None:
        version = chunks[0].request.version
        predictor = version.parallel if is_only_batch else version.loaded
        owners = [(chunk.request, row) for chunk in chunks for row in chunk.rows]
        now = time.monotonic()
        waits = [now - chunk.arrived for chunk in chunks]
        started = time.perf_counter()
        predict_classes = version.loaded.bundle.calibration.predict
        try:
            for part in predictor.predict_batches([text for chunk in chunks for text in chunk.texts]):
                columns = [part.rows, predict_classes(part.probabilities), part.probabilities, part.truncated]
                results = list(zip(*(column.tolist() for column in columns), strict=True))
                self._loop.call_soon_threadsafe(self._deliver, version, owners, results, part, waits)
                waits = []
        except Exception as error:  # a thread must live on, whatever a model does
            log_event("a model failed", logging.ERROR, error, model=version.model, version=version.version)
            self._loop.call_soon_threadsafe(_fail, chunks)
        if predictor is version.loaded:
            version.record_timing(time.perf_counter() - started, sum(chunk.cost for chunk in chunks))

    def _deliver(
        self,
        version: ServedVersion,
        owners: list[tuple[_PendingRequest, int]],
        results: list[tuple[int, int, list[float], bool]],
        part: PartialPrediction,
        waits: list[float],
    ) -> None:
        for index, label_index, probabilities, truncated in results:
            request, row = owners[index]
            request.set_result(row, label_index, probabilities, truncated)
        # The waiting clients come first.
        self._loop.call_soon(self._record_metrics, version, part, waits)

    def _record_metrics(self, version: ServedVersion, part: PartialPrediction, waits: list[float]) -> None:
        metrics, labels = self.metrics, (version.model, version.version)
        metrics.child(metrics.batch_texts, *labels).observe(len(part.rows))
        metrics.child(metrics.texts, *labels).inc(len(part.rows))
        metrics.child(metrics.tokens, *labels).inc(part.tokens)
        metrics.child(metrics.truncated, *labels).inc(int(part.truncated.sum()))
        wait_seconds = metrics.child(metrics.wait_seconds, *labels)
        for wait in waits:
            wait_seconds.observe(wait)


def _split(request: _PendingRequest, texts: Sequence[str]) -> list[_Chunk]:
    """Split the texts of a request into chunks of at most the cost of a batch, the shortest texts first."""
    now, version = time.monotonic(), request.version
    chunks: list[_Chunk] = []
    costs = [version.cost(text) for text in texts]
    for row in sorted(range(len(texts)), key=costs.__getitem__):
        if not chunks or chunks[-1].cost + costs[row] > _BATCH_COST:
            chunks.append(_Chunk(request, [], [], 0, 0.0, now))
        chunk = chunks[-1]
        chunk.rows.append(row)
        chunk.texts.append(texts[row])
        chunk.cost += costs[row]
        chunk.seconds += costs[row] * version.seconds_per_cost
    return chunks


def _time_out(future: "asyncio.Future[BatchPrediction]", seconds: float) -> None:
    if not future.done():
        future.set_exception(RequestError(504, f"no response within the limit of {seconds:g} s"))


def _fail(chunks: list[_Chunk]) -> None:
    for chunk in chunks:
        if not chunk.request.future.done():
            chunk.request.future.set_exception(
                RequestError(500, "the model failed on these texts; the server's log says how")
            )
