"""What a run prints about its score and decision, and its exit code."""

import json

import pytest

from textgate.components.contracts import Estimate, GateDecision, JudgedScore, Promotion, Rule, RunRecord, SplitUses
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.losses import Loss, RejectedExample
from textgate.pipelines.cli.run_result import data_json, exit_on_reject, run_lines

SCORE = JudgedScore(
    metric="f1",
    title="F1 of 'fraud'",
    value=Estimate(value=0.12, low=0.05, high=0.31),
    rows=300,
    constant_label="fraud",
    constant=0.095,
)


def record(
    *failed: str, promoted: bool = False, score: JudgedScore | None = SCORE, names: tuple[str, ...] = ("min_f1",)
) -> RunRecord:
    rules = [
        Rule(name=name, threshold=None, value=None, passed=name not in failed, message=f"about {name}")
        for name in dict.fromkeys([*names, *failed])
    ]
    decision = GateDecision(gate="served", bundle="b", dataset="d", score=score, rules=rules)
    promotion = Promotion(model="mails", version="v2", previous=None) if promoted else None
    return RunRecord(
        run="run",
        recipe={"model": "mails"},
        state="SUCCEEDED",
        error=None,
        decisions=[decision],
        promotion=promotion,
        finished="2026-11-27T07:00:00+00:00",
    )


def test_the_score_is_shown_with_metric_class_rows_and_baselines() -> None:
    lines = dict(run_lines(record()))
    assert lines["test"] == "F1 of 'fraud' 0.1200 [0.0500, 0.3100] (95 % interval) on 300 texts"
    assert lines["baselines"] == "0.0950 by always answering 'fraud'"
    baseline = Estimate(value=0.2, low=0.1, high=0.3)
    complete = SCORE.model_copy(update={"baseline": baseline, "validation": 0.25})
    lines = dict(run_lines(record(score=complete)))
    assert lines["test"].endswith("on 300 texts; 0.2500 on the validation split")
    assert lines["baselines"].endswith(", 0.2000 [0.1000, 0.3000] by TF-IDF + logistic regression")


def test_earlier_uses_of_the_test_texts_are_shown_beside_the_score() -> None:
    uses = SplitUses(candidates=12, full_uses=9.42, corrected=0.1034)
    lines = run_lines(record(score=SCORE.model_copy(update={"uses": uses})))
    assert lines[1] == (
        "uses",
        "12 other candidates were judged on these test texts before, worth 9.4 full uses; corrected for selection: "
        "0.1034",
    )


def test_the_gap_to_the_validation_split_is_shown_in_words() -> None:
    gap = Estimate(value=0.15, low=0.02, high=0.28)
    lines = dict(run_lines(record(score=SCORE.model_copy(update={"validation": 0.25, "gap": gap}))))
    assert "validation" not in lines["test"]
    assert lines["gap"] == (
        "the trained model has F1 of 'fraud' 0.2500 on the validation split and 0.1000 on the test split: the gap of "
        "+0.1500 [+0.0200, +0.2800] is larger than chance explains"
    )


def test_a_run_without_a_decision_has_no_score() -> None:
    nothing = record().model_copy(update={"decisions": []})
    assert run_lines(nothing) == [("decision", "no model reached the gate"), ("promoted", "nothing")]


def test_a_decision_of_an_earlier_version_is_shown_without_a_score() -> None:
    assert [title for title, _ in run_lines(record(score=None))] == ["decision", "promoted"]


@pytest.mark.parametrize(
    ("failed", "promoted", "rejected"),
    [
        ((), True, False),
        (("min_f1",), False, True),
        (("differs_from_champion",), False, False),
        (("differs_from_champion", "min_f1"), False, True),
    ],
)
def test_only_a_rejected_model_makes_fail_on_reject_fail(
    failed: tuple[str, ...], promoted: bool, rejected: bool
) -> None:
    run = record(*failed, promoted=promoted)
    exit_on_reject(run, fail_on_reject=False)
    if rejected:
        with pytest.raises(SystemExit, match="3"):
            exit_on_reject(run, fail_on_reject=True)
    else:
        exit_on_reject(run, fail_on_reject=True)


def test_a_run_without_a_decision_counts_as_rejected() -> None:
    run = record().model_copy(update={"decisions": []})
    with pytest.raises(SystemExit, match="3"):
        exit_on_reject(run, fail_on_reject=True)


def test_the_account_of_the_rows_is_part_of_the_json() -> None:
    loss = Loss(
        reason="empty text", label="a", split="all", rows=2, examples=[RejectedExample(id="a.csv:1", text=None)]
    )
    dataset = DatasetManifest(
        source="a.csv",
        labels=["a", "b"],
        counts={"train": {"a": 2, "b": 1}, "test": {"a": 1}},
        rows_in=6,
        rows_filtered=3,
        rejected={"empty text": 2},
        losses=[loss],
        warnings=["about a label"],
        fingerprint="f" * 64,
    )
    assert json.loads(json.dumps(data_json(dataset))) == {
        "rows_in": 6,
        "rows_filtered": 3,
        "rows_kept": 4,
        "kept": {"train": {"a": 2, "b": 1}, "test": {"a": 1}},
        "rejected": {"empty text": 2},
        "losses": [loss.model_dump()],
        "warnings": ["about a label"],
    }
