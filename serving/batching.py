"""Batching across requests: one queue, and one worker thread for each core.

A worker takes the chunk that has waited longest and adds chunks of the same version until the batch has a good size.
Batches therefore grow with the load, and no request waits for others to arrive: continuous batching as in Clipper
(Crankshaw et al. 2017, section 4.3), without its delay. If there is only one batch, all threads work on it together. A
batch belongs to one version, so a swap never mixes two. A request is rejected on arrival if the queue would delay it
for too long, as estimated from recent processing times, so that accepted requests are answered in time.

If a model fails on a batch, the batch is bisected (group testing, Dorfman 1943) until each text that it fails on is
alone. Only the requests of those texts fail, each at its first such text, after which its other texts are dropped. A
batch of n texts costs at most log2(n) + 1 times as much as usual, and n is bounded by the cost of a worker's turn: a
client whose texts make the model fail slows others by a bounded factor.
"""

import asyncio
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from textgate.components.inference import LoadedBundle, PartialPrediction
from textgate.serving.batch import BATCH_COST, BatchPrediction, Chunk, PendingRequest, Text, split
from textgate.serving.errors import RequestError
from textgate.serving.log import log_event
from textgate.serving.metrics import Metrics
from textgate.serving.served_model import ServedVersion

_MAX_BATCHES_PER_TURN = 8
"""Most batches that a worker takes at once: sorted by length together, they are fuller and have less padding."""
_NICE = 10
"""Niceness of the worker threads relative to the event loop."""
_TRUSTED_TIMINGS = 5
"""Number of measurements after which a request is rejected because of its own estimated time."""
_HOPELESS = 4.0
"""A request is rejected if its own texts need so many times its deadline."""
_STUCK_SECONDS = 60.0
"""A worker that needs longer for one batch does not count as alive."""
_CLOSE_SECONDS = 10.0
_RESTART_SECONDS = 0.05
_LOG_SECONDS = 1.0
"""Least time between two log lines about failures of one version."""


_Result = tuple[Text, int, list[float], bool]
"""Text, and its index of a label, probabilities, and truncation."""


