"""Properties of GateDecision, Evaluation and RunRecord: round trip, and an InputError for damaged files."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from textgate.components.contracts import (
    Estimate,
    Evaluation,
    EvaluationManifest,
    GateDecision,
    InputError,
    NextReference,
    Promotion,
    Rule,
    RunRecord,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
ESTIMATE = st.builds(Estimate, value=NUMBER, low=NUMBER, high=NUMBER)
RULE = st.fixed_dictionaries(
    {
        "name": TEXT,
        "threshold": st.none() | NUMBER,
        "value": st.none() | ESTIMATE,
        "passed": st.booleans(),
        "message": TEXT,
    }
).map(Rule.model_validate)
DECISION = st.builds(
    GateDecision,
    gate=st.sampled_from(["trained", "served"]),
    bundle=TEXT,
    dataset=TEXT,
    champion=st.none() | TEXT,
    reference=st.none() | st.builds(NextReference, version=TEXT, message=TEXT),
    rules=st.lists(RULE, min_size=1, max_size=4),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
RECORD = st.builds(
    RunRecord,
    run=TEXT,
    recipe=st.dictionaries(TEXT, JSON, max_size=3),
    state=TEXT,
    error=st.none() | TEXT,
    decisions=st.lists(DECISION, max_size=2),
    promotion=st.none() | st.builds(Promotion, model=TEXT, version=TEXT, previous=st.none() | TEXT),
    finished=TEXT,
)


@settings(deadline=None, max_examples=60)
@given(decision=DECISION)
def test_any_decision_is_read_as_it_was_written(decision: GateDecision) -> None:
    read = GateDecision.parse(decision.model_dump_json(), "here")
    assert read == decision
    # Without a reference, a decision has the bytes of earlier versions.
    assert ("reference" in json.loads(decision.model_dump_json())) == (decision.reference is not None)
    failed = [rule for rule in decision.rules if not rule.passed]
    assert read.passed is not bool(failed)
    assert read.verdict == ("reject" if failed else "promote")
    messages = "; ".join(rule.message for rule in failed or decision.rules)
    assert read.message == f"{read.verdict}: {messages}"


@settings(deadline=None, max_examples=60)
@given(record=RECORD)
def test_any_record_is_read_as_it_was_written(record: RunRecord) -> None:
    assert RunRecord.model_validate_json(record.model_dump_json()) == record


def test_a_decision_without_rules_is_invalid() -> None:
    empty = {"gate": "served", "bundle": "b", "dataset": "d", "rules": []}
    with pytest.raises(InputError, match="here is not a gate decision: rules"):
        GateDecision.parse(json.dumps(empty), "here")
    with pytest.raises(ValidationError):
        GateDecision(gate="served", bundle="b", dataset="d", rules=[])


@settings(deadline=None, max_examples=60)
@given(decision=DECISION, key=st.sampled_from(["gate", "rules", "format_version", "stranger"]), content=JSON)
def test_arbitrary_json_in_a_decision_is_accepted_or_an_input_error(
    decision: GateDecision, key: str, content: object
) -> None:
    changed = {**json.loads(decision.model_dump_json()), key: content}
    with pytest.raises(InputError, match="here is not a gate decision"):
        GateDecision.parse(json.dumps(content), "here")
    if content != 1 or key != "format_version":
        with pytest.raises(InputError, match=f"here is not a gate decision: {key}"):
            GateDecision.parse(json.dumps(changed), "here")


GOOD: dict[str, list[object]] = {
    "id": ["1", "2"],
    "text": ["a", "b"],
    "label": ["no", "yes"],
    "predicted": ["no", "no"],
    "probabilities": [[0.5, 0.5], [0.75, 0.25]],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    half = Estimate(value=0.5, low=0.4, high=0.6)
    manifest = EvaluationManifest(
        bundle="b",
        runtime="onnx",
        dataset="d",
        split="test",
        labels=["no", "yes"],
        metrics={"f1": half, "accuracy": half},
        per_class={},
        confusion=[[1, 0], [1, 0]],
        calibration_error_before=0.1,
        rows_per_second=1.0,
    )
    probabilities = np.array(GOOD["probabilities"], dtype=np.float64)
    Evaluation(manifest, ["1", "2"], ["a", "b"], np.array([0, 1]), probabilities).write(tmp_path / "evaluation")
    return tmp_path / "evaluation"


def test_predictions_are_plain_parquet(folder: Path) -> None:
    assert pq.read_table(folder / "predictions.parquet").to_pydict() == GOOD
    assert Evaluation.open(folder).predicted.tolist() == [0, 0]


@pytest.mark.parametrize(
    "change",
    [
        {"label": ["no", "stranger"]},
        {"label": ["no", None]},
        {"text": ["a", None]},
        {"id": [None, "2"]},
        {"probabilities": [[0.5, 0.5], None]},
        {"probabilities": [[0.5], [0.2, 0.3, 0.5]]},
        {"probabilities": [[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]]},
        {"probabilities": [[1.0], [1.0]]},
    ],
    ids=str,
)
def test_predictions_that_do_not_match_the_manifest_are_an_input_error(
    folder: Path, change: dict[str, list[object]]
) -> None:
    schema = pq.read_schema(folder / "predictions.parquet")
    pq.write_table(pa.table({**GOOD, **change}, schema=schema), folder / "predictions.parquet")
    with pytest.raises(InputError, match="is not a readable evaluation"):
        Evaluation.open(folder)


@pytest.mark.parametrize("column", sorted(GOOD))
def test_predictions_without_a_column_are_an_input_error(folder: Path, column: str) -> None:
    table = pq.read_table(folder / "predictions.parquet")
    pq.write_table(table.drop_columns([column]), folder / "predictions.parquet")
    with pytest.raises(InputError, match="is not a readable evaluation"):
        Evaluation.open(folder)


@settings(deadline=None, max_examples=60)
@given(content=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_arbitrary_bytes_in_an_evaluation_are_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("evaluations")
    (path / "evaluation.json").write_bytes(content)
    with pytest.raises(InputError, match="is not a readable evaluation"):
        Evaluation.open(path)
