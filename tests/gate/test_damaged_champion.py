"""A damaged champion is replaced by a model that passes, is named in the decision, and does not lower the bar."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gate.evaluations import failed
from gate.test_reference import Promotions, rule

from textgate.components.contracts import InputError, StoreError
from textgate.components.storage import Registry, Store, roll_back


@pytest.fixture
def promotions(tmp_path: Path, store: Store) -> Promotions:
    return Promotions(tmp_path, store)


def damage(promotions: Promotions, wrong: int, name: str = "model.safetensors") -> str:
    """Damage a file of the version that is wrong on this many texts; return the version."""
    version = promotions.version(wrong)
    promotions.registry.store.put(f"models/model/versions/{version}/{name}", b"{}")
    return version


@pytest.mark.parametrize("name", ["model.safetensors", "bundle.json"])
def test_a_damaged_champion_is_replaced_and_the_one_before_it_is_compared_with(
    promotions: Promotions, name: str
) -> None:
    promotions.run(100)
    promotions.run(50)
    champion, before = damage(promotions, 50, name), promotions.version(100)
    worse = promotions.judge(150)
    assert failed(worse) == ["margin"]
    assert f"differs from champion {before} by -0.0500" in rule(worse, "margin")
    decision = promotions.run(95)
    assert decision.champion == champion
    message = rule(decision, "champion_damaged")
    assert message.startswith("the champion is damaged and may be replaced (s3://")
    assert message.endswith(f"; the model is compared with the champion {before} before it")
    assert rule(decision, "reference_margin").startswith(f"the reference {champion} cannot be compared with: ")
    assert promotions.channels == dict.fromkeys(("champion", "reference"), promotions.version(95))
    newest = next(update for update in promotions.registry.history("model") if update.channel == "champion")
    assert newest.previous == champion
    assert message in newest.reason


@pytest.mark.slow
def test_the_reference_stays_if_the_champion_after_it_is_damaged(promotions: Promotions) -> None:
    promotions.run(100)
    assert promotions.run(110).passed
    damaged = damage(promotions, 110)
    assert failed(promotions.judge(121)) == ["margin"]
    decision = promotions.run(105)
    assert decision.champion == damaged
    assert decision.reference is not None
    assert decision.reference.version == promotions.version(100)


@pytest.mark.slow
def test_the_champion_before_a_damaged_one_is_promoted_again(promotions: Promotions) -> None:
    promotions.run(100)
    promotions.run(95)
    damage(promotions, 95)
    decision = promotions.run(100)
    assert decision.passed
    assert promotions.channels["champion"] == promotions.version(100)


def test_a_run_that_yields_the_damaged_champion_again_restores_it(promotions: Promotions, tmp_path: Path) -> None:
    promotions.run(100)
    for name in ("model.safetensors", "bundle.json"):
        version = damage(promotions, 100, name)
        decision = promotions.run(100)
        assert rule(decision, "champion_damaged").endswith(
            "no champion before it can be compared with, so that only the other rules judge the model"
        )
        promotions.registry.download("model", version, tmp_path / name)
    assert promotions.channels == dict.fromkeys(("champion", "reference"), version)
    assert promotions.run(100).unchanged


def test_the_reference_is_compared_with_if_the_champion_has_no_other_before_it(promotions: Promotions) -> None:
    promotions.run(100)
    promotions.registry.update_channel(
        *("model", promotions.registry.publish("model", promotions.bundle(50))),
        run="move",
        reason="better",
        expected=promotions.version(100),
        channel="reference",
    )
    damage(promotions, 100)
    decision = promotions.judge(105)
    assert failed(decision) == ["margin"]
    assert f"differs from champion {promotions.version(50)} by -0.05" in rule(decision, "margin")


@pytest.mark.slow
def test_a_blocked_champion_does_not_stand_in_for_a_damaged_one(promotions: Promotions) -> None:
    promotions.run(100)
    promotions.run(40)
    roll_back(promotions.registry, "model", run="back", reason="leaked")
    promotions.run(95)
    damage(promotions, 95)
    decision = promotions.judge(105)
    assert rule(decision, "champion_damaged").endswith(
        f"the model is compared with the champion {promotions.version(100)} before it"
    )
    assert decision.passed


def test_a_damaged_champion_channel_is_rebuilt_before_the_comparison(promotions: Promotions) -> None:
    promotions.run(100)
    champion = promotions.version(100)
    promotions.registry.store.put("models/model/channels/champion.json", b"{")
    assert failed(promotions.judge(150)) == ["margin"]
    repaired = promotions.registry.channel("model")
    assert repaired is not None
    assert (repaired.version, repaired.run) == (champion, "run-2")
    decision = promotions.run(95)
    assert (decision.champion, "champion_damaged" in [each.name for each in decision.rules]) == (champion, False)


def test_a_champion_channel_beyond_repair_is_named_and_the_reference_is_compared_with(promotions: Promotions) -> None:
    promotions.run(100)
    store = promotions.registry.store
    for item in store.objects("models/model/audit/"):
        if "-champion-" in item.key:
            store.put(item.key, b"{")
    store.put("models/model/channels/champion.json", b"{")
    assert failed(promotions.judge(150)) == ["margin"]
    decision = promotions.run(95)
    assert decision.champion is None
    assert "the champion channel of model cannot be read" in rule(decision, "champion_damaged")
    assert promotions.channels["champion"] == promotions.version(95)


class _AnswersWith500:
    """S3 client of a store that fails for keys that contain a text."""

    def __init__(self, client: Any, text: str) -> None:
        self._client, self._text = client, text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_object(self, **arguments: Any) -> Any:
        if self._text in arguments["Key"]:
            raise StoreError("the store answered InternalError")
        return self._client.get_object(**arguments)

    def download_file(self, bucket: str, key: str, path: str) -> None:
        if self._text in key:
            raise StoreError("the store answered InternalError")
        self._client.download_file(bucket, key, path)


@pytest.mark.parametrize("text", ["channels/champion", "model.safetensors", "bundle.json"])
def test_an_outage_of_the_store_is_no_damage(promotions: Promotions, text: str) -> None:
    promotions.run(100)
    store = promotions.registry.store
    promotions.registry = Registry(replace(store, client=_AnswersWith500(store.client, text)))
    with pytest.raises(InputError, match="InternalError"):
        promotions.judge(95)
    promotions.registry = Registry(store)
    assert promotions.channels["champion"] == promotions.version(100)
