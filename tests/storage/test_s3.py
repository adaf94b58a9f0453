import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from textgate.components.contracts import InputError
from textgate.components.storage import Store


def test_what_is_put_is_got(store: Store) -> None:
    assert store.get("a/b") is None
    store.put("a/b", b"1")
    stored = store.get("a/b")
    assert stored is not None
    assert stored.data == b"1"
    store.delete("a/b")
    assert store.get("a/b") is None


def test_a_new_object_is_written_once(store: Store) -> None:
    assert store.put_new("key", b"1")
    assert not store.put_new("key", b"2")
    assert store.get("key").data == b"1"  # type: ignore[union-attr]


def test_an_object_is_replaced_only_as_it_was_read(store: Store) -> None:
    assert store.replace("key", b"1", None)
    first = store.get("key")
    assert first is not None
    assert not store.replace("key", b"2", None)
    assert store.replace("key", b"2", first.etag)
    assert not store.replace("key", b"3", first.etag)
    assert not store.replace("absent", b"1", first.etag)
    assert store.get("key").data == b"2"  # type: ignore[union-attr]


def test_of_sixteen_writers_one_wins(store: Store) -> None:
    store.put("key", b"0")
    read = store.get("key")
    assert read is not None
    start, wins = threading.Barrier(16), []

    def write(number: int) -> None:
        start.wait()
        if store.replace("key", str(number).encode(), read.etag):
            wins.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert store.get("key").data == str(wins[0]).encode()  # type: ignore[union-attr]


class _LooksTooEarly:
    """An S3 client that saw no bucket just before another process made it."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def head_bucket(self, Bucket: str) -> Any:  # noqa: N803
        return self._client.head_bucket(Bucket=f"{Bucket}-not-yet")


def test_a_bucket_that_another_process_made_meanwhile_is_as_good(store: Store) -> None:
    replace(store, client=_LooksTooEarly(store.client)).ensure_bucket()


def test_an_endpoint_without_a_scheme_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "localhost:9000")
    with pytest.raises(InputError, match=r"an endpoint is http://host:port"):
        Store.from_environment()


def test_listings_are_sorted_and_whole(store: Store) -> None:
    for name in ("b/2", "a/1", "b/1", "c"):
        store.put(name, b"x" * 3)
    assert [(item.key, item.size) for item in store.objects("b/")] == [("b/1", 3), ("b/2", 3)]
    assert store.prefixes("") == ["a", "b"]


def test_a_folder_travels_there_and_back(store: Store, tmp_path: Path) -> None:
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


def test_wrong_credentials_are_one_sentence_without_the_secret(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_no_bucket_and_no_server_are_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="has no bucket nowhere-at-all"):
        Store.from_environment("nowhere-at-all").put("key", b"")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(InputError, match="cannot be reached"):
            Store.from_environment().ensure_bucket()
