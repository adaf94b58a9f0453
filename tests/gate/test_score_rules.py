"""Rules on the scores of one model: metrics, floors of single labels, few texts, constant answers, baselines."""

import numpy as np
import pytest
from gate.evaluations import LABELS, MEASURED, TRUTH, complete, evaluation, failed, wrong_at

from textgate.components.contracts import Calibration, Estimate, Evaluation, Gate, GateDecision, InputError
from textgate.components.contracts.evaluation import TfidfBaseline
from textgate.components.gate.rules import judge_served, judge_trained

ANY = {"min_f1": 0}
"""A threshold that every model reaches."""


def judged(of: Evaluation, **gate: object) -> GateDecision:
    return judge_trained(of, Gate.model_validate(gate))


def from_counts(tp: int, fn: int, fp: int, tn: int, labels: list[str]) -> Evaluation:
    """Return the evaluation of a binary model with these counts of the second label."""
    truth = np.repeat([1, 1, 0, 0], [tp, fn, fp, tn])
    predicted = np.repeat([1, 0, 1, 0], [tp, fn, fp, tn])
    return evaluation(predicted, truth=truth, labels=labels)


def test_gate_1_compares_the_trained_model_with_the_threshold() -> None:
    assert judged(evaluation(wrong_at(range(100))), min_f1=0.8).passed
    poor = evaluation(wrong_at(range(250)))
    decision = judged(poor, min_f1=0.8)
    assert decision.message.startswith("reject: the trained model has F1 of 'good' 0.7500 [0.7")
    assert decision.message.endswith("on 1,000 test texts and the point estimate does not reach the threshold 0.8")
    assert judged(poor, min_f1=poor.manifest.f1.value).passed


def test_the_lower_end_of_the_interval_can_be_required() -> None:
    model = evaluation(wrong_at(range(100)))
    low = model.manifest.f1.low
    assert judged(model, min_f1=low, on="lower").passed
    decision = judged(model, min_f1=low + 1e-9, on="lower")
    assert failed(decision) == ["min_f1"]
    assert "and the lower end of the interval does not reach the threshold" in decision.message


@pytest.mark.parametrize("metric", ["f1", "macro_f1", "weighted_f1", "accuracy", "mcc", "pr_auc"])
def test_a_gate_judges_by_any_of_its_metrics(metric: str) -> None:
    model = complete(evaluation(wrong_at(range(100), range(200, 220, 2))))
    value = model.manifest.metrics[metric].value
    decision = judged(model, metric=metric, min={metric: value})
    assert (decision.passed, decision.rules[0].name) == (True, f"min_{metric}")
    assert (decision.score.metric, decision.score.value.value, decision.score.rows) == (metric, value, 1_000)  # type: ignore[union-attr]
    assert failed(judged(model, min={metric: min(value + 1e-9, 1)})) == [f"min_{metric}"]


def test_every_threshold_and_floor_has_to_be_reached() -> None:
    # 40 of 500 "good" texts are missed, 10 "bad" ones are wrong.
    model = complete(from_counts(tp=460, fn=40, fp=10, tn=490, labels=LABELS))
    assert judged(model, min={"accuracy": 0.95, "macro_f1": 0.9}, min_recall={"good": 0.92, "bad": 0.9}).passed
    decision = judged(model, min={"accuracy": 0.96, "macro_f1": 0.9}, min_recall={"good": 0.93, "bad": 0.98})
    assert failed(decision) == ["min_accuracy", "min_recall.good"]
    assert "has accuracy 0.9500 [0.93" in decision.message
    assert "has recall of 'good' 0.9200 [0." in decision.message
    assert "on 1,000 test texts, 500 of this label, and the point estimate does not reach" in decision.message
    assert failed(judged(model, **ANY, min_precision={"good": 0.99})) == ["min_precision.good"]
    with pytest.raises(InputError, match=r"gate.min_recall names 'god', but the labels are bad, good"):
        judged(model, **ANY, min_recall={"god": 0.5})


