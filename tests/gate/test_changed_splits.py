"""Champions are compared on texts that they were not trained on, whatever changed between two runs of a model."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate.recomputation import numbers, plain
from gate.reviews import Line, fresh_f1, predicted_f1, reviews, write
from gate.run_steps import recipe, run

from textgate.components.contracts import Dataset, Evaluation, GateDecision, ModelBundle
from textgate.components.gate import gate
from textgate.components.storage import Registry, Store

GATE = {"min_f1": 0.0, "beats_constant": False, "min_test_rows": 10}


def only(lines: Iterable[Line], label: str) -> list[Line]:
    return [line for line in lines if line["label"] == label]


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Masks of the texts on which gate 2 compares with a champion, in the order of the decisions."""
    masks: list[np.ndarray] = []
    judge_served = gate.judge_served

    def record(*arguments: Any, **options: Any) -> GateDecision:
        masks.extend(each.unseen for each in arguments if isinstance(each, gate.Champion) and each.unseen is not None)
        return judge_served(*arguments, **options)

    monkeypatch.setattr(gate, "judge_served", record)
    return masks


def learned(folder: Path) -> set[str]:
    """Return what the model of a run was trained and validated on, from the texts of its dataset."""
    dataset = Dataset.open(folder / "dataset")
    return {plain(row.text) for split in ("train", "validation") for row in dataset.rows(split)}


FIRST = reviews(0, 2_000)
RARE = reviews(0, 2_000, threshold=5.0)
GROWN_RARE = [*RARE, *only(reviews(2_000, 3_500), "good")]
GIVEN = [{**line, "part": "test"} for line in FIRST[:500]]
BALANCED = {"preprocess": {"balance": True}}
WITH_TEST = {"source": {"test": "part == test"}}


@pytest.mark.parametrize(
    ("before", "sections_before", "after", "sections_after", "share"),
    [
        pytest.param(FIRST, {}, reviews(0, 3_000), {}, 0.0, id="growing"),
        pytest.param(FIRST, {}, FIRST[:1_000], {}, 0.0, id="shrinking"),
        pytest.param(FIRST, {}, reviews(1_000, 3_000), {}, 0.0, id="sliding"),
        pytest.param(RARE, BALANCED, GROWN_RARE, BALANCED, 0.0, id="balanced with a growing rare class"),
        pytest.param(FIRST, {}, FIRST, {"preprocess": {"test": 0.3}}, 0.5, id="test .15 to .3"),
        pytest.param(RARE, BALANCED, RARE, {}, 0.0, id="balance true to false"),
        pytest.param(FIRST, {}, FIRST[500:] + GIVEN, WITH_TEST, 0.85, id="cut to given test split"),
        pytest.param(FIRST, {}, FIRST, {"preprocess": {"normalizer": {"lowercase": True}}}, 0.0, id="lowercase"),
        pytest.param(FIRST, {}, FIRST, {"preprocess": {"seed": 14}}, 0.85, id="another seed"),
    ],
)
def test_no_compared_text_was_trained_on(
    before: list[Line],
    sections_before: dict[str, Any],
    after: list[Line],
    sections_after: dict[str, Any],
    share: float,
    unseen: list[np.ndarray],
    store: Store,
    tmp_path: Path,
) -> None:
    """``share`` is that of the new test split on which the champion was trained or validated."""
    decisions = []
    for name, lines, sections in (("first", before, sections_before), ("second", after, sections_after)):
        data = write(tmp_path / f"{name}.jsonl", lines)
        source = {"uri": str(data), **sections.get("source", {})}
        preprocess = {"test": 0.15, **sections.get("preprocess", {})}
        train = {"family": "linear", "min_df": 1, "C": 1 if name == "first" else 2}
        settings = recipe(data, source=source, preprocess=preprocess, train=train, gate=GATE)
        decisions.append(run(settings, tmp_path / name, store, exported=False))
    assert decisions[0].verdict == "promote", decisions[0].message
    (mask,) = unseen
    test = [plain(text) for text in Evaluation.open(tmp_path / "second" / "evaluation-served").texts]
    known = learned(tmp_path / "first")
    assert not {text for text, compared in zip(test, mask, strict=True) if compared} & known
    assert np.mean([text in known for text in test]) == pytest.approx(share, abs=0.07 if share else 0)
    # No more texts are left out than necessary.
    assert mask.sum() == sum(text not in known for text in test) >= 25
    rules = {rule.name: rule for rule in decisions[1].rules}
    assert numbers(rules["margin"].message.split("judged on")[1])[:2] == [mask.sum(), len(test)]
    assert rules["held_out"].passed


