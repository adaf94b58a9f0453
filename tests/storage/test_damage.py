"""Damage is local: a damaged object is named and skipped, and a channel is rebuilt from the audit log."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from textgate.components.contracts import DamagedError, ModelBundle
from textgate.components.storage import (
    REFERENCE,
    Registry,
    Store,
    follow_reference,
    plan_repair,
    reference_version,
    repair_channel,
    repaired_channel,
    roll_back,
)
from textgate.components.storage.restore import restore_version

WriteBundle = Callable[[Path, bytes], Path]
CHAMPION_KEY = "models/model/channels/champion.json"


@pytest.fixture
def bundles(tmp_path: Path, write_bundle: WriteBundle) -> list[Path]:
    return [write_bundle(tmp_path / f"bundle {n}", str(n).encode()) for n in range(3)]


@pytest.fixture
def versions(store: Store, bundles: list[Path]) -> list[str]:
    """Three champions of ``model``, one after the other."""
    registry = Registry(store)
    versions = [registry.publish("model", bundle) for bundle in bundles]
    for expected, version in zip([None, *versions], versions, strict=False):
        registry.update_channel("model", version, run=f"run-{version}", reason="better", expected=expected)
    return versions


def flip(store: Store, key: str) -> None:
    """Flip one bit of a stored object, in the first letter of its content that makes its JSON invalid."""
    stored = store.get(key)
    assert stored is not None
    store.put(key, bytes([stored.data[0] ^ 1]) + stored.data[1:])


def test_listing_and_history_name_damaged_objects_and_skip_them(
    store: Store, versions: list[str], bundles: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry(store)
    registry.publish("other", bundles[0])
    registry.update_channel("other", versions[0], run="run", reason="good", expected=None)
    middle = registry.history("model")[1].audit_key
    flip(store, CHAMPION_KEY)
    flip(store, middle)
    assert registry.models() == {"model": {}, "other": {"champion": versions[0]}}
    assert [update.version for update in registry.history("model")] == [versions[2], versions[0]]
    warnings = [record.message for record in caplog.records]
    assert len(warnings) == 2
    assert warnings[0].startswith(f"Warning: {store.uri(CHAMPION_KEY)} is not a channel update: ")
    assert warnings[0].endswith("it is skipped, and textgate models repair model --channel champion rebuilds it")
    assert warnings[1].startswith(f"Warning: {store.uri(middle)} is not a channel update: ")
    with pytest.raises(DamagedError, match="textgate models repair model --channel champion rebuilds it"):
        registry.channel("model")


def test_a_repair_points_at_the_last_version_of_the_audit_and_says_so_there(store: Store, versions: list[str]) -> None:
    registry = Registry(store)
    before = registry.history("model")
    flip(store, CHAMPION_KEY)
    planned, damaged = plan_repair(registry, "model", "champion"), store.get(CHAMPION_KEY)
    assert planned.version == versions[2]
    assert store.get(CHAMPION_KEY) == damaged
    assert repair_channel(registry, "model", "champion", run="repair") == planned
    update, *rest = registry.history("model")
    assert rest == before
    assert (update.version, update.after, update.run) == (versions[2], before[0].audit_key, "repair")
    assert update.reason == planned.message
    assert update.reason.startswith(f"champion rebuilt from the audit log to point at {versions[2]}, because s3://")
    # The entry of the damaged update may be missing, with one more than the last number that is known.
    assert update.sequence == before[0].sequence + 2
    assert plan_repair(registry, "model", "champion").message == f"champion is intact and points at {versions[2]}"
    assert roll_back(registry, "model", run="back", reason="worse").version == versions[1]


def test_a_repair_passes_over_versions_that_are_blocked_or_damaged(store: Store, versions: list[str]) -> None:
    registry, (first, second, third) = Registry(store), versions
    registry.blocks("model").add(third, "it is worse")
    store.put(f"models/model/versions/{second}/weights.bin", b"2")
    flip(store, CHAMPION_KEY)
    repair = repair_channel(registry, "model", "champion", run="repair")
    assert repair.version == first
    assert len(repair.passed_over) == 2
    assert repair.passed_over[0].startswith(f"{third} was rolled back on")
    assert "weights.bin has been changed" in repair.passed_over[1]
    assert registry.models() == {"model": {"champion": first}}


def test_a_channel_without_a_usable_audit_entry_is_replaced_by_the_next_promotion(
    store: Store, versions: list[str]
) -> None:
    registry = Registry(store)
    keys = [item.key for item in store.objects("models/model/audit/")]
    for key in (CHAMPION_KEY, *keys):
        flip(store, key)
    assert not plan_repair(registry, "model", "champion").complete
    assert repaired_channel(registry, "model", run="run") is None
    with pytest.raises(DamagedError, match="is not a channel update"):
        registry.update_channel("model", versions[0], run="run", reason="better", expected=versions[2])
    update = registry.update_channel("model", versions[0], run="run", reason="better", expected=None)
    assert registry.channel("model") == update
    assert update.sequence == 5


def test_a_damaged_reference_channel_does_not_stop_a_promotion(store: Store, versions: list[str]) -> None:
    registry = Registry(store)
    registry.update_channel("model", versions[0], run="move", reason="first", expected=None, channel=REFERENCE)
    flip(store, "models/model/channels/reference.json")
    assert reference_version(registry, "model") == versions[0]
    follow_reference(registry, "model", run="run", reason="it follows")
    assert registry.models() == {"model": {"champion": versions[2], "reference": versions[0]}}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("weights.bin", b"2"),
        ("weights.bin", b"longer"),
        ("weights.bin", None),
        ("bundle.json", b"{"),
        ("more.bin", b"2"),
    ],
)
def test_moves_refuse_a_damaged_version(store: Store, versions: list[str], name: str, content: bytes | None) -> None:
    """A bit is flipped, a file has another size or is missing, or is not in the manifest."""
    registry, first, champion = Registry(store), versions[0], versions[2]
    key = f"models/model/versions/{first}/{name}"
    if content is None:
        store.delete(key)
    else:
        store.put(key, content)
    with pytest.raises(DamagedError):
        roll_back(registry, "model", first, run="back", reason="worse")
    with pytest.raises(DamagedError):
        registry.update_channel("model", first, run="move", reason="r", expected=None, channel="challenger")
    assert registry.models() == {"model": {"champion": champion}}
    assert registry.blocks("model").all() == []


@pytest.mark.parametrize("metadata", [True, False])
def test_moves_refuse_a_large_file_with_another_sha256(
    store: Store, versions: list[str], bundles: list[Path], metadata: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file counts as large; it is read only if another program has written it, without its sha256."""
    monkeypatch.setattr("textgate.components.storage.damage._LARGEST_READ", 0)
    registry, key = Registry(store), f"models/model/versions/{versions[0]}/weights.bin"

    def write(data: bytes) -> None:
        if metadata:
            store.put(key, data)
        else:
            store.client.put_object(Bucket=store.bucket, Key=key, Body=data)

    right = (bundles[0] / "weights.bin").read_bytes()
    write(bytes([right[0] ^ 1]) + right[1:])
    with pytest.raises(DamagedError, match=r"weights\.bin has been changed: its sha256 is not that of the manifest"):
        registry.update_channel("model", versions[0], run="move", reason="r", expected=None, channel="challenger")
    write(right)
    registry.update_channel("model", versions[0], run="move", reason="r", expected=None, channel="challenger")
    assert registry.models()["model"]["challenger"] == versions[0]


