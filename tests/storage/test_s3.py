import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from textgate.components.contracts import InputError
from textgate.components.storage import Store, StoreConnectionError


def test_put_get_and_delete(store: Store) -> None:
    assert store.get("a/b") is None
    store.put("a/b", b"1")
    stored = store.get("a/b")
    assert stored is not None
    assert stored.data == b"1"
    store.delete("a/b")
    assert store.get("a/b") is None


def test_put_new_writes_only_if_the_key_is_free(store: Store) -> None:
    assert store.put_new("key", b"1")
    assert not store.put_new("key", b"2")
    assert store.get("key").data == b"1"  # type: ignore[union-attr]


def test_replace_writes_only_if_the_etag_is_current(store: Store) -> None:
    assert store.replace("key", b"1", None)
    first = store.get("key")
    assert first is not None
    assert not store.replace("key", b"2", None)
    assert store.replace("key", b"2", first.etag)
    assert not store.replace("key", b"3", first.etag)
    assert not store.replace("absent", b"1", first.etag)
    assert store.get("key").data == b"2"  # type: ignore[union-attr]


def test_one_of_sixteen_concurrent_writers_wins(store: Store) -> None:
    store.put("key", b"0")
    current = store.get("key")
    assert current is not None
    start, wins = threading.Barrier(16), []

    def write(index: int) -> None:
        start.wait()
        if store.replace("key", str(index).encode(), current.etag):
            wins.append(index)

    threads = [threading.Thread(target=write, args=(index,)) for index in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert store.get("key").data == str(wins[0]).encode()  # type: ignore[union-attr]


class _SeesNoBucket:
    """S3 client that finds no bucket because another process creates it a moment later."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def head_bucket(self, Bucket: str) -> Any:  # noqa: N803
        return self._client.head_bucket(Bucket=f"{Bucket}-not-yet")


def test_ensure_bucket_accepts_a_bucket_created_concurrently(store: Store) -> None:
    replace(store, client=_SeesNoBucket(store.client)).ensure_bucket()


def test_an_endpoint_without_a_scheme_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "localhost:9000")
    with pytest.raises(InputError, match=r"an endpoint is http://host:port"):
        Store.from_environment()


def test_listings_are_sorted_and_complete(store: Store) -> None:
    for name in ("b/2", "a/1", "b/1", "c"):
        store.put(name, b"x" * 3)
    assert [(item.key, item.size) for item in store.objects("b/")] == [("b/1", 3), ("b/2", 3)]
    assert store.prefixes("") == ["a", "b"]


def test_a_folder_is_uploaded_and_downloaded(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "one").write_bytes(b"1")
    (source / "inner" / "two").write_bytes(b"2" * 9_000_000)
    (source / "link").symlink_to("/etc/hostname")
    store.upload_folder(source, "folder")
    assert [item.key for item in store.objects("folder/")] == ["folder/inner/two", "folder/one"]
    store.download_folder("folder", tmp_path / "copy")
    assert (tmp_path / "copy" / "inner" / "two").read_bytes() == b"2" * 9_000_000
    with pytest.raises(InputError, match="there is nothing under"):
        store.download_folder("absent", tmp_path / "other")


def test_wrong_credentials_are_an_input_error_without_the_secret(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    with pytest.raises(InputError, match="refuses these credentials") as error:
        Store.from_environment(store.bucket).get("key")
    assert "wrong-secret" not in str(error.value)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(InputError, match="needs credentials: set AWS_ACCESS_KEY_ID"):
        Store.from_environment(store.bucket).get("key")


def test_a_missing_bucket_and_a_missing_server_are_input_errors(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="has no bucket nowhere-at-all"):
        Store.from_environment("nowhere-at-all").put("key", b"")
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{occupied.getsockname()[1]}")
        with pytest.raises(StoreConnectionError, match="cannot be reached"):
            Store.from_environment().ensure_bucket()
