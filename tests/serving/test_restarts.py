"""Restarts without the store serve what was served last; several servers share one workspace."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
from cli.in_process import run
from serving.server_process import ServerProcess, promote, promote_in_new_bucket, start_server
from words import write_words

from textgate.components.contracts import StoreError
from textgate.components.storage import EmbeddedStore, Registry, Store
from textgate.serving.metrics import Metrics
from textgate.serving.repository import Repository
from textgate.serving.served_model import TrafficSplit

NOWHERE = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}
SHARES = ("--challenger-share", "50", "--shadow-share", "100")
FOLLOW = ("--poll-seconds", "0.1")


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store)


def served(server: ServerProcess) -> dict[str, str]:
    """Return the served versions of ``small`` by channel."""
    models = server.get("/v1/models").json()["models"]
    return {model["channel"]: model["version"] for model in models if model["name"] == "small"}


def test_a_restart_without_names_and_store_serves_champion_challenger_and_shadow_again(
    registry: Registry, environment: dict[str, str], tmp_path: Path
) -> None:
    versions = {
        channel: promote(registry, write_words(tmp_path / channel, weight=weight), channel=channel)
        for weight, channel in enumerate(("champion", "challenger", "shadow"), start=2)
    }
    bucket, workspace = registry.store.bucket, tmp_path / "workspace"
    with start_server(environment, bucket, workspace, tmp_path, *SHARES) as server:
        assert served(server) == versions
        server.process.kill()
    with start_server(environment | NOWHERE, bucket, workspace, tmp_path, *SHARES, *FOLLOW) as server:
        assert served(server) == versions


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["data", "."])
def test_a_restart_whose_embedded_store_does_not_start_serves_the_last_versions_until_it_runs(
    broken: str, tmp_path: Path
) -> None:
    """The store's data, or its whole folder, is no folder; without the latter, its address is not known either."""
    workspace, words = tmp_path / "workspace", write_words(tmp_path / "words")
    embedded = EmbeddedStore(workspace)
    embedded.start()
    try:
        promote_in_new_bucket(embedded.environment(), "textgate", words)
        with start_server({}, "textgate", workspace, words) as server:
            versions = served(server)
            server.process.kill()
        embedded.stop()
        folder, kept = embedded.folder / broken, tmp_path / "kept"
        folder.rename(kept)
        folder.write_text("no folder")
        with start_server({}, "textgate", workspace, words, *FOLLOW) as server:
            assert served(server) == versions
            assert server.classify(["good"]).status_code == 200
            (warning,) = [line["event"] for line in server.log_lines if "Warning: " in line["event"]]
            assert "; until it runs, the versions served last are served" in warning
            folder.unlink()
            kept.rename(folder)
            if broken == "data":
                embedded.start()
                promote_in_new_bucket(embedded.environment(), "textgate", write_words(tmp_path / "new", weight=3.0))
                server.wait_for("serving")
                assert served(server) != versions
    finally:
        embedded.stop()