WINNER = {"family": "linear", "ngrams": [1, 1], "min_df": 1, "C": 10}
OVERFITTED = {"family": "linear", "ngrams": [1, 3], "min_df": 1, "C": 1}


def test_a_winner_is_promoted_over_a_champion_that_was_trained_on_half_of_the_new_test_split(
    store: Store, tmp_path: Path
) -> None:
    data = write(tmp_path / "data.jsonl", reviews(0, 5_000))
    decisions = {}
    for name, seed, train in (("champion", 14, OVERFITTED), ("candidate", 13, WINNER)):
        settings = recipe(data, preprocess={"test": 0.5, "seed": seed}, train=train, gate=GATE)
        decisions[name] = run(settings, tmp_path / name, store, exported=False)
    # The champion is worse by 0.067, but on this test split, half of which it knows, it looks better.
    champion, candidate = tmp_path / "champion" / "served", tmp_path / "candidate" / "served"
    assert fresh_f1(candidate) - fresh_f1(champion) == pytest.approx(0.067, abs=0.02)
    test = [{"text": row.text, "label": row.label} for row in Dataset.open(tmp_path / "candidate/dataset").rows("test")]
    assert predicted_f1(champion, test) > predicted_f1(candidate, test) + 0.03
    margin = next(rule for rule in decisions["candidate"].rules if rule.name == "margin")
    compared, rows = numbers(margin.message.split("judged on")[1])[:2]
    assert compared < 0.55 * rows
    assert decisions["candidate"].verdict == "promote", decisions["candidate"].message
    channel = Registry(store).channel("proof")
    assert channel is not None
    assert channel.version.startswith(ModelBundle.load(candidate).fingerprint[:12])


def test_an_ensemble_of_members_that_know_the_test_texts_is_rejected_and_its_card_says_so(
    store: Store, tmp_path: Path
) -> None:
    data = write(tmp_path / "data.jsonl", reviews(0, 2_000))
    members = {}
    for name, c in (("one", 1_000), ("two", 10_000)):
        train = {**OVERFITTED, "C": c}
        settings = recipe(data, model=name, preprocess={"seed": 14}, train=train, gate=GATE)
        run(settings, tmp_path / name, store, exported=False)
        members[name] = tmp_path / name / "served"
    train = {"family": "ensemble", "members": [{"bundle": name, "weight": 1} for name in members]}
    settings = recipe(data, train=train, gate=GATE)
    decision = run(settings, tmp_path / "both", store, bundles=members, exported=False)
    (rule,) = (rule for rule in decision.rules if not rule.passed)
    assert rule.name == "held_out"
    test = [plain(text) for text in Evaluation.open(tmp_path / "both" / "evaluation-served").texts]
    known = learned(tmp_path / "one")
    seen = sum(text in known for text in test)
    assert seen > 0.7 * len(test)
    assert rule.message == (
        f"it, its members or its teacher were trained or validated on {seen:,} of the {len(test):,} test texts, so its "
        "scores are too high: train them on this dataset"
    )
    assert decision.score is not None
    assert decision.score.value.low > fresh_f1(tmp_path / "both" / "served") + 0.05
    assert Registry(store).channel("proof") is None
    card = (tmp_path / "both" / "card.md").read_text()
    assert "Rejected by the gate on the served model" in card
    assert rule.message in " ".join(card.replace("\\", "").split())
    assert "not trained on" not in card
