"""Servers killed under feedback load: every acknowledged label reaches the store, once."""

import itertools
import random
import threading
from collections import Counter
from pathlib import Path

import pytest
import requests
from serving.server_process import ServerProcess, promote, start_server
from words import write_words

from textgate.components.storage import Registry, Store
from textgate.components.storage.feedback_log import read_feedback_log

CLIENTS = 4
NOWHERE = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}


def send_feedback(server: ServerProcess, ids: "itertools.count[int]", acknowledged: list[str]) -> None:
    """Send feedback until the server is gone, and note what it acknowledges."""
    with requests.Session() as session:
        for number in ids:
            body = {"request_id": f"request-{number}", "label": "good", "model": "small"}
            try:
                response = session.post(f"{server.http}/v1/feedback", json=body, timeout=60)
            except requests.RequestException:
                return
            assert response.status_code == 202, response.text
            acknowledged.append(body["request_id"])


def kill_under_load(
    kills: int, store: Store, environment: dict[str, str], tmp_path: Path, seed: int = 18
) -> tuple[list[str], Counter[str]]:
    """Kill servers of one workspace at random moments; in each third round the store is away.

    Returns:
        The request ids that were acknowledged, and those in the store at the end.
    """
    bundle, workspace = write_words(tmp_path / "words"), tmp_path / "workspace"
    promote(Registry(store), bundle)
    rng, ids, acknowledged = random.Random(seed), itertools.count(), list[str]()
    for number in range(kills):
        place = environment | NOWHERE if number % 3 == 2 else environment
        with start_server(place, store.bucket, workspace, bundle, "small") as server:
            clients = [threading.Thread(target=send_feedback, args=(server, ids, acknowledged)) for _ in range(CLIENTS)]
            before = len(acknowledged)
            for client in clients:
                client.start()
            threading.Event().wait(rng.uniform(0.0, 1.0))
            server.process.kill()
            for client in clients:
                client.join()
        print(f"kill {number + 1}: {len(acknowledged) - before} acknowledged")
    with start_server(environment, store.bucket, workspace, bundle, "small") as server:
        server.process.terminate()
        assert server.process.wait(60) == 0
    stored = read_feedback_log(store, "feedback", "small")["request_id"].to_pylist()
    print(f"{len(acknowledged)} acknowledged, {len(stored)} stored, {len(set(acknowledged) - set(stored))} lost")
    return acknowledged, Counter(stored)


@pytest.mark.slow
def test_ten_kills_lose_no_acknowledged_feedback(store: Store, environment: dict[str, str], tmp_path: Path) -> None:
    acknowledged, stored = kill_under_load(10, store, environment, tmp_path)
    assert len(acknowledged) > 100
    assert set(acknowledged) - set(stored) == set()
    assert set(stored.values()) == {1}


@pytest.mark.long
def test_a_hundred_kills_lose_no_acknowledged_feedback(
    store: Store, environment: dict[str, str], tmp_path: Path
) -> None:
    acknowledged, stored = kill_under_load(100, store, environment, tmp_path)
    assert set(acknowledged) - set(stored) == set()
    assert set(stored.values()) == {1}


@pytest.mark.slow
def test_a_server_stopped_while_the_store_is_away_ends_in_time_and_says_what_waits(
    store: Store, environment: dict[str, str], tmp_path: Path
) -> None:
    bundle, workspace = write_words(tmp_path / "words"), tmp_path / "workspace"
    promote(Registry(store), bundle)
    with start_server(environment, store.bucket, workspace, bundle):
        pass
    with start_server(environment | NOWHERE, store.bucket, workspace, bundle) as server:
        for index in range(25):
            response = server.post("/v1/feedback", {"request_id": "r", "index": index, "label": "good"})
            assert response.status_code == 202
        server.process.terminate()
        assert server.process.wait(25) == 0
        assert server.wait_for("feedback waits on the disk for the next server")["rows"] == 25
    with start_server(environment, store.bucket, workspace, bundle):
        pass
    assert read_feedback_log(store, "feedback", "small").num_rows == 25
