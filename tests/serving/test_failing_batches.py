"""What a batch does when the model fails: only the requests of guilty texts fail, and the workers live on."""

import asyncio
import math
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from words import write_words

from textgate.components.contracts import ModelBundle
from textgate.components.inference import LoadedBundle, PartialPrediction
from textgate.serving import batching
from textgate.serving.batch import BatchPrediction
from textgate.serving.batching import Batcher
from textgate.serving.errors import RequestError
from textgate.serving.metrics import Metrics
from textgate.serving.served_model import ServedVersion

SECONDS = 30.0


class Panic(BaseException):
    """Stands for PyO3's PanicException, which is no Exception either."""


@dataclass
class FailingPredictor:
    """Predictor that fails on texts with certain words; the score of any other text is 1 / its length."""

    texts_per_batch: int = 1_000
    predicted: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    called: threading.Event = field(default_factory=threading.Event)
    may_run: threading.Event = field(default_factory=threading.Event)
    on_batch: Callable[[], None] = lambda: None
    """Called in each batch."""

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        raise NotImplementedError

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        self.called.set()
        assert self.may_run.wait(SECONDS)
        self.runs += 1
        for start in range(0, len(texts), self.texts_per_batch):
            batch = texts[start : start + self.texts_per_batch]
            self.predicted.update(batch)
            if any("panic" in text for text in batch):
                raise Panic
            if any("exit" in text for text in batch):
                raise SystemExit
            scores = np.array([math.nan if "nan" in text else 1 / len(text) for text in batch])
            rows = np.arange(start, start + len(batch))
            self.on_batch()
            yield PartialPrediction(
                rows, np.stack([scores, 1 - scores], axis=1), np.zeros(len(batch), np.bool_), tokens=0
            )


@pytest.fixture
def predictor() -> FailingPredictor:
    return FailingPredictor()


@pytest.fixture
def version(predictor: FailingPredictor, tmp_path: Path) -> ServedVersion:
    loaded = LoadedBundle(ModelBundle.load(write_words(tmp_path / "words")), predictor)
    return ServedVersion("words", "1", loaded, loaded)


def run(test: Callable[[Batcher], Awaitable[None]], metrics: Metrics | None = None) -> None:
    """Run a test with a batcher of one worker."""

    async def run_test() -> None:
        batcher = Batcher(1, SECONDS, metrics or Metrics())
        await test(batcher)
        await asyncio.to_thread(batcher.close)

    asyncio.run(run_test())


async def predict_together(
    batcher: Batcher, version: ServedVersion, predictor: FailingPredictor, requests: Sequence[list[str]]
) -> list[BatchPrediction | BaseException]:
    """Send requests that all wait in the queue behind a first one."""
    first = asyncio.create_task(batcher.predict(version, ["first"], SECONDS))
    assert await asyncio.to_thread(predictor.called.wait, SECONDS)
    others = [asyncio.create_task(batcher.predict(version, request, SECONDS)) for request in requests]
    await asyncio.sleep(0)
    predictor.may_run.set()
    await first
    return await asyncio.gather(*others, return_exceptions=True)


def test_only_requests_with_a_guilty_text_fail(version: ServedVersion, predictor: FailingPredictor) -> None:
    requests = [[f"good {index} {row}" for row in range(index % 4 + 1)] for index in range(40)]
    requests[7].append("a text to panic at")
    requests[23] = ["panic"]

    async def test(batcher: Batcher) -> None:
        results = await predict_together(batcher, version, predictor, requests)
        for index, (request, result) in enumerate(zip(requests, results, strict=True)):
            if index in (7, 23):
                assert isinstance(result, RequestError)
                row = 4 if index == 7 else 0
                assert (result.status, result.message) == (
                    500,
                    f"the model failed on text {row}; the server's log says how",
                )
            else:
                assert isinstance(result, BatchPrediction)
                assert [row[0] for row in result.probabilities] == [1 / len(text) for text in request]

    metrics = Metrics()
    run(test, metrics)
    assert b'textgate_failed_texts_total{model="words",version="1"} 2.0' in metrics.page()
    assert b"textgate_worker_restarts_total 0.0" in metrics.page()


