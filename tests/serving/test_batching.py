"""Threads of a batch: all of them for a single request, one each for several requests."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from words import write_words

from textgate.components.contracts import ModelBundle
from textgate.components.inference import LoadedBundle, PartialPrediction
from textgate.serving.batching import Batcher
from textgate.serving.metrics import Metrics
from textgate.serving.served_model import ServedVersion

SECONDS = 30.0


class BlockedPredictor:
    """Predictor that blocks until it is released."""

    def __init__(self) -> None:
        self._calls, self.released = threading.Semaphore(0), threading.Event()

    async def wait_for_calls(self, times: int = 1) -> bool:
        """Wait until it is called ``times`` times; return False after a timeout."""
        return all([await asyncio.to_thread(self._calls.acquire, timeout=SECONDS) for _ in range(times)])

    def was_called(self) -> bool:
        return self._calls.acquire(blocking=False)

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        raise NotImplementedError

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        self._calls.release()
        assert self.released.wait(SECONDS)
        count = len(texts)
        yield PartialPrediction(np.arange(count), np.full((count, 2), 0.5), np.zeros(count, dtype=np.bool_), tokens=0)


@pytest.fixture
def single_thread() -> BlockedPredictor:
    """Predictor that uses one thread."""
    return BlockedPredictor()


@pytest.fixture
def all_threads() -> BlockedPredictor:
    """Predictor that uses all threads."""
    return BlockedPredictor()


@pytest.fixture
def version(single_thread: BlockedPredictor, all_threads: BlockedPredictor, tmp_path: Path) -> ServedVersion:
    bundle = ModelBundle.load(write_words(tmp_path / "words"))
    return ServedVersion("words", "1", LoadedBundle(bundle, single_thread), LoadedBundle(bundle, all_threads))


def test_a_single_request_gets_all_threads_until_another_arrives(
    single_thread: BlockedPredictor, all_threads: BlockedPredictor, version: ServedVersion
) -> None:
    async def send_requests() -> None:
        batcher = Batcher(2, SECONDS, Metrics())
        first = asyncio.create_task(batcher.predict(version, ["good"], SECONDS))
        assert await all_threads.wait_for_calls()
        second = asyncio.create_task(batcher.predict(version, ["bad"], SECONDS))
        assert await single_thread.wait_for_calls()
        for predictor in (single_thread, all_threads):
            predictor.released.set()
        await asyncio.gather(first, second)
        await asyncio.to_thread(batcher.close)

    asyncio.run(send_requests())
    assert not all_threads.was_called()


def test_many_texts_are_distributed_over_the_threads(
    single_thread: BlockedPredictor, all_threads: BlockedPredictor, version: ServedVersion
) -> None:
    async def send_requests() -> None:
        batcher = Batcher(2, SECONDS, Metrics())
        answer = asyncio.create_task(batcher.predict(version, ["good " * 250] * 8, SECONDS))
        assert await single_thread.wait_for_calls(times=2)
        assert not all_threads.was_called()
        for predictor in (single_thread, all_threads):
            predictor.released.set()
        await answer
        await asyncio.to_thread(batcher.close)

    asyncio.run(send_requests())


def test_the_processing_time_is_measured_on_single_threads_only(
    single_thread: BlockedPredictor, all_threads: BlockedPredictor, version: ServedVersion
) -> None:
    """With one worker every batch counts; a batch on all threads is not measured."""

    async def send_request(version: ServedVersion, threads: int) -> None:
        batcher = Batcher(threads, SECONDS, Metrics())
        await batcher.predict(version, ["good"], SECONDS)
        await asyncio.to_thread(batcher.close)

    for predictor in (single_thread, all_threads):
        predictor.released.set()
    asyncio.run(send_request(version, 2))
    assert version.seconds_per_cost == 0
    single = ServedVersion("words", "1", version.loaded, version.loaded)
    asyncio.run(send_request(single, 1))
    assert single.seconds_per_cost > 0
