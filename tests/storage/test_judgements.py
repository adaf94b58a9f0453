"""Records of judgements in the store."""

import pytest

from textgate.components.contracts import Estimate
from textgate.components.storage import Judgement, Registry, Store


def judgement(run: str, time: str, *bundles: str) -> Judgement:
    return Judgement(
        run=run,
        time=time,
        bundles=list(bundles),
        metric="f1",
        title="F1 of 'good'",
        value=Estimate(value=0.8, low=0.7, high=0.9),
        noise=0.01,
        rows=300,
        sketch=["00000000000000ff"],
    )


def test_judgements_are_read_newest_first_and_the_last_of_a_run_replaces_the_earlier_ones(store: Store) -> None:
    judgements = Registry(store).judgements("model")
    first = judgement("run-b", "2026-11-27T10:00:00.000000+00:00", "trained", "served")
    second = judgement("run-a", "2026-11-28T10:00:00.000000+00:00", "other")
    _, first, second = map(judgements.save, (first.model_copy(update={"bundles": ["trained"]}), first, second))
    Registry(store).judgements("model-2").save(second)
    assert judgements.all() == [second, first]


def test_the_clocks_of_runs_do_not_order_their_judgements(store: Store) -> None:
    judgements = Registry(store).judgements("model")
    ahead = judgements.save(judgement("run-a", "2026-11-28T10:00:00.000000+00:00", "served"))
    later = judgements.save(judgement("run-b", "2026-11-27T10:00:00.000000+00:00", "served"))
    assert judgements.earlier("run-c", ["other"]) == ([later], 0)
    assert judgements.all() == [later, ahead]


def test_a_damaged_judgement_is_named_and_counted_if_it_is_of_another_run(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    judgements = Registry(store).judgements("model")
    first = judgements.save(judgement("run-a", "2026-11-28T10:00:00.000000+00:00", "served"))
    store.put("judgements/model/run-b.json", b"{]")
    assert judgements.all() == [first]
    assert judgements.earlier("run-c", ["other"]) == ([first], 1)
    assert judgements.earlier("run-b", ["other"]) == ([first], 0)
    assert f"{store.uri('judgements/model/run-b.json')} is not a judgement" in caplog.text


def test_a_model_whose_candidates_were_all_rejected_is_not_listed(store: Store) -> None:
    registry = Registry(store)
    registry.judgements("model").save(judgement("run", "2026-11-27T10:00:00.000000+00:00", "trained"))
    assert registry.models() == {}