def test_a_rollback_goes_past_a_damaged_version(store: Store, versions: list[str]) -> None:
    registry = Registry(store)
    store.put(f"models/model/versions/{versions[1]}/weights.bin", b"9")
    assert roll_back(registry, "model", run="back", reason="worse").version == versions[0]


def test_a_damaged_block_holds_until_it_is_lifted(store: Store, versions: list[str]) -> None:
    registry = Registry(store)
    roll_back(registry, "model", run="back", reason="worse")
    flip(store, f"models/model/blocks/{versions[2]}.json")
    block = registry.blocks("model").active(versions[2])
    assert block is not None
    assert block.message.startswith(f"{versions[2]} was rolled back on an unknown day because of a reason that cannot")
    assert [block.version for block in registry.blocks("model").all()] == [versions[2]]
    registry.unblock("model", versions[2], reason="better after all")
    assert registry.blocks("model").active(versions[2]) is None


def test_the_bundle_of_a_damaged_version_restores_it(
    store: Store, versions: list[str], bundles: list[Path], tmp_path: Path
) -> None:
    registry, version = Registry(store), versions[2]
    for name in ("weights.bin", "bundle.json"):
        store.put(f"models/model/versions/{version}/{name}", b"{}")
    restore_version(store, "model", bundles[2])
    assert registry.publish("model", bundles[2]) == version
    assert registry.download("model", version, tmp_path / "copy") == ModelBundle.load(bundles[2])


class _FlipsOnce:
    """S3 client whose first answer for a key has a flipped bit."""

    def __init__(self, client: Any, key: str) -> None:
        self._client, self._key = client, key

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_object(self, **arguments: Any) -> Any:
        response = self._client.get_object(**arguments)
        if arguments["Key"] == self._key:
            self._key = ""
            data = response["Body"].read()
            response["Body"] = _Body(bytes([data[0] ^ 1]) + data[1:])
        return response


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        return self._data


@pytest.fixture(params=[CHAMPION_KEY, "weights.bin", "bundle.json"])
def flipping(request: pytest.FixtureRequest, store: Store, versions: list[str]) -> Registry:
    key = request.param if "/" in request.param else f"models/model/versions/{versions[2]}/{request.param}"
    return Registry(replace(store, client=_FlipsOnce(store.client, key)))


def test_a_bit_that_is_flipped_on_the_way_is_no_damage(flipping: Registry, versions: list[str]) -> None:
    champion = flipping.channel("model")
    assert champion is not None
    flipping.verify("model", versions[2])


def test_a_bit_that_is_flipped_in_a_download_is_no_damage(
    flipping: Registry, versions: list[str], tmp_path: Path
) -> None:
    assert flipping.download("model", versions[2], tmp_path / "downloaded").fingerprint.startswith(versions[2])
