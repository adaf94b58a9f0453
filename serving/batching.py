"""From requests to batches: one queue, and a thread for each core that drains it.

A thread takes what has waited longest and with it as many more texts for the same version as make a good batch: batches
grow with the load and nothing waits for company (continuous batching as in Clipper, Crankshaw et al. 2017, section 4.3,
without its delay). Where there is one batch and no other, all threads work on it together. A batch is of one version,
so a swap mixes none. A request is refused at the door when those before it would keep it waiting too long, by the time
that texts have lately taken; so what is accepted is answered in time.
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

_WEIGHT_OF_A_BATCH = 1_400
"""Characters, and what each text costs beside them, that make some 256 tokens."""
_BATCHES_OF_A_TURN = 8
"""That a thread takes at once, at most: sorted by length together, they are fuller and less padded."""
_WEIGHT_OF_A_TEXT = 16
"""What a text costs beside its characters, in characters: its special tokens and its share of the way."""
_CHARACTERS_OF_A_TOKEN = 8
_NICE = 10
"""How far a thread that predicts stands behind the event loop's."""
_MEMORY = 0.8
"""How much of the measured pace stays when a new measurement comes in."""


@dataclass(eq=False)
class Version:
    """A version of a model that is ready to answer."""

    model: str
    version: str
    loaded: LoadedBundle
    """Predicts on one thread."""
    together: LoadedBundle
    """Predicts on all of them."""
    pace: float = 0.0
    """Seconds of one thread for a unit of weight, as lately measured."""

    def __post_init__(self) -> None:
        self._longest = (self.loaded.bundle.max_tokens or sys.maxsize) * _CHARACTERS_OF_A_TOKEN

    def weight(self, text: str) -> int:
        """What a text costs, in characters; its end does not count where the model does not read it."""
        return _WEIGHT_OF_A_TEXT + min(len(text), self._longest)

    def measured(self, seconds: float, weight: int) -> None:
        """Take a turn of a thread into the pace."""
        pace = seconds / weight
        self.pace = _MEMORY * self.pace + (1 - _MEMORY) * pace if self.pace else pace


@dataclass(frozen=True)
class BatchPrediction:
    """What a version says of the texts of one request."""

    model: str
    version: str
    labels: list[str]
    """All of the model's, in the order of the probabilities."""
    chosen: list[int]
    """Of each text the number of the label answered, by the bundle's threshold where it has one."""
    probabilities: list[list[float]]
    """Of each text those of all labels."""
    truncated: list[bool]
    """Of each text whether its end was not read."""


@dataclass(eq=False)
class _Request:
    """Texts of one caller, and the answers to them so far; only the event loop's thread touches it."""

    version: Version
    future: "asyncio.Future[BatchPrediction]"
    answers: BatchPrediction
    missing: int

    def take(self, row: int, chosen: int, probabilities: list[float], truncated: bool) -> None:
        answers = self.answers
        answers.chosen[row], answers.probabilities[row], answers.truncated[row] = chosen, probabilities, truncated
        self.missing -= 1
        if not self.missing and not self.future.done():
            self.future.set_result(answers)


@dataclass(eq=False)
class _Piece:
    """Texts of a request that one thread answers in one turn."""

    request: _Request
    rows: list[int]
    texts: list[str]
    weight: int
    seconds: float
    """What it is expected to take."""
    arrived: float