def test_a_metric_that_the_test_split_does_not_define_is_an_input_error() -> None:
    model = complete(evaluation(np.ones(50, dtype=np.int64), truth=np.ones(50, dtype=np.int64)))
    with pytest.raises(InputError, match="pr_auc cannot be computed, because a label has no text in the test split"):
        judged(model, metric="pr_auc", min_f1=0.5)


@pytest.mark.parametrize(
    ("rows", "min_rows", "passed"), [(20, {}, True), (19, {}, False), (4, {"min_test_rows": 4}, True)]
)
def test_a_few_test_texts_are_no_basis_of_a_promotion(rows: int, min_rows: dict[str, int], passed: bool) -> None:
    decision = judged(evaluation(TRUTH[:rows], truth=TRUTH[:rows]), **ANY, beats_constant=False, **min_rows)
    assert failed(decision) == ([] if passed else ["min_test_rows"])
    assert passed or decision.message == "reject: 19 test texts are too few to judge on: gate.min_test_rows is 20"


def test_a_model_that_always_answers_the_frequent_label_is_rejected_in_one_sentence() -> None:
    """``fraud.csv``: the last label is the frequent one, and none of the 6 frauds of the test split is found."""
    decision = judged(from_counts(tp=114, fn=0, fp=6, tn=0, labels=["fraud", "legit"]), min_f1=0.8)
    assert failed(decision) == ["beats_constant"]
    assert decision.message.startswith(
        "reject: the trained model is no better than always answering 'legit': F1 of 'legit' is 0.9744 ["
    )
    assert decision.message.endswith(
        "on 120 test texts, and this interval does not lie above the 0.9744 of the constant answer"
    )
    # The same answers, judged by the label that matters.
    missed = from_counts(tp=0, fn=6, fp=0, tn=114, labels=["legit", "fraud"])
    assert failed(judged(missed, **ANY)) == ["beats_constant"]
    assert "always answering 'fraud': F1 of 'fraud' is 0.0000" in judged(missed, **ANY).message


def test_a_model_below_the_majority_whose_f1_is_that_of_a_constant_answer_is_rejected() -> None:
    """TweetEval hate: accuracy .51 where the majority is .58, F1 .609 where "always hate" has .593."""
    model = from_counts(tp=1_133, fn=119, fp=1_336, tn=382, labels=["nonhate", "hate"])
    assert model.manifest.accuracy.value == pytest.approx(0.51, abs=0.001)
    decision = judged(model, min_f1=0.5)
    assert failed(decision) == ["beats_constant"]
    assert "always answering 'hate': F1 of 'hate' is 0.6090 [0.5" in decision.message
    assert "on 2,970 test texts, and this interval does not lie above the 0.5931" in decision.message
    by_accuracy = judged(model, min_f1=0.5, metric="accuracy")
    assert "always answering 'nonhate': accuracy is 0.5101" in by_accuracy.message
    assert judged(model, min_f1=0.5, beats_constant=False).passed


def test_a_model_that_finds_a_rare_class_beats_the_constant_answers() -> None:
    model = from_counts(tp=12, fn=8, fp=10, tn=1_970, labels=["legit", "fraud"])
    decision = judged(model, min_f1=0.5)
    assert decision.passed
    assert "on 2,000 test texts is above the 0.0198 of always answering 'fraud'" in decision.message


def with_baseline(of: Evaluation, value: float) -> Evaluation:
    baseline = TfidfBaseline(train_rows=100, metrics={"f1": Estimate(value=value, low=value, high=value)})
    update = {"baseline": baseline, "validation": {"f1": 0.95}}
    return Evaluation(of.manifest.model_copy(update=update), of.ids, of.texts, of.truth, of.probabilities)


def test_baseline_and_validation_score_are_shown_and_the_baseline_can_be_required() -> None:
    model = evaluation(wrong_at(range(100)))
    shown = judged(with_baseline(model, 0.92), min_f1=0.8)
    assert shown.passed
    assert (shown.score.baseline.value, shown.score.validation) == (0.92, 0.95)  # type: ignore[union-attr]
    required = judged(with_baseline(model, 0.92), min_f1=0.8, beats_baseline=True)
    assert failed(required) == ["beats_baseline"]
    assert "on 1,000 test texts, not above the 0.9200 [0.9200, 0.9200] of TF-IDF + logistic" in required.message
    assert judged(with_baseline(model, 0.89), min_f1=0.8, beats_baseline=True).passed
    assert failed(judged(model, min_f1=0.8, beats_baseline=True)) == ["beats_baseline"]


