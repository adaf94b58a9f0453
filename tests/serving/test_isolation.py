"""Each model stands alone: what cannot be served is refused and named, and every other model goes on."""

import asyncio
import hashlib
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from inference.hostile_bundles import FAULTS, HOSTILE
from prometheus_client.parser import text_string_to_metric_families
from serving.server_process import ServerProcess, promote, start_server
from words import write_words

from textgate.components.contracts import InputError, ModelBundle
from textgate.components.storage import ChannelUpdate, EmbeddedStore, ModelRef, Registry, Store
from textgate.serving import loading, refusals, workspace
from textgate.serving.batching import Batcher
from textgate.serving.endpoint import Endpoint, RequestLimits
from textgate.serving.errors import RequestError
from textgate.serving.feedback import FeedbackLog
from textgate.serving.metrics import Metrics
from textgate.serving.repository import Repository
from textgate.serving.served_model import ServedVersion

FOLLOW = ("--poll-seconds", "0.2")
TEXT = "a good film"


def point(registry: Registry, model: str, version: str, channel: str = "champion") -> None:
    """Point a channel at a version without any check, as a broken publisher would."""
    time = "2026-01-01T00:00:00.000000+00:00"
    fields = {"model": model, "channel": channel, "version": version, "previous": None, "time": time}
    update = ChannelUpdate(**fields, run="test", actor="test", reason="test")
    registry.store.put(f"models/{model}/channels/{channel}.json", update.model_dump_json().encode())


def upload(registry: Registry, model: str, folder: Path) -> str:
    """Upload a bundle as it is, and make it the champion."""
    manifest = (folder / "bundle.json").read_bytes()
    try:
        fingerprint = ModelBundle.parse(manifest, "bundle.json").fingerprint
    except InputError:
        fingerprint = hashlib.sha256(manifest).hexdigest()
    registry.store.upload_folder(folder, f"models/{model}/versions/{fingerprint[:12]}")
    point(registry, model, fingerprint[:12])
    return fingerprint[:12]


@pytest.fixture
def registry(store: Store, tmp_path: Path) -> Registry:
    """A registry in which the champion of ``small`` is a tiny linear model."""
    registry = Registry(store)
    promote(registry, write_words(tmp_path / "small"))
    return registry


def refused_metric(server: ServerProcess) -> dict[str, str]:
    """Return model and version of each refused version in the metrics."""
    families = text_string_to_metric_families(server.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name == "textgate_model_refused"]
    assert all(sample.value == 1 for sample in samples)
    return {sample.labels["model"]: sample.labels["version"] for sample in samples}


def refused(server: ServerProcess) -> dict[str, dict[str, str]]:
    """Return the refused versions that the server lists, by model."""
    return {entry["name"]: entry for entry in server.get("/v1/models").json()["refused"]}


@contextmanager
def steady_client(server: ServerProcess) -> Iterator[Counter[tuple[int, str]]]:
    """Classify all the while; yield the counts of status and version."""
    answers: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()

    def send_requests() -> None:
        while not stop.wait(0.01):
            response = server.classify([TEXT])
            answers[response.status_code, response.json().get("version", response.text)] += 1

    client = threading.Thread(target=send_requests)
    client.start()
    try:
        yield answers
    finally:
        stop.set()
        client.join()