def test_a_workspace_that_has_served_nothing_needs_its_embedded_store(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no folder")
    result = run("serve", "--workspace", str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: the embedded store cannot use {tmp_path / 'store'}")


def point_at_damaged(registry: Registry, version: str, expected: str) -> None:
    """Move the champion to a damaged version, which ``Registry.update_channel`` would refuse."""
    log = registry.channel_log("small")
    log.update("champion", version, run="test", reason="test", expected=expected, decision=None)


@pytest.mark.slow
def test_the_last_version_is_written_down_only_when_it_is_served(
    registry: Registry, environment: dict[str, str], tmp_path: Path
) -> None:
    good, bad = write_words(tmp_path / "good"), write_words(tmp_path / "bad", weight=3.0)
    first = promote(registry, good)
    bucket, workspace = registry.store.bucket, tmp_path / "workspace"
    with start_server(environment, bucket, workspace, good, *FOLLOW) as server:
        version = registry.publish("small", bad)
        registry.store.put(f"models/small/versions/{version}/vocabulary.json", b"[]")
        point_at_damaged(registry, version, first)
        server.wait_for("version refused", version=version)
        server.process.kill()
    with start_server(environment | NOWHERE, bucket, workspace, good) as server:
        assert served(server) == {"champion": first}


def test_a_pinned_version_is_not_written_down_as_champion(
    registry: Registry, environment: dict[str, str], tmp_path: Path
) -> None:
    version = promote(registry, write_words(tmp_path / "words"))
    workspace = tmp_path / "workspace"
    with start_server(environment, registry.store.bucket, workspace, tmp_path, f"small@{version}"):
        assert not (workspace / "channels").exists()


@pytest.mark.slow
def test_three_servers_on_one_cold_workspace_all_come_up_and_delete_no_bundle_of_another(
    registry: Registry, environment: dict[str, str], tmp_path: Path
) -> None:
    versions = [promote(registry, write_words(tmp_path / "first"))]
    bucket, workspace = registry.store.bucket, tmp_path / "workspace"
    with ExitStack() as stack:
        options = {"wait_until_ready": False}
        servers = [
            stack.enter_context(start_server(environment, bucket, workspace, tmp_path, *FOLLOW, **options))  # type: ignore[arg-type]
            for _ in range(3)
        ]
        for server in servers:
            server.wait_for("ready")
        for weight in (3.0, 4.0, 5.0):
            versions.append(promote(registry, write_words(tmp_path / f"{weight}", weight=weight)))
            for server in servers:
                server.wait_for("serving", versions={"champion": versions[-1]})
        assert [server.classify(["good"]).json()["version"] for server in servers] == [versions[-1]] * 3
        for server in servers:
            assert not any(line["event"] in ("version refused", "downloaded again") for line in server.log_lines)
    assert [folder.name for folder in (workspace / "models" / "small").iterdir()] == [versions[-1]]


class FailingDownloads:
    """Downloads that fail as often as is set, as after a broken connection."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failures = 0
        download = Store.download_folder

        def fail(store: Store, prefix: str, folder: Path) -> None:
            if self.failures:
                self.failures -= 1
                raise StoreError("the connection broke")
            download(store, prefix, folder)

        monkeypatch.setattr(Store, "download_folder", fail)


def repository_of(registry: Registry, tmp_path: Path) -> Repository:
    return Repository(registry, tmp_path / "workspace", Metrics(), threads=1)


def test_a_download_that_breaks_is_no_refusal_and_is_repeated_in_the_next_round(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    downloads, repository = FailingDownloads(monkeypatch), repository_of(registry, tmp_path)
    first = promote(registry, write_words(tmp_path / "first"))
    promote(registry, tmp_path / "first", "other")
    repository.start([])
    second = promote(registry, write_words(tmp_path / "second", weight=3.0))
    downloads.failures = 2
    for expected in (first, first, second):
        repository.follow()
        assert repository.models["small"].main.version == expected
        assert repository.refused == []
    failed = [record for record in caplog.records if record.message == "the store failed: it is tried again soon"]
    assert [record.fields["model"] for record in failed] == ["small"]  # type: ignore[attr-defined]
    assert "version refused" not in caplog.messages


def test_a_broken_download_of_one_model_delays_no_other(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads, repository = FailingDownloads(monkeypatch), repository_of(registry, tmp_path)
    promote(registry, write_words(tmp_path / "words"), "a")
    promote(registry, tmp_path / "words", "b")
    downloads.failures = 1
    repository.start([])
    assert set(repository.models) == {"b"}
    repository.follow()
    assert set(repository.models) == {"a", "b"}


def test_an_older_pointer_than_one_that_was_read_is_not_taken(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key, repository = "models/small/channels/champion.json", repository_of(registry, tmp_path)
    pointers, versions = [], []
    for weight in (2.0, 3.0, 4.0):
        versions.append(promote(registry, write_words(tmp_path / f"{weight}", weight=weight)))
        stored = registry.store.get(key)
        assert stored is not None
        pointers.append(stored.data)
    repository.start([])
    taken = []
    for pointer in (0, 2, 1, 0, 2):  # a cache that answers with what it has
        registry.store.put(key, pointers[pointer])
        repository.follow()
        taken.append(repository.models["small"].main.version)
    assert taken == [versions[2]] * 5
    assert sum(message.startswith("the store answers with an older pointer") for message in caplog.messages) == 2
    # A client of textgate 0.1 writes no sequence: its pointer may be newer, and is taken.
    unknown = json.loads(pointers[0]) | {"sequence": 0}
    registry.store.put(key, json.dumps(unknown).encode())
    repository.follow()
    assert repository.models["small"].main.version == versions[0]


def test_a_damaged_pointer_is_named_and_every_other_channel_is_followed(registry: Registry, tmp_path: Path) -> None:
    repository = repository_of(registry, tmp_path)
    repository.traffic = TrafficSplit(challenger_share=0.5)
    first = promote(registry, write_words(tmp_path / "first"))
    promote(registry, tmp_path / "first", "other")
    promote(registry, tmp_path / "first", channel="challenger")
    repository.start([])
    second = promote(registry, write_words(tmp_path / "second", weight=3.0), channel="challenger")
    promote(registry, tmp_path / "second", "other")
    registry.store.put("models/small/channels/champion.json", b'{"model": "sma')
    repository.follow()
    assert [(refusal.model, refusal.channel) for refusal in repository.refused] == [("small", "champion")]
    assert "models/small/channels/champion.json" in repository.refused[0].reason
    small = repository.models["small"]
    assert (small.main.version, small.challenger and small.challenger.version) == (first, second)
    assert repository.models["other"].main.version == second
