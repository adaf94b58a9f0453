"""Who answers: all threads together when there is one request, each for itself when there are more."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from words import write_words

from textgate.components.contracts import ModelBundle
from textgate.components.inference import LoadedBundle, PartialPrediction
from textgate.serving.batching import Batcher, ServedVersion
from textgate.serving.metrics import Metrics

SECONDS = 30.0


class Waiting:
    """A predictor that answers when it is let."""

    def __init__(self) -> None:
        self._asked, self.let = threading.Semaphore(0), threading.Event()

    async def asked(self, times: int = 1) -> bool:
        """Whether it is asked so often, in good time."""
        return all([await asyncio.to_thread(self._asked.acquire, timeout=SECONDS) for _ in range(times)])

    def asked_by_now(self) -> bool:
        return self._asked.acquire(blocking=False)

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        raise NotImplementedError

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        self._asked.release()
        assert self.let.wait(SECONDS)
        count = len(texts)
        yield PartialPrediction(np.arange(count), np.full((count, 2), 0.5), np.zeros(count, dtype=np.bool_), tokens=0)


@pytest.fixture
def each() -> Waiting:
    """Answers on one thread."""
    return Waiting()


@pytest.fixture
def together() -> Waiting:
    """Answers on all."""
    return Waiting()


@pytest.fixture
def version(each: Waiting, together: Waiting, tmp_path: Path) -> ServedVersion:
    bundle = ModelBundle.load(write_words(tmp_path / "words"))
    return ServedVersion("words", "1", LoadedBundle(bundle, each), LoadedBundle(bundle, together))


def test_a_request_has_all_threads_until_another_comes(
    each: Waiting, together: Waiting, version: ServedVersion
) -> None:
    async def ask() -> None:
        batcher = Batcher(2, SECONDS, Metrics())
        first = asyncio.create_task(batcher.predict(version, ["good"], SECONDS))
        assert await together.asked()
        second = asyncio.create_task(batcher.predict(version, ["bad"], SECONDS))
        assert await each.asked()
        for predictor in (each, together):
            predictor.let.set()
        await asyncio.gather(first, second)
        await asyncio.to_thread(batcher.close)

    asyncio.run(ask())
    assert not together.asked_by_now()


def test_many_texts_are_shared_out(each: Waiting, together: Waiting, version: ServedVersion) -> None:
    async def ask() -> None:
        batcher = Batcher(2, SECONDS, Metrics())
        answer = asyncio.create_task(batcher.predict(version, ["good " * 250] * 8, SECONDS))
        assert await each.asked(times=2)
        assert not together.asked_by_now()
        for predictor in (each, together):
            predictor.let.set()
        await answer
        await asyncio.to_thread(batcher.close)

    asyncio.run(ask())


def test_a_pace_is_learnt_from_one_thread_alone(each: Waiting, together: Waiting, version: ServedVersion) -> None:
    """A single worker, which has no other to work with, learns from every batch; the work of several tells nothing."""

    async def ask(asked: ServedVersion, threads: int) -> None:
        batcher = Batcher(threads, SECONDS, Metrics())
        await batcher.predict(asked, ["good"], SECONDS)
        await asyncio.to_thread(batcher.close)

    for predictor in (each, together):
        predictor.let.set()
    asyncio.run(ask(version, 2))
    assert version.seconds_per_cost == 0
    single = ServedVersion("words", "1", version.loaded, version.loaded)
    asyncio.run(ask(single, 1))
    assert single.seconds_per_cost > 0
