"""The server follows its channels: swaps under load, refused versions, challenger, shadow, restarts, a lost store."""

import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving.server_process import ServerProcess, promote, start_server

from textgate.components.contracts import ModelBundle
from textgate.components.inference import load_bundle
from textgate.components.storage import EmbeddedStore, Registry, Store


def version_of(folder: Path) -> str:
    return ModelBundle.load(folder).fingerprint[:12]


def swap(registry: Registry, version: str, channel: str = "champion") -> None:
    current = registry.channel("small", channel)
    expected = current.version if current else None
    registry.update_channel("small", version, run="test", reason="test", expected=expected, channel=channel)


def point_at_damaged(registry: Registry, model: str, version: str, expected: str | None) -> None:
    """Move a champion channel to a damaged version, which ``Registry.update_channel`` would refuse."""
    log = registry.channel_log(model)
    log.update("champion", version, run="test", reason="test", expected=expected, decision=None)


def metric(server: ServerProcess, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(server.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return 0.0


@pytest.mark.slow
def test_swaps_under_load_fail_no_request_and_mix_no_versions(
    registry: Registry, environment: dict[str, str], served_bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    bundles = {version_of(folder): load_bundle(folder) for folder in (served_bundle, other_bundle)}
    texts = ["word1 good", "word2 bad", "word3"]
    expected = {version: loaded.predict_proba(texts).max(axis=1) for version, loaded in bundles.items()}
    registry.publish("small", other_bundle)
    versions = [version_of(other_bundle), version_of(served_bundle)]
    failures: list[str] = []
    seen: Counter[str] = Counter()
    stop = threading.Event()
    with start_server(environment, registry.store.bucket, tmp_path, served_bundle, "--poll-seconds", "0.02") as server:

        def send_requests() -> None:
            while not stop.is_set():
                response = server.classify(texts)
                answer = response.json()
                scores = [prediction["score"] for prediction in answer.get("predictions", [])]
                if response.status_code != 200 or scores != pytest.approx(expected[answer["version"]], abs=1e-6):
                    failures.append(response.text)
                seen[answer.get("version")] += 1

        clients = [threading.Thread(target=send_requests) for _ in range(8)]
        for client in clients:
            client.start()
        for index in range(50):
            swap(registry, versions[index % 2])
            server.wait_for("serving", model="small", versions={"champion": versions[index % 2]})
        stop.set()
        for client in clients:
            client.join()
        assert metric(server, "textgate_swaps_total", outcome="taken") == 50
    assert failures == []
    assert set(seen) == set(versions)


def test_a_damaged_version_is_refused_and_the_current_one_stays(
    registry: Registry, environment: dict[str, str], served_bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    version = registry.publish("small", other_bundle)
    registry.store.put(f"models/small/versions/{version}/vocabulary.json", b"[]")
    with start_server(environment, registry.store.bucket, tmp_path, served_bundle, "--poll-seconds", "0.02") as server:
        point_at_damaged(registry, "small", version, expected=version_of(served_bundle))
        line = server.wait_for("version refused", version=version)
        assert "vocabulary.json" in line["reason"]
        assert server.classify(["a"]).json()["version"] == version_of(served_bundle)
        assert metric(server, "textgate_swaps_total", outcome="refused") == 1
        assert not (tmp_path / "models" / "small" / version).exists()


def test_the_challenger_answers_its_share_of_requests_and_the_shadow_none(
    registry: Registry, environment: dict[str, str], served_bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    main, other = version_of(served_bundle), promote(registry, other_bundle, channel="challenger")
    swap(registry, other, "shadow")
    shares = ("--challenger-share", "30", "--shadow-share", "100")
    with start_server(environment, registry.store.bucket, tmp_path, served_bundle, *shares) as server:
        answered = {
            str(number): server.classify(["word1 good"], headers={"X-Request-Id": str(number)}).json()["version"]
            for number in range(200)
        }
        share = Counter(answered.values())[other] / len(answered)
        assert 0.2 < share < 0.4
        again = server.classify(["word1 good"], headers={"X-Request-Id": "7"}).json()["version"]
        assert (again, set(answered.values())) == (answered["7"], {main, other})
        named = server.get(f"/v2/models/small/versions/{other}").json()
        assert named["versions"] == [other]
        compared = sum(
            metric(server, "textgate_shadow_texts_total", version=other, same=same) for same in ("yes", "no")
        )
        # Requests that the challenger answered are not compared, because challenger and shadow are the same version.
        assert compared > 0
        assert compared <= Counter(answered.values())[main] + (again == main)


@pytest.fixture
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served_bundle: Path) -> EmbeddedStore:
    """A store with the model, which a test may stop."""
    embedded = EmbeddedStore(tmp_path)
    embedded.start()
    for name, value in embedded.environment().items():
        monkeypatch.setenv(name, value)
    store = Store.from_environment()
    store.ensure_bucket()
    promote(Registry(store), served_bundle)
    yield embedded
    embedded.stop()


def test_without_the_store_it_goes_on_and_restarts(own_store: EmbeddedStore, served_bundle: Path) -> None:
    workspace, environment = own_store.workspace, own_store.environment()
    arguments = (environment, "textgate", workspace, served_bundle, "--poll-seconds", "0.02")
    with start_server(*arguments) as server:
        own_store.stop()
        server.wait_for("the store does not answer")
        assert server.classify(["a"]).status_code == 200
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with start_server(*arguments, "small") as server:
        assert server.classify(["a"]).json()["version"] == version_of(served_bundle)


def test_without_names_a_model_that_gets_a_champion_is_loaded(
    registry: Registry, environment: dict[str, str], served_bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    with start_server(environment, registry.store.bucket, tmp_path, served_bundle, "--poll-seconds", "0.02") as server:
        version = registry.publish("damaged", other_bundle)
        registry.store.put(f"models/damaged/versions/{version}/vocabulary.json", b"[]")
        point_at_damaged(registry, "damaged", version, expected=None)
        assert server.wait_for("version refused")["model"] == "damaged"
        promote(registry, other_bundle, "late")
        server.wait_for("serving", model="late")
        answer = server.post("/v1/models/late:classify", {"texts": ["word1 good"]})
        assert answer.json()["version"] == version_of(other_bundle)


def test_a_bundle_damaged_on_disk_is_downloaded_again(
    registry: Registry, environment: dict[str, str], served_bundle: Path, tmp_path: Path
) -> None:
    version = version_of(served_bundle)
    cached = tmp_path / "models" / "small" / version
    shutil.copytree(served_bundle, cached)
    (cached / "tokenizer.json").write_bytes(b"{}")
    with start_server(environment, registry.store.bucket, tmp_path, served_bundle) as server:
        assert (
            "tokenizer.json" in next(line for line in server.log_lines if line["event"] == "downloaded again")["reason"]
        )
        assert server.classify(["a"]).status_code == 200
    assert (cached / "tokenizer.json").read_bytes() == (served_bundle / "tokenizer.json").read_bytes()


def test_running_requests_are_answered_after_sigterm(
    registry: Registry, environment: dict[str, str], served_bundle: Path, tmp_path: Path
) -> None:
    with start_server(environment, registry.store.bucket, tmp_path, served_bundle, "--deadline-ms", "60000") as server:
        answers: list[int] = []
        texts = [f"word{number} good" for number in range(1000)]
        clients = [
            threading.Thread(target=lambda: answers.append(server.classify(texts).status_code)) for _ in range(6)
        ]
        for client in clients:
            client.start()
        while metric(server, "textgate_queue_texts") < 1000:
            time.sleep(0)
        server.process.terminate()
        for client in clients:
            client.join()
        assert server.process.wait(60) == 0
        assert answers == [200] * 6
        assert server.wait_for("stopped")