@pytest.mark.slow
def test_hostile_bundles_harm_no_other_model(registry: Registry, environment: dict[str, str], tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    for name, write in HOSTILE.items():
        write(bundles / name)
    at_start = "tokenizer-panics-on-any-text"
    versions = {at_start: upload(registry, at_start, bundles / at_start)}
    first = registry.channel("small").version  # type: ignore[union-attr]
    with (
        start_server(environment, registry.store.bucket, tmp_path / "workspace", bundles, *FOLLOW) as server,
        steady_client(server) as answers,
    ):
        assert any(line["event"] == "version refused" and line["model"] == at_start for line in server.log_lines)
        versions |= {name: upload(registry, name, bundles / name) for name in HOSTILE if name != at_start}
        while len(refused(server)) < len(HOSTILE):
            server.wait_for("version refused")
        second = promote(registry, write_words(tmp_path / "second", weight=3))
        server.wait_for("serving", model="small", versions={"champion": second})
        promote(registry, tmp_path / "small", "late")
        server.wait_for("serving", model="late")
        assert server.get("/v2/health/ready").status_code == 200

        listed = refused(server)
        assert {name: entry["version"] for name, entry in listed.items()} == versions
        assert refused_metric(server) == versions
        reasons = {name: entry["reason"] for name, entry in listed.items()}
        assert [reason for name, reason in reasons.items() if not re.search(FAULTS[name], reason)] == []
        logged = {line["model"]: line["reason"] for line in server.log_lines if line["event"] == "version refused"}
        assert logged == reasons

        # What was bad becomes good, and is not listed any more.
        promote(registry, tmp_path / "second", at_start)
        server.wait_for("serving", model=at_start)
        assert at_start not in refused(server)
        assert at_start not in refused_metric(server)
    assert answers.keys() == {(200, first), (200, second)}


def test_channels_that_cannot_be_read_harm_no_other_model(
    registry: Registry, environment: dict[str, str], tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    registry.store.put("models/garbage/channels/champion.json", b"{")
    registry.store.put("models/Bad Name\u202e/channels/champion.json", b"{}")
    point(registry, "outside", "../../../outside")
    point(registry, "absent", "0" * 12)
    (tmp_path / "outside").mkdir()
    with start_server(environment, registry.store.bucket, workspace, tmp_path, *FOLLOW) as server:
        reasons = {name: entry["reason"] for name, entry in refused(server).items()}
        assert reasons.keys() == {"garbage", "Bad Name\u202e", "outside", "absent"}
        assert "is not a channel update" in reasons["garbage"]
        assert "is no name for a model" in reasons["Bad Name\u202e"]
        assert "'../../../outside' is no version" in reasons["outside"]
        assert "has no version '000000000000'" in reasons["absent"]
        assert server.classify([TEXT]).status_code == 200
        assert (tmp_path / "outside").is_dir()
        index = {entry["name"]: entry for entry in server.post("/v2/repository/index", {}).json()}
        assert index["small"]["state"] == "READY"
        assert (index["absent"]["state"], index["absent"]["reason"]) == ("UNAVAILABLE", reasons["absent"])


def test_loading_a_bad_model_names_the_reason_and_unloading_it_ends_the_attempts(
    registry: Registry, tmp_path: Path
) -> None:
    registry.store.put("models/garbage/channels/champion.json", b"{")
    point(registry, "absent", "0" * 12)
    repository = Repository(registry, tmp_path / "workspace", Metrics(), threads=1)
    repository.start([ModelRef("small")])

    async def load_and_unload() -> None:
        batcher, log = Batcher(1, 1.0, repository.metrics), FeedbackLog(registry.store, tmp_path / "spool")
        endpoint = Endpoint(repository, batcher, RequestLimits(), repository.metrics, log)
        for name, status in {"garbage": 422, "absent": 422, "nothing": 404, "..": 404, "\udc80" * 900: 404}.items():
            with pytest.raises(RequestError) as error:
                await endpoint.load(name)
            assert error.value.status == status
            assert 20 < len(error.value.message) <= 500
        assert [refusal.model for refusal in repository.refused] == ["absent", "garbage"]
        await endpoint.unload("absent")
        with pytest.raises(RequestError, match="the model absent is not served") as error:
            await endpoint.unload("absent")
        assert error.value.status == 404
        assert {entry.name: entry.state for entry in await endpoint.index()} == {
            "absent": "UNAVAILABLE",
            "garbage": "UNAVAILABLE",
            "small": "READY",
        }
        assert endpoint.ready
        await endpoint.unload("small")
        assert not endpoint.ready
        await asyncio.to_thread(batcher.close)
        log.close()

    asyncio.run(load_and_unload())


def test_an_unloaded_model_is_added_again_when_its_champion_changes(registry: Registry, tmp_path: Path) -> None:
    point(registry, "absent", "0" * 12)
    repository = Repository(registry, tmp_path / "workspace", Metrics(), threads=1)
    repository.start([])
    for model in ("absent", "small"):
        repository.unload(model)
    repository.follow()
    assert (repository.models, repository.refused) == ({}, [])
    promote(registry, tmp_path / "small", "absent")
    repository.follow()
    assert repository.models.keys() == {"absent"}


def test_without_any_model_it_waits_for_the_first_champion(
    store: Store, environment: dict[str, str], tmp_path: Path
) -> None:
    arguments = (environment, store.bucket, tmp_path / "workspace", tmp_path, *FOLLOW)
    with start_server(*arguments, wait_until_ready=False) as server:
        assert "textgate run" in server.wait_for("no model to serve yet")["hint"]
        assert server.get("/v2/health/live").status_code == 200
        assert server.get("/v2/health/ready").status_code == 503
        assert server.get("/v1/models").json() == {"models": [], "refused": []}
        promote(Registry(store), write_words(tmp_path / "words"))
        server.wait_for("ready")
        assert server.get("/v2/health/ready").status_code == 200
        assert server.classify([TEXT]).status_code == 200


def test_a_named_model_that_cannot_be_served_is_waited_for(
    store: Store, environment: dict[str, str], tmp_path: Path
) -> None:
    registry, words = Registry(store), write_words(tmp_path / "words")
    HOSTILE["no-idf"](tmp_path / "hostile")
    bad = upload(registry, "bad", tmp_path / "hostile")
    registry.publish("small", words)
    named = ("small", "smal", "small2@challenger", "pinned@000000000000", "bad")
    arguments = (environment, store.bucket, tmp_path / "workspace", words, *FOLLOW, *named)
    with start_server(*arguments, wait_until_ready=False) as server:
        server.wait_for("no model to serve yet")
        assert server.get("/v2/health/ready").status_code == 503
        missing = {line["model"]: line["reason"] for line in server.log_lines if line["event"].startswith("no version")}
        assert "the model small has no champion" in missing["small"]
        assert "no model 'smal' in" in missing["smal"]
        assert "did you mean small?" in missing["smal"]
        assert missing.keys() == {"small", "smal", "small2"}
        listed = refused(server)
        assert (listed["bad"]["version"], listed["bad"]["channel"]) == (bad, "champion")
        assert (listed["pinned"]["version"], listed["pinned"]["channel"]) == ("0" * 12, "pinned")
        good = promote(registry, words)
        server.wait_for("ready")
        assert server.classify([TEXT]).json()["version"] == good
        promote(registry, words, "bad")
        server.wait_for("serving", model="bad")
        assert refused(server).keys() == {"pinned"}
        assert refused_metric(server) == {"pinned": "0" * 12}


class Panic(BaseException):
    """Stands for PyO3's PanicException, which is no Exception either."""


@pytest.mark.parametrize("error", [MemoryError(), Panic("index out of\nbounds"), KeyError("idf")])
@pytest.mark.parametrize("step", [(Registry, "download"), (loading, "_open")], ids=["downloading", "loading"])
def test_whatever_downloading_or_loading_raises_is_the_reason(
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    step: tuple[Any, str],
) -> None:
    def fail(*arguments: Any) -> Any:
        if "bad" in arguments:
            raise error
        return original(*arguments)

    original = getattr(*step)
    monkeypatch.setattr(*step, fail)
    version = promote(registry, tmp_path / "small", "bad")
    repository = Repository(registry, tmp_path / "workspace", Metrics(), threads=1)
    repository.start([])
    assert repository.models.keys() == {"small"}
    (refusal,) = repository.refused
    assert (refusal.model, refusal.version) == ("bad", version)
    assert refusal.reason.startswith(type(error).__name__)
    assert "\n" not in refusal.reason


def test_a_refused_version_is_tried_again_later_or_when_its_channel_moves(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def fail(model: str, version: str, folder: Path, threads: int, device: str) -> ServedVersion:
        opened.append(version)
        raise InputError("no")

    monkeypatch.setattr(workspace, "open_version", fail)
    repository = Repository(registry, tmp_path / "workspace", Metrics(), threads=1)
    repository.start([ModelRef("small")])
    (refusal,) = repository.refused
    first = refusal.version
    repository.follow()
    assert opened == [first]
    monkeypatch.setattr(refusals, "RETRY_SECONDS", 0.0)
    second = promote(registry, write_words(tmp_path / "second", weight=3))
    for _ in range(3):
        repository.follow()
    assert opened == [first, second, second, second]
    # Its files are as published, so that they are not downloaded each time.
    monkeypatch.undo()
    repository.registry.store.delete(f"models/small/versions/{second}/bundle.json")
    repository.load(ModelRef("small"))
    assert repository.models["small"].main.version == second
    assert repository.refused == []


def test_a_bundle_that_does_not_end_loading_is_refused_until_its_channel_moves(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, opened = threading.Event(), []

    def hang(model: str, version: str, folder: Path, threads: int, device: str) -> ServedVersion:
        opened.append(version)
        may_end.wait()
        raise InputError("no")

    monkeypatch.setattr(loading, "_open", hang)
    monkeypatch.setattr(loading, "OPEN_SECONDS", 0.01)
    monkeypatch.setattr(refusals, "RETRY_SECONDS", 0.0)
    repository = Repository(registry, tmp_path / "workspace", Metrics(), threads=1)
    repository.start([])
    repository.follow()
    (refusal,) = repository.refused
    assert refusal.reason == "the bundle did not load and warm up within 0.01 s"
    assert opened == [refusal.version]
    may_end.set()


def test_after_a_restart_the_version_served_last_stands_in_for_a_bad_champion(
    registry: Registry, tmp_path: Path
) -> None:
    Repository(registry, tmp_path / "workspace", Metrics(), threads=1).start([])
    first = registry.channel("small").version  # type: ignore[union-attr]
    HOSTILE["no-idf"](tmp_path / "hostile")
    bad = upload(registry, "small", tmp_path / "hostile")
    repository = Repository(registry, tmp_path / "workspace", Metrics(), threads=1)
    for step in (lambda: repository.start([]), repository.follow):
        step()
        assert repository.models["small"].main.version == first
        assert [refusal.version for refusal in repository.refused] == [bad]


def test_an_unreachable_store_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = EmbeddedStore(tmp_path / "store")
    embedded.start()
    for name, value in embedded.environment().items():
        monkeypatch.setenv(name, value)
    store = Store.from_environment()
    store.ensure_bucket()
    for model in ("one", "two"):
        promote(Registry(store), write_words(tmp_path / model), model)
    embedded.stop()
    try:
        repository = Repository(Registry(store), tmp_path / "workspace", Metrics(), threads=1)
        repository.start([])
        repository.follow()
        assert (repository.models, repository.refused) == ({}, [])
        named = Repository(Registry(store), tmp_path / "workspace", Metrics(), threads=1)
        named.start([ModelRef("one")])
        assert (named.models, named.refused) == ({}, [])
        embedded.start()
        repository.follow()
        assert repository.models.keys() == {"one", "two"}
        named.follow()
        assert named.models.keys() == {"one"}
    finally:
        embedded.stop()
    # What was served last is served again, also without the names of the models.
    again = Repository(Registry(store), tmp_path / "workspace", Metrics(), threads=1)
    again.start([])
    assert again.models.keys() == {"one", "two"}
