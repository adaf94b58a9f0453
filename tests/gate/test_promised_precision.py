"""Rule of gate 2 on the precision that the recipe promises."""

import numpy as np
import pytest
from gate.evaluations import TRUTH, complete, evaluation, wrong_at

from textgate.components.contracts import Calibration, Evaluation, Export, GateDecision, Rule
from textgate.components.gate.promised_precision import check_promised_precision

PROMISE = Export(threshold="precision", min_precision=0.9)
DECISION = GateDecision(
    gate="served",
    bundle="new",
    dataset="data",
    rules=[Rule(name="min_f1", threshold=0, value=None, passed=True, message="its F1 is high enough")],
)


def served(predicted: np.ndarray, threshold: float | None = 0.5) -> Evaluation:
    found = complete(evaluation(predicted))
    manifest = found.manifest.model_copy(update={"calibration": Calibration(threshold=threshold)})
    return Evaluation(manifest, found.ids, found.texts, found.truth, found.probabilities)


@pytest.mark.parametrize(
    ("predicted", "threshold", "passed", "message"),
    [
        # 500 of the 540 texts answered with "good" are good.
        (
            wrong_at(range(0, 80, 2)),
            0.5,
            True,
            "the precision of 'good' that export.min_precision=0.9 promises is reached on the 540 test texts for which "
            "it is predicted: 0.9259 [",
        ),
        (wrong_at(range(0, 200, 2)), 0.5, False, "promises is not reached on the 600 test texts for which it is"),
        (
            TRUTH,
            None,
            False,
            "no threshold has the precision of 'good' that export.min_precision=0.9 promises with 95 %",
        ),
        (np.zeros_like(TRUTH), 0.5, False, "cannot be checked: 'good' is predicted for no test text"),
    ],
)
def test_the_promise_is_checked_on_the_test_split(
    predicted: np.ndarray, threshold: float | None, passed: bool, message: str
) -> None:
    decision = check_promised_precision(DECISION, served(predicted, threshold), PROMISE)
    assert [rule.name for rule in decision.rules] == ["min_f1", "promised_precision"]
    assert decision.rules[-1].threshold == 0.9
    assert decision.passed is passed
    assert message in decision.rules[-1].message


def test_without_a_promise_there_is_no_rule() -> None:
    assert check_promised_precision(DECISION, served(TRUTH), Export()) is DECISION
