import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from textgate.components.contracts import InputError, ModelBundle
from textgate.components.storage import Registry, Store

WriteBundle = Callable[[Path, bytes], Path]


@pytest.fixture
def bundles(tmp_path: Path, write_bundle: WriteBundle) -> list[Path]:
    return [write_bundle(tmp_path / f"bundle{number}", str(number).encode()) for number in range(3)]


def promote(registry: Registry, folder: Path, expected: str | None, run: str = "run") -> str:
    version = registry.publish("model", folder)
    registry.update_channel("model", version, run=run, reason="better", expected=expected)
    return version


def snapshot(store: Store) -> dict[str, bytes]:
    return {item.key: stored.data for item in store.objects("") if (stored := store.get(item.key))}


def test_a_promoted_bundle_is_read_back_byte_for_byte(store: Store, bundles: list[Path], tmp_path: Path) -> None:
    registry = Registry(store)
    version = promote(registry, bundles[0], None)
    assert registry.models() == {"model": {"champion": version}}
    assert registry.versions("model") == [version]
    bundle = registry.download("model", version, tmp_path / "copy")
    assert bundle == ModelBundle.load(bundles[0]) == registry.bundle("model", version)
    assert bundle.fingerprint.startswith(version)


def test_publishing_twice_writes_once(store: Store, bundles: list[Path]) -> None:
    registry = Registry(store)
    version = registry.publish("model", bundles[0])
    before = snapshot(store)
    assert registry.publish("model", bundles[0]) == version
    assert snapshot(store) == before


def test_a_version_is_never_changed(store: Store, bundles: list[Path]) -> None:
    registry = Registry(store)
    version = registry.publish("model", bundles[0])
    store.put(f"models/model/versions/{version}/weights.bin", b"something else")
    with pytest.raises(InputError, match=r"weights\.bin exists with other bytes"):
        registry.publish("model", bundles[0])


def test_a_flipped_byte_in_the_store_is_found_and_nothing_is_left(
    store: Store, bundles: list[Path], tmp_path: Path
) -> None:
    registry = Registry(store)
    version = promote(registry, bundles[0], None)
    store.put(f"models/model/versions/{version}/weights.bin", b"1")
    with pytest.raises(InputError, match=r"weights\.bin has been changed"):
        registry.download("model", version, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_rollback_and_history(store: Store, bundles: list[Path]) -> None:
    registry = Registry(store)
    first = promote(registry, bundles[0], None, "run-1")
    second = promote(registry, bundles[1], first, "run-2")
    assert registry.rollback("model", run="back", reason="by hand").version == first
    moves = registry.history("model")
    assert [(move.version, move.previous, move.run) for move in moves] == [
        (first, second, "back"),
        (second, first, "run-2"),
        (first, None, "run-1"),
    ]
    assert registry.rollback("model", second, run="forth", reason="by hand").version == second


def test_what_is_not_there_is_named(store: Store, bundles: list[Path]) -> None:
    registry = Registry(store)
    with pytest.raises(InputError, match=r"no model 'model'.*there are none yet"):
        registry.history("model")
    assert registry.channel("model") is None
    first = promote(registry, bundles[0], None)
    with pytest.raises(InputError, match=r"no model 'modle'.*did you mean model\?"):
        registry.versions("modle")
    with pytest.raises(InputError, match=f"no version 'x'; it has {first}"):
        registry.update_channel("model", "x", run="r", reason="r", expected=first)
    with pytest.raises(InputError, match="has had no champion before"):
        registry.rollback("model", run="r", reason="r")
    with pytest.raises(InputError, match="is the champion of model already"):
        registry.rollback("model", first, run="r", reason="r")
    with pytest.raises(InputError, match="is no name for a model"):
        registry.publish("../escape", bundles[0])


def test_of_concurrent_promotions_one_wins_and_the_others_are_told(
    store: Store, tmp_path: Path, write_bundle: WriteBundle
) -> None:
    registry = Registry(store)
    versions = [registry.publish("model", write_bundle(tmp_path / str(n), str(n).encode())) for n in range(8)]
    start, won, told = threading.Barrier(8), [], []

    def move(version: str) -> None:
        start.wait()
        try:
            won.append(registry.update_channel("model", version, run=version, reason="better", expected=None).version)
        except InputError as error:
            told.append(str(error))

    threads = [threading.Thread(target=move, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(told) == 7
    assert all("has been moved by another run" in sentence for sentence in told)
    assert registry.models() == {"model": {"champion": won[0]}}
    assert [move.version for move in registry.history("model")] == won


class _LosesTheAnswer:
    """An S3 client whose conditional writes arrive, and are sent again because the answer did not."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **arguments: Any) -> Any:
        if {"IfMatch", "IfNoneMatch"} & arguments.keys():
            self._client.put_object(**arguments)
        return self._client.put_object(**arguments)


def test_a_move_whose_answer_was_lost_is_no_conflict_with_itself(store: Store, bundles: list[Path]) -> None:
    registry = Registry(replace(store, client=_LosesTheAnswer(store.client)))
    first = promote(registry, bundles[0], None)
    second = promote(registry, bundles[1], first)
    assert [move.version for move in registry.history("model")] == [second, first]


def test_a_damaged_pointer_is_named(store: Store, bundles: list[Path]) -> None:
    registry = Registry(store)
    promote(registry, bundles[0], None)
    store.put("models/model/channels/champion.json", b"{}")
    with pytest.raises(InputError, match=r"channels/champion\.json is not a move of a channel"):
        registry.channel("model")


class _DiesAtPut:
    """An S3 client whose n-th write never reaches the store, as if the process had been killed just before it."""

    def __init__(self, client: Any, writes: int) -> None:
        self._client, self._writes = client, writes

    def __getattr__(self, name: str) -> Any:
        if name == "put_object":
            if self._writes == 0:
                raise KeyboardInterrupt
            self._writes -= 1
        return getattr(self._client, name)


def test_whenever_a_promotion_dies_readers_see_old_or_new_whole_and_a_retry_completes_it(
    store: Store, bundles: list[Path], tmp_path: Path
) -> None:
    registry = Registry(store)
    old = promote(registry, bundles[0], None)
    new = ModelBundle.load(bundles[1]).fingerprint[:12]
    # Two files, the old move's audit entry, the channel, the new audit entry: any of the five writes may be the one.
    for writes in range(5):
        dying = Registry(replace(store, client=_DiesAtPut(store.client, writes)))
        with pytest.raises(KeyboardInterrupt):
            promote(dying, bundles[1], old)
        champion = registry.channel("model")
        assert champion is not None
        assert champion.version == (old if writes < 4 else new)
        registry.download("model", champion.version, tmp_path / f"copy{writes}")
        assert registry.versions("model") == sorted([old] if writes < 2 else [old, new])
    # The last one died between the swap and its audit entry: history has the move all the same.
    assert [move.version for move in registry.history("model")] == [new, old]
    promote(registry, bundles[2], new)
    audited = [item.key for item in store.objects("models/model/audit/")]
    assert len(audited) == 3