@dataclass
class Batcher:
    """Queue and worker threads; ``predict`` must be called on the event loop on which the batcher was created."""

    threads: int
    max_wait_seconds: float
    """Longest time that a request may be expected to wait in the queue."""
    metrics: Metrics
    _queues: dict[ServedVersion, deque[Chunk]] = field(default_factory=dict)
    _queued_seconds: float = 0.0
    _queued_texts: int = 0
    _busy_threads: int = 0
    _closed: bool = False

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.metrics.queue_texts.set_function(lambda: self._queued_texts)
        self.metrics.queue_seconds.set_function(lambda: self._queued_seconds)
        self._changed = threading.Condition()
        self._busy_since: dict[threading.Thread, float] = {}
        self._workers: set[threading.Thread] = set()
        for _ in range(self.threads):
            self._start_worker()

    @property
    def is_alive(self) -> bool:
        """True if a worker thread lives and is not stuck in a batch."""
        latest = time.monotonic() - max(_STUCK_SECONDS, 10 * self.max_wait_seconds)
        return any(
            worker.is_alive() and self._busy_since.get(worker, math.inf) > latest for worker in self._workers.copy()
        )

    async def predict(self, version: ServedVersion, texts: Sequence[str], deadline_seconds: float) -> BatchPrediction:
        """Classify ``texts`` within ``deadline_seconds``.

        Raises:
            RequestError: 422 if these texts alone need far longer than the deadline; 429 if the queue is too long; 500
                if the model fails on a text; 504 if the deadline has passed.
        """
        self.check_capacity(deadline_seconds)
        count, labels = len(texts), version.loaded.bundle.labels
        prediction = BatchPrediction(version.model, version.version, labels, [0] * count, [[]] * count, [False] * count)
        future: asyncio.Future[BatchPrediction] = self._loop.create_future()
        chunks = split(PendingRequest(version, future, prediction, count), texts)
        seconds = sum(chunk.seconds for chunk in chunks) / self.threads
        if version.timings >= _TRUSTED_TIMINGS and seconds > _HOPELESS * deadline_seconds:
            raise RequestError(
                422,
                f"these texts would take about {seconds:.0f} s, far more than the limit of {deadline_seconds:g} s: "
                "send fewer or shorter texts",
            )
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

    def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Process the queue, then stop the worker threads, waiting at most ``seconds``."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        end = time.monotonic() + seconds
        for worker in self._workers.copy():
            worker.join(max(0.0, end - time.monotonic()))
        stuck = sum(worker.is_alive() for worker in self._workers.copy())
        if stuck:
            log_event("workers did not stop in time", logging.ERROR, workers=stuck, seconds=seconds)

    def _update_backlog(self, chunks: Sequence[Chunk], sign: int) -> None:
        for chunk in chunks:
            self._queued_seconds = max(0.0, self._queued_seconds + sign * chunk.seconds)
            self._queued_texts += sign * len(chunk.texts)

    def _start_worker(self) -> None:
        worker = threading.Thread(target=self._run_worker, name="worker", daemon=True)
        worker.start()
        self._workers.add(worker)

    def _run_worker(self) -> None:
        """Process batches until the batcher is closed; if something unforeseen ends the thread, start another."""
        try:
            # The event loop reads and rejects requests at normal priority, however much there is to predict.
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
            while self._process_batch():
                pass
        except BaseException as error:
            if not self._closed:
                log_event("a worker died and is replaced", logging.ERROR, error)
                self.metrics.worker_restarts.inc()
                # If every batch ended a worker, restarts without a pause would take a core.
                time.sleep(_RESTART_SECONDS)
                self._start_worker()
        finally:
            self._workers.discard(threading.current_thread())

    def _process_batch(self) -> bool:
        """Wait for a batch and process it; return False if the batcher is closed and the queue is empty."""
        chunks, is_only_batch = self._next_batch()
        if not chunks:
            return False
        worker = threading.current_thread()
        self._busy_since[worker] = time.monotonic()
        try:
            self._predict_batch(chunks, is_only_batch)
        except BaseException:
            for chunk in chunks:
                self._fail(chunk.request, "the server failed on this request; its log says how")
            raise
        finally:
            del self._busy_since[worker]
            with self._changed:
                self._busy_threads -= 1
        return True

    def _next_batch(self) -> tuple[list[Chunk], bool]:
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
            max_cost = min(max(fair_cost, BATCH_COST), _MAX_BATCHES_PER_TURN * BATCH_COST)
            chunks, cost = [queue.popleft()], 0
            while queue and (cost := cost + chunks[-1].cost) + queue[0].cost <= max_cost:
                chunks.append(queue.popleft())
            if not queue:
                del self._queues[version]
            self._update_backlog(chunks, -1)
            self._busy_threads += 1
            return chunks, not self._queues and self._busy_threads == 1

    def _predict_batch(self, chunks: list[Chunk], is_only_batch: bool) -> None:
        """Predict the texts of a batch; where the model fails, bisect to find the texts that it fails on."""
        version = chunks[0].request.version
        predictor = version.parallel if is_only_batch else version.loaded
        now = time.monotonic()
        chunks = [chunk for chunk in chunks if not chunk.request.is_over]
        waits = [now - chunk.arrived for chunk in chunks]
        texts = [Text(chunk.request, *text) for chunk in chunks for text in zip(chunk.rows, chunk.texts, strict=True)]
        groups, is_clean = [texts], True
        started = time.perf_counter()
        while groups:
            group = [text for text in groups.pop() if not text.request.is_over]
            if not group:
                continue
            rest, error = self._predict_texts(version, predictor, group, waits)
            waits, is_clean = [], is_clean and not rest
            if error is not None and len(rest) == 1:
                self._fail_text(rest[0], error)
            elif error is not None:
                groups += [rest[len(rest) // 2 :], rest[: len(rest) // 2]]
            else:
                groups.append(rest)
        if chunks and is_clean and predictor is version.loaded:
            version.record_timing(time.perf_counter() - started, sum(chunk.cost for chunk in chunks))

    def _predict_texts(
        self, version: ServedVersion, predictor: LoadedBundle, texts: list[Text], waits: list[float]
    ) -> tuple[list[Text], BaseException | None]:
        """Predict texts and deliver their results as they come.

        Returns:
            The texts without a result, and the error if the model failed on them. Without an error, there are such
            texts if most of them are not needed any more.
        """
        rest = dict(enumerate(texts))
        predict_classes = version.loaded.bundle.calibration.predict
        try:
            for part in predictor.predict_batches([text.text for text in texts]):
                if not np.isfinite(part.probabilities).all():
                    raise ValueError("the model returned a probability that is no finite number")
                columns = (part.rows, predict_classes(part.probabilities), part.probabilities, part.truncated)
                values = list(zip(*(column.tolist() for column in columns), strict=True))
                results = [(rest.pop(index), *result) for index, *result in values]
                self._loop.call_soon_threadsafe(self._deliver, version, results, part, waits)
                waits = []
                needed = sum(not text.request.is_over for text in rest.values())
                if needed < len(rest) / 2:
                    return list(rest.values()), None
            if rest:
                return list(rest.values()), ValueError("the model returned no probabilities")
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of a tokenizer is no Exception, and the thread must live on
            return list(rest.values()), error
        return [], None

    def _fail_text(self, text: Text, error: BaseException) -> None:
        """Fail the request of a text on which the model fails alone."""
        version = text.request.version
        text.request.has_failed = True
        now = time.monotonic()
        if now >= version.last_failure_log + _LOG_SECONDS:
            version.last_failure_log = now
            log_event("a model failed", logging.ERROR, error, model=version.model, version=version.version)
        self._fail(text.request, f"the model failed on text {text.row}; the server's log says how")
        self.metrics.failed_texts.labels(version.model, version.version).inc()

    def _fail(self, request: PendingRequest, message: str) -> None:
        request.has_failed = True
        with suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(_set_exception, request.future, RequestError(500, message))

    def _deliver(
        self, version: ServedVersion, results: list[_Result], part: PartialPrediction, waits: list[float]
    ) -> None:
        for text, label_index, probabilities, truncated in results:
            text.request.set_result(text.row, label_index, probabilities, truncated)
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


def _time_out(future: "asyncio.Future[BatchPrediction]", seconds: float) -> None:
    _set_exception(future, RequestError(504, f"no response within the limit of {seconds:g} s"))


def _set_exception(future: "asyncio.Future[BatchPrediction]", error: RequestError) -> None:
    if not future.done():
        future.set_exception(error)
