import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from storage.dying_client import DiesBeforeWrite

from textgate.components.contracts import InputError, ModelBundle
from textgate.components.contracts.training_cost import TrainingCost, read_training_cost, write_training_cost
from textgate.components.storage import Block, Blocks, Registry, Store, roll_back

WriteBundle = Callable[[Path, bytes], Path]


@pytest.fixture
def bundles(tmp_path: Path, write_bundle: WriteBundle) -> list[Path]:
    return [write_bundle(tmp_path / f"bundle{index}", str(index).encode()) for index in range(3)]


def promote(registry: Registry, folder: Path, expected: str | None, run: str = "run") -> str:
    version = registry.publish("model", folder)
    registry.update_channel("model", version, run=run, reason="better", expected=expected)
    return version


def snapshot(store: Store) -> dict[str, bytes]:
    return {item.key: stored.data for item in store.objects("") if (stored := store.get(item.key))}


def test_a_promoted_bundle_is_downloaded_unchanged(store: Store, bundles: list[Path], tmp_path: Path) -> None:
    registry = Registry(store)
    version = promote(registry, bundles[0], None)
    assert registry.models() == {"model": {"champion": version}}
    assert registry.model_names() == ["model"]
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


def test_a_version_keeps_the_cost_of_its_first_training(store: Store, bundles: list[Path], tmp_path: Path) -> None:
    registry, first = Registry(store), TrainingCost(seconds=60, peak_memory=1)
    write_training_cost(bundles[0], first)
    version = registry.publish("model", bundles[0])
    write_training_cost(bundles[0], TrainingCost(seconds=70, peak_memory=1))
    assert registry.publish("model", bundles[0]) == version
    bundle = registry.download("model", version, tmp_path / "copy")
    assert read_training_cost(tmp_path / "copy") == first
    assert bundle == ModelBundle.load(tmp_path / "copy")
    # Readers before 0.2 reject a version with a file that its manifest does not list.
    assert not [key for key in snapshot(store) if "/versions/" in key and key.endswith("cost.json")]
    registry.download("model", registry.publish("model", bundles[1]), tmp_path / "without")
    assert read_training_cost(tmp_path / "without") is None


def test_publish_refuses_to_change_a_version(store: Store, bundles: list[Path]) -> None:
    registry = Registry(store)
    version = registry.publish("model", bundles[0])
    store.put(f"models/model/versions/{version}/weights.bin", b"something else")
    with pytest.raises(InputError, match=r"weights\.bin exists with other bytes"):
        registry.publish("model", bundles[0])