@pytest.mark.parametrize("guilty", [1, 8, 64])
def test_a_failing_batch_costs_a_bounded_factor(
    version: ServedVersion, predictor: FailingPredictor, guilty: int
) -> None:
    """At most log2(n) + 1 times the usual work, however many of its texts are guilty."""
    count = 64
    requests = [["panic" if index % (count // guilty) == 0 else f"good {index}"] for index in range(count)]

    async def test(batcher: Batcher) -> None:
        results = await predict_together(batcher, version, predictor, requests)
        assert sum(isinstance(result, RequestError) for result in results) == guilty

    run(test)
    assert predictor.predicted.total() - 1 <= count * (math.log2(count) + 1)
    assert predictor.runs - 1 <= 2 * count


def test_a_request_fails_at_its_first_guilty_text(version: ServedVersion, predictor: FailingPredictor) -> None:
    """Its other texts are dropped: a request with many guilty texts costs no more than one with a single one."""

    async def test(batcher: Batcher) -> None:
        (result,) = await predict_together(batcher, version, predictor, [[f"panic {row}" for row in range(64)]])
        assert isinstance(result, RequestError)

    run(test)
    assert predictor.runs - 1 <= math.log2(64) + 1


def test_results_before_a_failure_are_delivered_once(version: ServedVersion, predictor: FailingPredictor) -> None:
    predictor.texts_per_batch = 4
    requests = [[f"good {index}"] for index in range(12)]
    requests[9] = ["panic"]

    async def test(batcher: Batcher) -> None:
        results = await predict_together(batcher, version, predictor, requests)
        assert [index for index, result in enumerate(results) if isinstance(result, RequestError)] == [9]

    run(test)
    assert [predictor.predicted[text] for (text,) in requests[:8]] == [1] * 8


def test_a_probability_that_is_no_number_fails_its_request_only(
    version: ServedVersion, predictor: FailingPredictor
) -> None:
    async def test(batcher: Batcher) -> None:
        good, bad = await predict_together(batcher, version, predictor, [["good"], ["good", "nan"]])
        assert isinstance(good, BatchPrediction)
        assert isinstance(bad, RequestError)
        assert "text 1" in bad.message

    run(test)


def test_a_worker_that_dies_is_replaced_and_counted(version: ServedVersion, predictor: FailingPredictor) -> None:
    predictor.may_run.set()
    metrics = Metrics()

    async def test(batcher: Batcher) -> None:
        with pytest.raises(RequestError, match="the server failed on this request") as error:
            await batcher.predict(version, ["exit"], SECONDS)
        assert error.value.status == 500
        assert (await batcher.predict(version, ["good"], SECONDS)).probabilities == [[0.25, 0.75]]
        assert batcher.is_alive

    run(test, metrics)
    assert b"textgate_worker_restarts_total 1.0" in metrics.page()


def test_a_stuck_worker_is_not_alive_and_does_not_keep_the_batcher_from_closing(
    version: ServedVersion, predictor: FailingPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_STUCK_SECONDS", 0.0)

    async def test() -> None:
        batcher = Batcher(1, 0.0, Metrics())
        assert batcher.is_alive
        request = asyncio.create_task(batcher.predict(version, ["stuck"], SECONDS))
        while batcher.is_alive:
            await asyncio.sleep(0)
        batcher.close(seconds=0)
        predictor.may_run.set()
        await request

    asyncio.run(test())


def test_texts_of_a_client_that_left_are_dropped_within_a_batch(
    version: ServedVersion, predictor: FailingPredictor
) -> None:
    predictor.texts_per_batch = 1
    one_done, has_left = threading.Event(), threading.Event()

    def wait_until_it_left() -> None:
        one_done.set()
        assert has_left.wait(SECONDS)

    predictor.on_batch = wait_until_it_left
    predictor.may_run.set()

    async def test(batcher: Batcher) -> None:
        leaving = asyncio.create_task(batcher.predict(version, [f"text {row:02}" for row in range(20)], SECONDS))
        assert await asyncio.to_thread(one_done.wait, SECONDS)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        has_left.set()
        await batcher.predict(version, ["next"], SECONDS)

    run(test)
    assert predictor.predicted == Counter(["text 00", "next"])


def test_good_clients_get_answers_beside_clients_that_make_the_model_fail(
    version: ServedVersion, predictor: FailingPredictor
) -> None:
    predictor.may_run.set()
    answers: Counter[int] = Counter()

    async def test(batcher: Batcher) -> None:
        async def send_good(client: int) -> None:
            for number in range(100):
                text = f"good {client} {number}"
                prediction = await batcher.predict(version, [text] * 3, SECONDS)
                assert [row[0] for row in prediction.probabilities] == [1 / len(text)] * 3
                answers[200] += 1

        async def send_bad() -> None:
            while True:
                try:
                    await batcher.predict(version, ["panic", "nan", "good"], SECONDS)
                except RequestError as error:
                    answers[error.status] += 1

        bad = [asyncio.create_task(send_bad()) for _ in range(2)]
        await asyncio.gather(*(send_good(client) for client in range(4)))
        for task in bad:
            task.cancel()

    run(test)
    assert answers[200] == 400
    assert answers.keys() == {200, 500}


def test_a_text_costs_its_bytes_up_to_what_the_model_reads(
    version: ServedVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    overhead = version.cost("")
    assert version.cost("a" * 1_000) == overhead + 1_000
    assert version.cost("\u6620" * 1_000) == overhead + 3_000
    assert version.cost("\U0001f600" * 1_000) == overhead + 4_000
    assert version.cost("\ud800") == overhead + 3
    monkeypatch.setattr(version, "_max_bytes", 2_048)
    assert version.cost("\u6620" * 1_000) == overhead + 2_048
    # What is truncated is tokenized, up to the characters that are read of any text.
    monkeypatch.setattr(version, "_max_characters", 16_384)
    assert version.cost("a" * 10_000) == overhead + 2_048 + (10_000 - 2_048) // 8
    assert version.cost("a" * 100_000) == overhead + 2_048 + (16_384 - 2_048) // 8


def test_one_odd_measurement_does_not_spoil_the_estimate(version: ServedVersion) -> None:
    version.record_timing(1.0, 1_000)
    version.record_timing(1_000.0, 1_000)
    assert version.seconds_per_cost == pytest.approx(0.0016)
    for _ in range(60):
        version.record_timing(0.002, 1_000)
    assert version.seconds_per_cost == pytest.approx(2e-6, rel=0.3)


def test_a_failing_batch_is_not_measured(version: ServedVersion, predictor: FailingPredictor) -> None:
    async def test(batcher: Batcher) -> None:
        await predict_together(batcher, version, predictor, [["good"], ["panic"]])

    run(test)
    # The first request is measured, the batch with the failure is not.
    assert version.timings == 1


def test_a_request_far_beyond_its_deadline_is_rejected_at_once(
    version: ServedVersion, predictor: FailingPredictor
) -> None:
    predictor.may_run.set()

    async def test(batcher: Batcher) -> None:
        texts = ["a" * 984] * 100
        version.record_timing(100.0, 100_000)
        # One measurement is not trusted yet.
        await batcher.predict(version, texts, 6.0)
        version.seconds_per_cost, version.timings = 0.001, 10
        await batcher.predict(version, texts[:20], 6.0)
        version.seconds_per_cost = 0.001
        with pytest.raises(RequestError, match="would take about 100 s, far more than the limit of 6 s") as error:
            await batcher.predict(version, texts, 6.0)
        assert error.value.status == 422

    run(test)
