"""The best constant answer is that of scikit-learn's DummyClassifier, scored by scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.dummy import DummyClassifier

from textgate.components.metrics.constant_answers import best_constant_answer

SCORES = {
    "accuracy": lambda truth, predicted, labels: reference.accuracy_score(truth, predicted),
    "f1": lambda truth, predicted, labels: (
        reference.f1_score(truth, predicted, zero_division=0)
        if labels == 2
        else reference.f1_score(truth, predicted, average="macro", labels=range(labels), zero_division=0)
    ),
    "macro_f1": lambda truth, predicted, labels: reference.f1_score(
        truth, predicted, average="macro", labels=range(labels), zero_division=0
    ),
    "weighted_f1": lambda truth, predicted, labels: reference.f1_score(
        truth, predicted, average="weighted", zero_division=0
    ),
    "mcc": lambda truth, predicted, labels: reference.matthews_corrcoef(truth, predicted),
}


@pytest.mark.parametrize("metric", list(SCORES))
@pytest.mark.parametrize("shares", [(0.9, 0.1), (0.3, 0.7), (0.2, 0.5, 0.3)])
def test_it_is_the_best_of_all_constant_predictions(metric: str, shares: tuple[float, ...]) -> None:
    truth = np.random.default_rng(1).choice(len(shares), 300, p=shares).astype(np.int64)
    texts = np.zeros((len(truth), 1))
    values = []
    for constant in range(len(shares)):
        dummy = DummyClassifier(strategy="constant", constant=constant).fit(texts, truth)
        values.append(SCORES[metric](truth, dummy.predict(texts), len(shares)))
    best = best_constant_answer(metric, truth, len(shares))
    assert best.value == pytest.approx(max(values))
    assert values[best.class_index] == pytest.approx(max(values))


def test_equally_good_constant_answers_are_named_by_the_most_frequent_class() -> None:
    truth = np.array([0, 1, 1, 2], dtype=np.int64)
    assert best_constant_answer("mcc", truth, 3) == (1, 0.0)


@pytest.mark.parametrize("shares", [(0.9, 0.1), (0.2, 0.5, 0.3)])
def test_pr_auc_of_a_constant_score_is_the_prevalence(shares: tuple[float, ...]) -> None:
    truth = np.repeat(np.arange(len(shares)), [round(100 * share) for share in shares])
    one_against_rest = [1] if len(shares) == 2 else list(range(len(shares)))
    expected = np.mean([reference.average_precision_score(truth == c, np.ones(100)) for c in one_against_rest])
    assert best_constant_answer("pr_auc", truth, len(shares)).value == pytest.approx(expected)