def test_download_rejects_a_changed_file_and_leaves_no_folder(
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
    assert roll_back(registry, "model", run="back", reason="by hand").version == first
    updates = registry.history("model")
    assert [(update.version, update.previous, update.run) for update in updates] == [
        (first, second, "back"),
        (second, first, "run-2"),
        (first, None, "run-1"),
    ]


def test_a_rolled_back_version_is_blocked_until_the_block_is_lifted(store: Store, bundles: list[Path]) -> None:
    registry = Registry(store)
    first = promote(registry, bundles[0], None)
    second = promote(registry, bundles[1], first)
    assert registry.blocks("model").all() == []
    update = roll_back(registry, "model", run="back", reason=" it calls praise a complaint ")
    assert update.reason == "it calls praise a complaint"
    (block,) = registry.blocks("model").all()
    assert (block.version, block.blocked.reason, block.lifted) == (second, "it calls praise a complaint", None)
    sentence = (
        f"{second} was rolled back on {block.blocked.time[:10]} because it calls praise a complaint: "
        f"textgate models unblock model {second} lifts it"
    )
    for restore in (
        lambda: promote(registry, bundles[1], first),
        lambda: roll_back(registry, "model", second, run="forth", reason="by hand"),
    ):
        with pytest.raises(InputError, match=f"^{sentence}$"):
            restore()
    # A challenger is moved by hand only.
    registry.update_channel("model", second, run="move", reason="tried again", expected=None, channel="challenger")

    lifted = registry.unblock("model", second, reason="the labels were wrong").lifted
    assert lifted is not None
    assert lifted.reason == "the labels were wrong"
    assert promote(registry, bundles[1], first) == second
    assert roll_back(registry, "model", run="again", reason="worse after all").version == first
    assert registry.blocks("model").active(second) is not None
    with pytest.raises(InputError, match=f"{first} is no blocked version of model; blocked: {second}"):
        registry.unblock("model", first, reason="by mistake")


def test_a_second_rollback_skips_blocked_versions(store: Store, bundles: list[Path]) -> None:
    registry = Registry(store)
    first = promote(registry, bundles[0], None)
    second = promote(registry, bundles[1], first)
    third = promote(registry, bundles[2], second)
    assert roll_back(registry, "model", run="back", reason="worse").version == second
    assert roll_back(registry, "model", run="back", reason="worse too").version == first
    assert {block.version for block in registry.blocks("model").all()} == {second, third}
    with pytest.raises(InputError, match=f"no champion before {first} that is not blocked"):
        roll_back(registry, "model", run="back", reason="worse as well")
    assert registry.blocks("model").active(first) is None


def test_a_rollback_that_loses_against_another_run_blocks_its_version_all_the_same(
    store: Store, bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(store)
    first = promote(registry, bundles[0], None)
    second = promote(registry, bundles[1], first)
    add = Blocks.add

    def add_after_a_promotion(self: Blocks, version: str, reason: str) -> Block:
        promote(registry, bundles[2], second)
        return add(self, version, reason)

    monkeypatch.setattr(Blocks, "add", add_after_a_promotion)
    with pytest.raises(InputError, match="has been moved by another run"):
        roll_back(registry, "model", run="back", reason="worse")
    assert registry.blocks("model").active(second) is not None


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_rollback_needs_a_reason(reason: str, store: Store, bundles: list[Path]) -> None:
    registry = Registry(store)
    second = promote(registry, bundles[1], promote(registry, bundles[0], None))
    with pytest.raises(InputError, match="a rollback needs a reason"):
        roll_back(registry, "model", run="back", reason=reason)
    assert registry.models() == {"model": {"champion": second}}
    assert registry.blocks("model").all() == []


def test_missing_models_and_versions_are_input_errors(store: Store, bundles: list[Path]) -> None:
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
        roll_back(registry, "model", run="r", reason="r")
    with pytest.raises(InputError, match="is the champion of model already"):
        roll_back(registry, "model", first, run="r", reason="r")
    with pytest.raises(InputError, match="is no name for a model"):
        registry.publish("../escape", bundles[0])


def test_one_of_concurrent_promotions_wins_and_the_others_fail(
    store: Store, tmp_path: Path, write_bundle: WriteBundle
) -> None:
    registry = Registry(store)
    versions = [registry.publish("model", write_bundle(tmp_path / str(n), str(n).encode())) for n in range(8)]
    start, won, errors = threading.Barrier(8), [], []

    def promote_version(version: str) -> None:
        start.wait()
        try:
            won.append(registry.update_channel("model", version, run=version, reason="better", expected=None).version)
        except InputError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=promote_version, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(errors) == 7
    assert all("has been moved by another run" in sentence for sentence in errors)
    assert registry.models() == {"model": {"champion": won[0]}}
    assert [update.version for update in registry.history("model")] == won


class _RetriesEveryWrite:
    """S3 client that sends each conditional write twice, as after a lost response."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **arguments: Any) -> Any:
        if {"IfMatch", "IfNoneMatch"} & arguments.keys():
            self._client.put_object(**arguments)
        return self._client.put_object(**arguments)


def test_a_retried_update_does_not_conflict_with_itself(store: Store, bundles: list[Path]) -> None:
    registry = Registry(replace(store, client=_RetriesEveryWrite(store.client)))
    first = promote(registry, bundles[0], None)
    second = promote(registry, bundles[1], first)
    assert [update.version for update in registry.history("model")] == [second, first]
    assert roll_back(registry, "model", run="back", reason="worse").version == first
    assert registry.unblock("model", second, reason="better after all").version == second


def test_a_damaged_channel_is_an_input_error(store: Store, bundles: list[Path]) -> None:
    registry = Registry(store)
    promote(registry, bundles[0], None)
    store.put("models/model/channels/champion.json", b"{}")
    with pytest.raises(InputError, match=r"channels/champion\.json is not a channel update"):
        registry.channel("model")


def test_a_promotion_killed_at_any_write_leaves_the_old_or_the_new_version_and_can_be_retried(
    store: Store, bundles: list[Path], tmp_path: Path
) -> None:
    registry = Registry(store)
    old = promote(registry, bundles[0], None)
    new = ModelBundle.load(bundles[1]).fingerprint[:12]
    # The five writes: two files, the audit entry of the old update, the channel, the audit entry of the new update.
    # A file that an earlier attempt has written is not written again.
    for attempt, writes in enumerate([0, 1, 1, 1, 2]):
        dying = Registry(replace(store, client=DiesBeforeWrite(store.client, writes)))
        with pytest.raises(KeyboardInterrupt):
            promote(dying, bundles[1], old)
        champion = registry.channel("model")
        assert champion is not None
        assert champion.version == (old if attempt < 4 else new)
        registry.download("model", champion.version, tmp_path / f"copy{attempt}")
        assert registry.versions("model") == sorted([old] if attempt < 2 else [old, new])
    # The last process died between the swap and its audit entry; history has the update nevertheless.
    assert [update.version for update in registry.history("model")] == [new, old]
    promote(registry, bundles[2], new)
    audited = [item.key for item in store.objects("models/model/audit/")]
    assert len(audited) == 3
