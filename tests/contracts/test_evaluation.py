"""Evaluation, GateDecision and RunRecord are read as they were written."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import (
    Estimate,
    Evaluation,
    EvaluationManifest,
    GateDecision,
    InputError,
    Promotion,
    Rule,
    RunRecord,
)

HALF = Estimate(value=0.5, low=0.4, high=0.6)


def evaluation(texts: list[str], probabilities: np.ndarray) -> Evaluation:
    manifest = EvaluationManifest(
        bundle="b",
        runtime="onnx",
        dataset="d",
        split="test",
        labels=["no", "yes"],
        metrics={"f1": HALF, "accuracy": HALF},
        per_class={},
        confusion=[[1, 1], [1, 1]],
        calibration_error_before=0.1,
        rows_per_second=10.0,
    )
    classes = np.arange(len(texts), dtype=np.int64) % 2
    return Evaluation(manifest, [str(number) for number in range(len(texts))], texts, classes, probabilities)


def rule(passed: bool, message: str) -> Rule:
    return Rule(name="min_f1", threshold=0.5, value=HALF, passed=passed, message=message)


def decision(*rules: Rule) -> GateDecision:
    return GateDecision(gate="served", bundle="b", dataset="d", rules=list(rules))


@settings(deadline=None, max_examples=25)
@given(rows=st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.floats(0, 1)), max_size=20))
def test_an_evaluation_is_read_bit_by_bit_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float]]
) -> None:
    probabilities = np.array([[1 - score, score] for _, score in rows]).reshape(-1, 2)
    written = evaluation([text for text, _ in rows], probabilities)
    path = tmp_path_factory.mktemp("evaluations") / "evaluation"
    written.write(path)
    read = Evaluation.open(path)
    assert (read.manifest, read.ids, read.texts) == (written.manifest, written.ids, written.texts)
    np.testing.assert_array_equal(read.probabilities, written.probabilities)
    np.testing.assert_array_equal(read.truth, written.truth)


def test_a_damaged_evaluation_is_an_input_error(tmp_path: Path) -> None:
    evaluation(["a"], np.array([[0.5, 0.5]])).write(tmp_path / "evaluation")
    (tmp_path / "evaluation" / "predictions.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputError, match="is not a readable evaluation"):
        Evaluation.open(tmp_path / "evaluation")
    with pytest.raises(InputError, match="is not a readable evaluation"):
        Evaluation.open(tmp_path / "absent")


def test_a_decision_passes_if_every_rule_does_and_otherwise_names_the_failed_rules() -> None:
    good, bad = rule(True, "it is good"), rule(False, "it is slow")
    assert decision(good, good).message == "promote: it is good; it is good"
    assert decision(good, bad).verdict == "reject"
    assert decision(good, bad).message == "reject: it is slow"


def test_decision_and_record_are_read_as_they_were_written() -> None:
    written = decision(rule(True, "it is good"))
    assert GateDecision.parse(written.model_dump_json(), "here") == written
    record = RunRecord(
        run="r",
        recipe={"name": "x"},
        state="SUCCEEDED",
        error=None,
        decisions=[written],
        promotion=Promotion(model="m", version="v", previous=None),
        finished="2026-11-21T00:00:00+00:00",
    )
    assert RunRecord.model_validate_json(record.model_dump_json()) == record


@settings(deadline=None, max_examples=30)
@given(content=st.one_of(st.binary(), st.text().map(str.encode), st.just(b'{"gate": "third"}')))
def test_other_content_than_a_decision_is_an_input_error(content: bytes) -> None:
    with pytest.raises(InputError, match="here is not a gate decision"):
        GateDecision.parse(content, "here")
