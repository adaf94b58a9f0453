"""Operations of the endpoint in process: feedback, readiness, and bounded error messages."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from serving.server_process import promote
from words import write_words

from textgate.components.contracts import ModelBundle
from textgate.components.storage import Registry, Store
from textgate.components.storage.feedback_log import read_feedback_log
from textgate.serving.batching import Batcher
from textgate.serving.endpoint import Endpoint, RequestLimits
from textgate.serving.errors import RequestError
from textgate.serving.feedback import FeedbackLog
from textgate.serving.metrics import Metrics
from textgate.serving.repository import Repository
from textgate.serving.routing import Request


def run(store: Store, workspace: Path, test: Callable[[Endpoint], Awaitable[None]]) -> None:
    """Run a test with an endpoint of one worker over the champions of a store."""

    async def run_test() -> None:
        metrics, log = Metrics(), FeedbackLog(store, workspace / "spool")
        repository = Repository(Registry(store), workspace, metrics, threads=1)
        repository.start([])
        batcher = Batcher(1, 5.0, metrics)
        await test(Endpoint(repository, batcher, RequestLimits(), metrics, log))
        await asyncio.to_thread(batcher.close)
        log.close()

    asyncio.run(run_test())


def test_feedback_for_a_text_that_does_not_exist_is_an_error(store: Store, tmp_path: Path) -> None:
    promote(Registry(store), write_words(tmp_path / "words"))

    async def give_feedback(endpoint: Endpoint) -> None:
        await endpoint.classify(Request("POST", "/", {}, id="known"), "small", ["good", "bad"])
        await asyncio.sleep(0)
        for request, index, message in (
            ("known", 2, "index: the request had no text with this index: it had 2"),
            ("unknown", 2**31, "index: the request had no text with this index"),
            ("unknown", 10**5000, "index: the request had no text with this index"),
        ):
            with pytest.raises(RequestError, match=message) as error:
                await endpoint.feedback("small", request, index, "good")
            assert error.value.status == 422
            assert len(error.value.message) < 200
        await endpoint.feedback("small", "known", 1, "good")
        await endpoint.feedback("small", "unknown", 2**31 - 1, "good")

    run(store, tmp_path / "workspace", give_feedback)
    rows = read_feedback_log(store, "feedback", "small").select(["request_id", "index"]).to_pylist()
    assert rows == [{"request_id": "known", "index": 1}, {"request_id": "unknown", "index": 2**31 - 1}]


def test_errors_quote_only_so_much_of_labels_and_names(store: Store, tmp_path: Path) -> None:
    words = write_words(tmp_path / "words")
    labels = ["short", "x" * 100_000]
    (words / "bundle.json").write_text(ModelBundle.load(words).model_copy(update={"labels": labels}).model_dump_json())
    for number in range(30):
        promote(Registry(store), words, f"a-model-with-a-long-name-{number}")

    async def provoke(endpoint: Endpoint) -> None:
        with pytest.raises(RequestError, match=r"has no label 'yyy.*; it has short, 1 more$") as error:
            await endpoint.feedback("a-model-with-a-long-name-0", "request", 0, "y" * 100_000)
        assert len(error.value.message) <= 500
        with pytest.raises(RequestError, match=r"those that are: a-model.* more$") as error:
            endpoint.find("z" * 100_000)
        assert len(error.value.message) <= 500
        with pytest.raises(RequestError, match=r"name one of the served models: a-model.* more$") as error:
            await endpoint.feedback(None, "request", 0, "short")
        assert len(error.value.message) <= 500

    run(store, tmp_path / "workspace", provoke)


def test_it_is_ready_only_while_a_worker_lives(store: Store, tmp_path: Path) -> None:
    promote(Registry(store), write_words(tmp_path / "words"))

    async def stop_workers(endpoint: Endpoint) -> None:
        assert endpoint.ready
        await asyncio.to_thread(endpoint.batcher.close)
        assert not endpoint.ready

    run(store, tmp_path / "workspace", stop_workers)
