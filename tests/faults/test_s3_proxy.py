import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from faults.s3_proxy import KINDS, FaultyStore

from textgate.components.storage import Store


@dataclass(frozen=True)
class Bed:
    """A store, a proxy in front of it, and a client of the proxy that neither retries nor verifies checksums."""

    store: Store
    proxy: FaultyStore
    client: Any


@pytest.fixture(scope="module")
def bed(store_environment: dict[str, str]) -> Iterator[Bed]:
    config = Config(
        s3={"addressing_style": "path"},
        read_timeout=0.5,
        retries={"total_max_attempts": 1},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    with pytest.MonkeyPatch.context() as patch, FaultyStore(store_environment["AWS_ENDPOINT_URL_S3"]) as proxy:
        for name, value in store_environment.items():
            patch.setenv(name, value)
        store = Store.from_environment(f"test-{uuid.uuid4().hex[:12]}")
        store.ensure_bucket()
        yield Bed(store, proxy, boto3.client("s3", endpoint_url=proxy.endpoint, config=config))


@pytest.fixture
def store(bed: Bed) -> Store:
    return bed.store


@pytest.fixture
def faulty_store(bed: Bed) -> FaultyStore:
    bed.proxy.injected.clear()
    return bed.proxy


@pytest.fixture
def key(bed: Bed) -> str:
    """Return a key that was written twice."""
    key = uuid.uuid4().hex
    for body in (b"first", b"second"):
        bed.client.put_object(Bucket=bed.store.bucket, Key=key, Body=body)
    return key


@pytest.fixture
def client(bed: Bed) -> Any:
    return bed.client


def read(client: Any, store: Store, key: str) -> bytes:
    return bytes(client.get_object(Bucket=store.bucket, Key=key)["Body"].read())


def test_without_faults_the_store_answers(client: Any, store: Store, faulty_store: FaultyStore, key: str) -> None:
    assert read(client, store, key) == b"second"
    assert client.head_object(Bucket=store.bucket, Key=key)["ContentLength"] == 6
    assert [item["Key"] for item in client.list_objects_v2(Bucket=store.bucket, Prefix=key)["Contents"]] == [key]
    client.delete_object(Bucket=store.bucket, Key=key)
    assert store.get(key) is None
    assert not faulty_store.injected


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("500", ClientError, "InternalError"),
        ("503", ClientError, "SlowDown"),
        ("reset", BotoCoreError, "Connection"),
        ("reset_body", BotoCoreError, "reset|read"),
        ("truncated", BotoCoreError, "3 bytes read, 3 more expected"),
        ("hang", ReadTimeoutError, "timeout"),
    ],
)
def test_a_read_fails(
    kind: str, error: type[Exception], words: str, client: Any, store: Store, faulty_store: FaultyStore, key: str
) -> None:
    faulty_store.once(kind, "GET", key)
    with pytest.raises(error, match=words):
        read(client, store, key)
    assert faulty_store.injected == {kind: 1}
    assert read(client, store, key) == b"second"


def test_a_read_is_flipped_or_stale_or_late(client: Any, store: Store, faulty_store: FaultyStore, key: str) -> None:
    faulty_store.once("flipped_get", "GET", key)
    flipped = int.from_bytes(read(client, store, key)) ^ int.from_bytes(b"second")
    assert flipped.bit_count() == 1
    faulty_store.once("stale", "GET", key)
    assert read(client, store, key) == b"first"
    faulty_store.once("slow", "GET", key)
    begin = time.monotonic()
    assert read(client, store, key) == b"second"
    assert time.monotonic() - begin >= faulty_store.slow_seconds
    assert faulty_store.injected == {"flipped_get": 1, "stale": 1, "slow": 1}


@pytest.mark.parametrize(
    ("kind", "stored"),
    [("500", None), ("503", None), ("reset", None), ("reset_body", None), ("hang", None), ("lost", b"new")],
)
def test_a_write_fails(
    kind: str, stored: bytes | None, client: Any, store: Store, faulty_store: FaultyStore, key: str
) -> None:
    faulty_store.once(kind, "PUT", "-other")
    with pytest.raises((ClientError, BotoCoreError)):
        client.put_object(Bucket=store.bucket, Key=f"{key}-other", Body=b"new")
    written = store.get(f"{key}-other")
    assert (written and written.data) == stored
    assert faulty_store.injected == {kind: 1}


def test_a_write_is_flipped_and_a_checksum_notices(
    client: Any, store: Store, faulty_store: FaultyStore, key: str
) -> None:
    faulty_store.once("flipped_put", "PUT", key)
    client.put_object(Bucket=store.bucket, Key=key, Body=b"third")
    assert read(client, store, key) not in (b"second", b"third")
    faulty_store.once("flipped_put", "PUT", key)
    with pytest.raises(ClientError, match="BadDigest"):
        client.put_object(Bucket=store.bucket, Key=key, Body=b"fourth", ChecksumAlgorithm="SHA256")


def test_a_duplicated_conditional_write_conflicts_with_itself(
    client: Any, store: Store, faulty_store: FaultyStore, key: str
) -> None:
    faulty_store.once("duplicated", "PUT", "-other")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=store.bucket, Key=f"{key}-other", Body=b"new", IfNoneMatch="*")
    assert read(client, store, f"{key}-other") == b"new"


def test_the_seed_and_the_rates_decide() -> None:
    def kinds(seed: int) -> list[str | None]:
        with FaultyStore("http://127.0.0.1:9", seed=seed, rates=dict.fromkeys(KINDS, 0.05)) as proxy:
            return [proxy.fault("GET", f"/bucket/{index % 50}")[0] for index in range(1000)]

    assert kinds(1) == kinds(1) != kinds(2)
    assert 300 < sum(kind is not None for kind in kinds(1)) < 500
    assert "lost" not in kinds(1)
    with pytest.raises(ValueError, match="no such fault: flip"):
        FaultyStore("http://127.0.0.1:9", rates={"flip": 1})


def test_a_dead_store_resets_the_connection(
    client: Any, store: Store, faulty_store: FaultyStore, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(faulty_store, "upstream", f"http://127.0.0.1:{server.getsockname()[1]}")

    with pytest.raises(BotoCoreError):
        read(client, store, key)


def test_clients_at_once_are_served(client: Any, store: Store, faulty_store: FaultyStore, key: str) -> None:
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(read(client, store, key))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [b"second"] * 16