def test_gate_2_takes_the_baseline_from_the_trained_model() -> None:
    model = evaluation(wrong_at(range(100)))
    gate = Gate(min_f1=0.8, beats_baseline=True)
    assert judge_served(model, with_baseline(model, 0.89), MEASURED, None, gate).passed
    assert failed(judge_served(model, with_baseline(model, 0.92), MEASURED, None, gate)) == ["beats_baseline"]


def test_gate_2_takes_the_baseline_of_a_winner_from_its_served_model() -> None:
    """The trained systems of a comparison are evaluated without a baseline."""
    model = evaluation(wrong_at(range(100)))
    gate = Gate(min_f1=0.8, beats_baseline=True)
    assert judge_served(with_baseline(model, 0.89), model, MEASURED, None, gate).passed
    assert failed(judge_served(with_baseline(model, 0.92), model, MEASURED, None, gate)) == ["beats_baseline"]


def with_validation(of: Evaluation, f1: float, **update: object) -> Evaluation:
    manifest = of.manifest.model_copy(update={"validation": {"f1": f1}, "validation_rows": 600, **update})
    return Evaluation(manifest, of.ids, of.texts, of.truth, of.probabilities)


@pytest.mark.parametrize(("validation", "large"), [(0.91, False), (0.97, True), (0.83, True)])
def test_the_gap_to_the_validation_split_is_stated_and_marked_if_chance_does_not_explain_it(
    validation: float, large: bool
) -> None:
    model = with_validation(evaluation(wrong_at(range(100))), validation)
    served = evaluation(wrong_at(range(98)))
    for decision in (judged(model, min_f1=0.8), judge_served(served, model, MEASURED, None, Gate(min_f1=0.8))):
        score = decision.score
        assert score is not None
        assert score.gap is not None
        # The gap is the trained model's in both gates.
        assert score.gap.value == pytest.approx(validation - 0.9)
        assert score.gap_is_large is large
        assert score.gap_message is not None
        assert score.gap_message.startswith(
            f"the trained model has F1 of 'good' {validation:.4f} on the validation split and 0.9000 on the test "
            f"split: the gap of {validation - 0.9:+.4f} ["
        )
        assert score.gap_message.endswith("] is larger than chance explains" if large else "] may be chance")
        # It promotes or rejects nothing, but a large one ends the sentence of the decision.
        assert decision.passed
        assert decision.message.endswith(score.gap_message) is large


def test_the_gap_of_a_model_with_a_threshold_is_by_the_most_probable_label() -> None:
    model = evaluation(wrong_at(range(100)))
    at_threshold = with_validation(
        model, 0.9, calibration=Calibration(threshold=0.95), metrics=evaluation(TRUTH).manifest.metrics
    )
    score = judged(at_threshold, min_f1=0.8).score
    assert score is not None
    assert score.value.value == 1
    assert score.gap is not None
    assert score.gap.value == pytest.approx(0)


def test_a_gap_without_an_interval_or_a_number_of_texts_is_no_mark() -> None:
    model = evaluation(wrong_at(range(100)))
    unknown = judged(with_validation(model, 0.5, validation_rows=None), min_f1=0.8).score
    assert unknown is not None
    assert (unknown.validation, unknown.gap, unknown.gap_message, unknown.gap_is_large) == (0.5, None, None, False)
    f1 = model.manifest.f1.model_copy(update={"withheld": "no text has the class"})
    metrics = {**model.manifest.metrics, "f1": f1}
    withheld = judged(with_validation(model, 0.5, metrics=metrics), min_f1=0.8).score
    assert withheld is not None
    assert not withheld.gap_is_large
    assert withheld.gap_message is not None
    assert "the gap of -0.4000 [no interval: no text has the class] may be chance" in withheld.gap_message