@dataclass
class Batcher:
    """The queue and its threads; ``answer`` is called on the event loop it was made on."""

    threads: int
    longest_wait: float
    """Seconds a request may be expected to wait."""
    metrics: Metrics
    _queues: dict[Version, deque[_Piece]] = field(default_factory=dict)
    _seconds: float = 0.0
    _texts: int = 0
    _busy: int = 0
    """Threads that predict."""
    _closed: bool = False

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.metrics.queue_texts.set_function(lambda: self._texts)
        self.metrics.queue_seconds.set_function(lambda: self._seconds)
        self._changed = threading.Condition()
        self._workers = [
            threading.Thread(target=self._work, name=f"worker-{n}", daemon=True) for n in range(self.threads)
        ]
        for worker in self._workers:
            worker.start()

    async def answer(self, version: Version, texts: Sequence[str], deadline: float) -> BatchPrediction:
        """Answer ``texts`` within ``deadline`` seconds.

        Raises:
            RequestError: 429 when too much waits already, 504 when the deadline has passed.
        """
        self.admit(deadline)
        count, labels = len(texts), version.loaded.bundle.labels
        answers = BatchPrediction(version.model, version.version, labels, [0] * count, [[]] * count, [False] * count)
        future: asyncio.Future[BatchPrediction] = self._loop.create_future()
        request = _Request(version, future, answers, count)
        pieces = _pieces(request, texts)
        with self._changed:
            self._queues.setdefault(version, deque()).extend(pieces)
            self._count(pieces, 1)
            self._changed.notify(len(pieces))
        timer = self._loop.call_later(deadline, _give_up, future, deadline)
        try:
            return await future
        finally:
            timer.cancel()

    def admit(self, deadline: float = math.inf) -> None:
        """Let a request in that can be answered within ``deadline`` seconds.

        Raises:
            RequestError: 429, too much waits already.
        """
        wait = self._seconds / self.threads
        if wait > min(self.longest_wait, deadline):
            raise RequestError(
                429,
                f"too much is waiting: an answer would take {wait:.1f} s more than usual; "
                f"ask again in {math.ceil(wait)} s, or less at a time",
                retry_after=math.ceil(wait),
            )

    def close(self) -> None:
        """Answer what waits, then end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()

    def _count(self, pieces: Sequence[_Piece], sign: int) -> None:
        for piece in pieces:
            self._seconds = max(0.0, self._seconds + sign * piece.seconds)
            self._texts += sign * len(piece.texts)

    def _work(self) -> None:
        # What comes in is read, and refused if need be, however much there is to predict.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while True:
            taken, alone = self._take()
            if not taken:
                return
            # Whoever asked may have given up.
            pieces = [piece for piece in taken if not piece.request.future.done()]
            if pieces:
                self._run(pieces, alone)
            with self._changed:
                self._busy -= 1

    def _take(self) -> tuple[list[_Piece], bool]:
        """What to do next, all of one version, and whether it is all there is to do; nothing when the work is over."""
        with self._changed:
            while not self._queues:
                if self._closed:
                    return [], False
                self._changed.wait()
            version, queue = min(self._queues.items(), key=lambda item: item[1][0].arrived)
            # The threads share what waits, but no batch is torn up for it.
            share = sum(piece.weight for piece in queue) / self.threads
            turn = min(max(share, _WEIGHT_OF_A_BATCH), _BATCHES_OF_A_TURN * _WEIGHT_OF_A_BATCH)
            pieces, weight = [queue.popleft()], 0
            while queue and (weight := weight + pieces[-1].weight) + queue[0].weight <= turn:
                pieces.append(queue.popleft())
            if not queue:
                del self._queues[version]
            self._count(pieces, -1)
            self._busy += 1
            return pieces, not self._queues and self._busy == 1

    def _run(self, pieces: list[_Piece], alone: bool) -> None:
        version = pieces[0].request.version
        predictor = version.together if alone else version.loaded
        owners = [(piece.request, row) for piece in pieces for row in piece.rows]
        now = time.monotonic()
        waits = [now - piece.arrived for piece in pieces]
        started = time.perf_counter()
        classes = version.loaded.bundle.calibration.classes
        try:
            for part in predictor.predict_batches([text for piece in pieces for text in piece.texts]):
                found = [part.rows, classes(part.probabilities), part.probabilities, part.truncated]
                answers = list(zip(*(column.tolist() for column in found), strict=True))
                self._loop.call_soon_threadsafe(self._deliver, version, owners, answers, part, waits)
                waits = []
        except Exception as error:  # a thread must live on, whatever a model does
            log_event("a model failed", logging.ERROR, error, model=version.model, version=version.version)
            self._loop.call_soon_threadsafe(_fail, pieces)
        if predictor is version.loaded:
            version.measured(time.perf_counter() - started, sum(piece.weight for piece in pieces))

    def _deliver(
        self,
        version: Version,
        owners: list[tuple[_Request, int]],
        answers: list[tuple[int, int, list[float], bool]],
        part: PartialPrediction,
        waits: list[float],
    ) -> None:
        for row, chosen, probabilities, truncated in answers:
            request, its_row = owners[row]
            request.take(its_row, chosen, probabilities, truncated)
        # Whoever waits for these is answered first.
        self._loop.call_soon(self._meter, version, part, waits)

    def _meter(self, version: Version, part: PartialPrediction, waits: list[float]) -> None:
        metrics, names = self.metrics, (version.model, version.version)
        metrics.child(metrics.batch_texts, *names).observe(len(part.rows))
        metrics.child(metrics.texts, *names).inc(len(part.rows))
        metrics.child(metrics.tokens, *names).inc(part.tokens)
        metrics.child(metrics.truncated, *names).inc(int(part.truncated.sum()))
        waited = metrics.child(metrics.wait_seconds, *names)
        for wait in waits:
            waited.observe(wait)


def _pieces(request: _Request, texts: Sequence[str]) -> list[_Piece]:
    """The texts of a request, the shortest first, in turns of one thread."""
    now, version = time.monotonic(), request.version
    pieces: list[_Piece] = []
    weights = [version.weight(text) for text in texts]
    for row in sorted(range(len(texts)), key=weights.__getitem__):
        if not pieces or pieces[-1].weight + weights[row] > _WEIGHT_OF_A_BATCH:
            pieces.append(_Piece(request, [], [], 0, 0.0, now))
        piece = pieces[-1]
        piece.rows.append(row)
        piece.texts.append(texts[row])
        piece.weight += weights[row]
        piece.seconds += weights[row] * version.pace
    return pieces


def _give_up(future: "asyncio.Future[BatchPrediction]", deadline: float) -> None:
    if not future.done():
        future.set_exception(RequestError(504, f"no answer within the {deadline:g} s that a request may take"))


def _fail(pieces: list[_Piece]) -> None:
    for piece in pieces:
        if not piece.request.future.done():
            piece.request.future.set_exception(
                RequestError(500, "the model failed on these texts; the server's log says how")
            )
