"""Updates of a model are ordered by the chain that they form, and rollbacks walk it back."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from textgate.components.contracts import ConflictError, GateDecision, InputError, NextReference, Rule
from textgate.components.storage import (
    REFERENCE,
    ChannelUpdate,
    Registry,
    Store,
    follow_reference,
    reference_version,
    roll_back,
)
from textgate.components.storage import authorship as authorship_module

WriteBundle = Callable[[Path, bytes], Path]


@pytest.fixture
def versions(store: Store, tmp_path: Path, write_bundle: WriteBundle) -> list[str]:
    registry = Registry(store)
    return [registry.publish("model", write_bundle(tmp_path / str(n), str(n).encode())) for n in range(4)]


def promote(registry: Registry, version: str, reference: str | None = None) -> ChannelUpdate:
    """Make a version champion by a decision, as a run does."""
    champion = registry.channel("model")
    decision = GateDecision(
        gate="served",
        bundle=version,
        dataset="data",
        reference=NextReference(version=reference, message="it was shown") if reference else None,
        rules=[Rule(name="min_f1", threshold=None, value=None, passed=True, message="good")],
    )
    expected = champion.version if champion else None
    return registry.update_channel(
        "model", version, run=f"run-{version}", reason="better", expected=expected, decision=decision
    )


def champions(registry: Registry) -> list[str]:
    return [update.version for update in registry.history("model") if update.channel == "champion"]


class Clock:
    """Clock of one mover."""

    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead

    def now(self, zone: object) -> datetime:
        return datetime.now(UTC) + self.ahead


def test_a_clock_that_is_ahead_does_not_keep_its_move_on_top(
    store: Store, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(store)
    for version, minutes in zip(versions, (0, 10, 0, -10), strict=True):
        with monkeypatch.context() as patch:
            patch.setattr(authorship_module, "datetime", Clock(timedelta(minutes=minutes)))
            promote(registry, version)
    assert champions(registry) == versions[::-1]
    newest_first = registry.history("model")
    assert [update.sequence for update in newest_first] == [4, 3, 2, 1]
    assert [update.after for update in newest_first] == [*(update.audit_key for update in newest_first[1:]), None]
    assert sorted(item.key for item in store.objects("models/model/audit/")) == [
        update.audit_key for update in reversed(newest_first)
    ]


def test_the_reference_that_was_named_last_counts_whatever_the_clocks_say(
    store: Store, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, first = Registry(store), versions[0]
    with monkeypatch.context() as patch:
        patch.setattr(authorship_module, "datetime", Clock(timedelta(minutes=10)))
        promote(registry, first, reference=first)
        follow_reference(registry, "model", run="run-1", reason="first")
    registry.update_channel("model", versions[1], run="move", reason="cheaper", expected=first, channel=REFERENCE)
    assert reference_version(registry, "model") == versions[1]
    promote(registry, versions[2], reference=first)
    assert reference_version(registry, "model") == first


def test_rollbacks_walk_back_and_never_forward(store: Store, versions: list[str]) -> None:
    registry, (first, second, third, fourth) = Registry(store), versions
    for version in versions:
        promote(registry, version)
    assert roll_back(registry, "model", second, run="back", reason="worse").version == second
    # The third was champion after the second, so it is not what was before it.
    assert roll_back(registry, "model", run="back", reason="worse").version == first
    registry.unblock("model", second, reason="by mistake")
    registry.unblock("model", fourth, reason="by mistake")
    with pytest.raises(InputError, match=f"has had no champion before {first}"):
        roll_back(registry, "model", run="back", reason="worse")
    assert roll_back(registry, "model", third, run="back", reason="best of all").version == third
    assert champions(registry) == [third, first, second, *reversed(versions)]


def test_a_rollback_is_made_once_and_refused_if_another_champion_was_made(store: Store, versions: list[str]) -> None:
    registry, (first, second, third, _) = Registry(store), versions
    for version in (first, second):
        promote(registry, version)
    done = roll_back(registry, "model", run="back", reason="worse", replaced=second)
    before = registry.history("model")
    assert roll_back(registry, "model", run="again", reason="worse", replaced=second) == done
    assert roll_back(registry, "model", first, run="again", reason="worse") == done
    assert registry.history("model") == before
    promote(registry, third)
    with pytest.raises(ConflictError, match=f"the champion of model is {third}, no longer {second}") as raised:
        roll_back(registry, "model", run="back", reason="worse", replaced=second)
    assert raised.value.exit_code == 5
    assert registry.blocks("model").active(third) is None
    assert registry.channel("model").version == third  # type: ignore[union-attr]


def test_four_rollbacks_at_once_are_one(store: Store, versions: list[str]) -> None:
    registry = Registry(store)
    for version in versions:
        promote(registry, version)
    start, restored = threading.Barrier(4), []

    def work() -> None:
        start.wait()
        restored.append(roll_back(registry, "model", run="back", reason="worse", replaced=versions[3]).version)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert restored == [versions[2]] * 4
    assert champions(registry) == [versions[2], *reversed(versions)]


def test_a_version_that_lost_a_race_is_not_restored(store: Store, versions: list[str]) -> None:
    registry, (first, second, lost, _) = Registry(store), versions
    for version in (first, second):
        promote(registry, version)
    with pytest.raises(ConflictError, match="has been moved by another run"):
        registry.update_channel("model", lost, run="late", reason="better", expected=first)
    with pytest.raises(InputError, match=f"{lost} was never champion of model"):
        roll_back(registry, "model", lost, run="back", reason="worse")
    assert registry.blocks("model").all() == []


def test_updates_of_textgate_0_1_come_first_in_the_order_of_their_time(store: Store, versions: list[str]) -> None:
    registry = Registry(store)
    old = [
        ChannelUpdate(
            model="model",
            channel="champion",
            version=version,
            previous=previous,
            run="run",
            actor="a",
            reason="r",
            time=time,
        )
        for version, previous, time in (
            (versions[1], versions[0], "2026-11-27T10:00:00.000000+00:00"),
            (versions[0], None, "2026-11-26T10:00:00.000000+00:00"),
        )
    ]
    for update in old:
        assert "sequence" not in update.model_dump_json()
        store.put(update.audit_key, update.model_dump_json().encode())
    assert old[0].audit_key == "models/model/audit/2026-11-27T100000.000000+0000-run.json"
    store.put("models/model/channels/champion.json", old[0].model_dump_json().encode())
    new = promote(registry, versions[2])
    assert (new.sequence, new.after) == (1, old[0].audit_key)
    assert registry.history("model") == [new, *old]
