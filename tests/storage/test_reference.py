"""The reference follows the decisions that promote champions, also if a process dies, and skips blocked versions."""

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
from storage.dying_client import DiesBeforeWrite

from textgate.components.contracts import GateDecision, InputError, ModelBundle, NextReference, Rule
from textgate.components.promote.promote import promote_bundle
from textgate.components.storage import REFERENCE, ModelRef, Registry, Store, reference_version, roll_back


class WriteBundle(Protocol):
    def __call__(self, folder: Path, content: bytes) -> Path: ...


@pytest.fixture
def bundles(tmp_path: Path, write_bundle: WriteBundle) -> list[Path]:
    return [write_bundle(tmp_path / f"bundle{index}", str(index).encode()) for index in range(4)]


def version_of(bundle: Path) -> str:
    return ModelBundle.load(bundle).fingerprint[:12]


def promote(registry: Registry, bundle: Path, run: str, *, reference: Path | None, model: str = "model") -> str:
    """Promote a bundle by a decision that names a reference; None for a decision of an earlier version."""
    champion = registry.channel(model)
    decision = GateDecision(
        gate="served",
        bundle=ModelBundle.load(bundle).fingerprint,
        dataset="data",
        champion=champion.version if champion else None,
        reference=NextReference(version=version_of(reference), message="it was shown") if reference else None,
        rules=[Rule.model_validate({"name": "a", "threshold": None, "value": None, "passed": True, "message": "good"})],
    )
    return promote_bundle(registry, model, bundle, decision, run).version


def test_the_channel_follows_the_decisions(store: Store, bundles: list[Path]) -> None:
    registry = Registry(store)
    first = promote(registry, bundles[0], "run-1", reference=bundles[0])
    second = promote(registry, bundles[1], "run-2", reference=bundles[0])
    assert registry.models() == {"model": {"champion": second, "reference": first}}
    third = promote(registry, bundles[2], "run-3", reference=bundles[2])
    assert registry.resolve(ModelRef.parse("model@reference")) == third
    moves = [(update.version, update.run) for update in registry.history("model") if update.channel == REFERENCE]
    assert moves == [(third, "run-3"), (first, "run-1")]


def test_the_reference_changes_with_the_champion_wherever_the_process_is_killed_and_a_retry_completes_it(
    store: Store, bundles: list[Path]
) -> None:
    """The writes: two files, then for each channel the old audit entry, the channel and the new audit entry."""
    registry, new = Registry(store), version_of(bundles[1])
    for writes in range(8):
        model = f"model-{writes}"
        old = promote(registry, bundles[0], "run-1", reference=bundles[0], model=model)
        dying = Registry(replace(store, client=DiesBeforeWrite(store.client, writes)))
        with pytest.raises(KeyboardInterrupt):
            promote(dying, bundles[1], "run-2", reference=bundles[1], model=model)
        expected = {"champion": old if writes < 4 else new, "reference": old if writes < 7 else new}
        assert registry.models()[model] == expected
        assert reference_version(registry, model) == expected["champion"]
        promote(registry, bundles[1], "run-2", reference=bundles[1], model=model)
        assert registry.models()[model] == {"champion": new, "reference": new}
        assert [(update.version, update.channel) for update in registry.history(model)] == [
            *((new, "reference"), (new, "champion"), (old, "reference"), (old, "champion"))
        ]


def test_the_next_promotion_moves_a_channel_that_a_killed_process_left_behind(
    store: Store, bundles: list[Path]
) -> None:
    registry = Registry(store)
    old = promote(registry, bundles[0], "run-1", reference=bundles[0])
    with pytest.raises(KeyboardInterrupt):
        promote(
            Registry(replace(store, client=DiesBeforeWrite(store.client, 4))), bundles[1], "run-2", reference=bundles[1]
        )
    assert registry.models()["model"] == {"champion": version_of(bundles[1]), "reference": old}
    third = promote(registry, bundles[2], "run-3", reference=bundles[1])
    assert registry.models()["model"] == {"champion": third, "reference": version_of(bundles[1])}


def test_a_move_by_hand_holds_until_a_later_promotion(store: Store, bundles: list[Path]) -> None:
    registry = Registry(store)
    first = promote(registry, bundles[0], "run-1", reference=bundles[0])
    second = promote(registry, bundles[1], "run-2", reference=bundles[0])
    registry.update_channel("model", second, run="move", reason="cheaper", expected=first, channel=REFERENCE)
    assert reference_version(registry, "model") == second
    roll_back(registry, "model", first, run="back", reason="worse")
    assert reference_version(registry, "model") == first


def test_a_rollback_restores_the_last_reference_that_is_not_blocked(store: Store, bundles: list[Path]) -> None:
    registry = Registry(store)
    versions = [
        promote(registry, bundle, f"run-{index}", reference=reference)
        for index, (bundle, reference) in enumerate(zip(bundles, [bundles[0], bundles[0], *bundles[2:]], strict=True))
    ]
    roll_back(registry, "model", run="back", reason="worse")
    assert registry.models()["model"] == {"champion": versions[2], "reference": versions[2]}
    roll_back(registry, "model", run="back", reason="worse, too")
    assert registry.models()["model"] == {"champion": versions[1], "reference": versions[0]}
    with pytest.raises(InputError, match="was rolled back on"):
        registry.update_channel("model", versions[3], run="move", reason="r", expected=versions[0], channel=REFERENCE)
    registry.unblock("model", versions[3], reason="by mistake")
    assert reference_version(registry, "model") == versions[0]


def test_a_rollback_that_is_killed_before_it_moves_the_reference_leaves_no_blocked_reference(
    store: Store, bundles: list[Path]
) -> None:
    registry = Registry(store)
    first = promote(registry, bundles[0], "run-1", reference=bundles[0])
    promote(registry, bundles[1], "run-2", reference=bundles[1])
    # The writes: the block, the audit entry of the old update, the channel, the audit entry of the rollback.
    with pytest.raises(KeyboardInterrupt):
        roll_back(
            Registry(replace(store, client=DiesBeforeWrite(store.client, 4))), "model", run="back", reason="worse"
        )
    assert registry.models()["model"] == {"champion": first, "reference": version_of(bundles[1])}
    assert reference_version(registry, "model") == first


def test_without_a_named_reference_it_is_the_champion(store: Store, bundles: list[Path]) -> None:
    registry = Registry(store)
    assert reference_version(registry, "model") is None
    first = promote(registry, bundles[0], "run-1", reference=None)
    second = promote(registry, bundles[1], "run-2", reference=None)
    assert registry.models() == {"model": {"champion": second}}
    assert reference_version(registry, "model") == second
    # A rollback in a registry of an earlier version writes no reference.
    roll_back(registry, "model", run="back", reason="worse")
    assert registry.models() == {"model": {"champion": first}}
    third = promote(registry, bundles[2], "run-3", reference=bundles[0])
    assert registry.models() == {"model": {"champion": third, "reference": first}}
