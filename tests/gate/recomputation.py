"""Scores and intervals from scikit-learn and scipy, independent of ``textgate.components.metrics``.

Every variance follows from numerical derivatives of scikit-learn's metric by the weight of each row.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
)

Z = 1.959963984540054
POWER_Z = 0.8416212335729143
DRAWS = 20_000

Array = np.ndarray
Metric = Callable[[Array], float]


class Interval(NamedTuple):
    """Value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Half of the interval in standard errors."""
        return (self.high - self.low) / 2 / Z


def mid_p(successes: int, rows: int) -> Interval:
    """Solve P(more) + P(equally many) / 2 = 0.025 and 0.975 with the binomial distribution."""

    def end(probability: float) -> float:
        def excess(p: float) -> float:
            return float(binom.sf(successes, rows, p) + binom.pmf(successes, rows, p) / 2 - probability)

        return float(brentq(excess, 0, 1, xtol=1e-13))

    low = 0.0 if successes == 0 else end(0.025)
    return Interval(successes / rows, low, 1.0 if successes == rows else end(0.975))


def class_interval(name: str, truth: Array, predicted: Array, label: int) -> Interval:
    """Return precision, recall or F1 of one class; F1 by the mid-P interval of its Jaccard index."""
    tp = int(np.sum((truth == label) & (predicted == label)))
    if name != "f1":
        return mid_p(tp, int(np.sum({"precision": predicted, "recall": truth}[name] == label)))
    jaccard = mid_p(tp, int(np.sum((truth == label) | (predicted == label))))
    return Interval(*(2 * end / (1 + end) for end in jaccard))


def estimate(metric: str, truth: Array, predicted: Array, probabilities: Array) -> Interval:
    """Return a metric of a gate; the methods are those of the table in docs/judging.md."""
    classes = probabilities.shape[1]
    if metric == "accuracy":
        return mid_p(int(np.sum(truth == predicted)), len(truth))
    if metric == "pr_auc":
        return area(truth, probabilities)[0]
    if classes == 2 and metric in ("f1", "precision", "recall"):
        return class_interval(metric, truth, predicted, 1)
    truths, predictions, shares = smoothed_cells(truth, predicted, classes)
    value = score(metric, truth, predicted, classes)
    scale = deviation(lambda w: score(metric, truths, predictions, classes, w), shares) / deviation(
        lambda w: score("accuracy", truths, predictions, classes, w), shares
    )
    accuracy = mid_p(int(np.sum(truth == predicted)), len(truth))
    ends = value - scale * (accuracy.value - accuracy.low), value + scale * (accuracy.high - accuracy.value)
    if metric in ("macro_f1", "f1"):
        parts = [class_interval("f1", truth, predicted, label) for label in range(classes)]
        by_class = [
            derivative(
                lambda w, c=c: float(f1_score(truths, predictions, labels=[c], average="macro", sample_weight=w)),
                shares,
            )
            for c in range(classes)
        ]
        ratio = shares @ np.sum(by_class, axis=0) ** 2 / sum(shares @ each**2 for each in by_class)
        below, above = mover(parts, ratio)
        ends = min(ends[0], value - below), max(ends[1], value + above)
    lowest = -1.0 if metric == "mcc" else 0.0
    return Interval(value, max(lowest, ends[0]), min(1.0, ends[1]))


def score(metric: str, truth: Array, predicted: Array, classes: int, weights: Array | None = None) -> float:
    """Return scikit-learn's value: of class 1 for two classes, else a macro average."""
    if metric == "accuracy":
        return float(accuracy_score(truth, predicted, sample_weight=weights))
    if metric == "mcc":
        return float(matthews_corrcoef(truth, predicted, sample_weight=weights))
    function = {"precision": precision_score, "recall": recall_score}.get(metric, f1_score)
    average = {"macro_f1": "macro", "weighted_f1": "weighted"}.get(metric, "binary" if classes == 2 else "macro")
    labels = None if average == "binary" else list(range(classes))
    return float(function(truth, predicted, labels=labels, average=average, sample_weight=weights, zero_division=0))


def derivative(metric: Metric, weights: Array, step: float = 1e-6) -> Array:
    """Return the derivative of a metric by each weight, by central differences."""
    moved = step * np.eye(len(weights))
    return np.array([(metric(weights + each) - metric(weights - each)) / (2 * step) for each in moved])


def deviation(metric: Metric, shares: Array) -> float:
    """Return the standard deviation of a metric of one row, by the delta method."""
    influence = derivative(metric, shares)
    return float(np.sqrt(shares @ (influence - shares @ influence) ** 2))


def mover(parts: Sequence[Interval], ratio: float) -> tuple[float, float]:
    """Return the distances of the ends of a mean from it."""
    below = np.sqrt(ratio * sum((part.value - part.low) ** 2 for part in parts)) / len(parts)
    above = np.sqrt(ratio * sum((part.high - part.value) ** 2 for part in parts)) / len(parts)
    return float(below), float(above)


def smoothed_cells(truth: Array, predicted: Array, classes: int) -> tuple[Array, Array, Array]:
    """Return every cell (truth, predicted) with its share; a quarter row is added to single scores."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (truth, predicted), 1)
    for label in range(classes):
        counts[label, label] += 0.25
        counts[label, (label + 1) % classes] += 0.25
    truths, predictions = np.nonzero(counts)
    return truths, predictions, counts[truths, predictions] / counts.sum()


def area(truth: Array, probabilities: Array, corrected: bool = True) -> tuple[Interval, Array]:
    """Return average precision, of class 1 or the mean over the classes, and its derivative by each row's weight.

    ``corrected`` lowers the lower end by the upward bias on few positive rows.
    """
    classes = probabilities.shape[1]
    labels = [1] if classes == 2 else range(classes)
    found = [_area(truth == label, probabilities[:, label], corrected) for label in labels]
    if classes == 2:
        return found[0]
    influences = np.array([influence for _, influence in found])
    ratio = float((influences.sum(axis=0) ** 2).sum() / (influences**2).sum())
    value = float(np.mean([each.value for each, _ in found]))
    below, above = mover([each for each, _ in found], ratio)
    return Interval(value, max(0.0, value - below), min(1.0, value + above)), influences.mean(axis=0)


def _area(positive: Array, scores: Array, corrected: bool) -> tuple[Interval, Array]:
    value = float(average_precision_score(positive, scores))
    influence = derivative(
        lambda w: float(average_precision_score(positive, scores, sample_weight=w)), np.ones(len(scores))
    )
    at_least = scores[:, None] >= scores[positive][None]
    misplaced = int(np.sum((at_least & positive[:, None]).sum(axis=0) < at_least.sum(axis=0)))

    def excess(x: float, center: float) -> float:
        assumed = x * (1 - x) / positive.sum()
        scaled = x * (1 - x) * float((influence**2).sum()) / (center * (1 - center))
        return (center - x) ** 2 - Z**2 * (misplaced * scaled + 10 * assumed) / (misplaced + 10)

    low = min(value, leave_one_out(positive, scores)) if corrected else value
    return Interval(
        value, brentq(excess, 1e-12, low, args=(low,)), brentq(excess, value, 1 - 1e-12, args=(value,))
    ), influence


def leave_one_out(positive: Array, scores: Array) -> float:
    """Return average precision with the rate of true positives at each positive row's score without this row."""
    precisions = []
    for own in scores[positive]:
        others, fp = np.sum(scores[positive] >= own) - 1, np.sum(scores[~positive] >= own)
        if others > 0:
            expected = others / (positive.sum() - 1) * positive.sum()
            precisions.append(expected / (expected + fp))
    return float(np.mean(precisions))


def area_difference(truth: Array, probabilities: Array, reference: Array) -> Interval:
    """Return the difference of two average precisions by MOVER for correlated estimates."""
    (one, first), (other, second) = area(truth, probabilities, False), area(truth, reference, False)
    correlation = float(np.corrcoef(first, second)[0, 1])

    def distance(a: float, b: float) -> float:
        return float(np.sqrt(a**2 + b**2 - 2 * correlation * a * b))

    value = one.value - other.value
    low = value - distance(one.value - one.low, other.high - other.value)
    return Interval(value, low, value + distance(one.high - one.value, other.value - other.low))


def difference(metric: str, truth: Array, predicted: Array, reference: Array, classes: int) -> Interval:
    """Return a paired difference by the Dirichlet bootstrap of the cells, with draws of its own."""
    alpha = np.zeros((classes, classes, classes))
    np.add.at(alpha, (truth, predicted, reference), 1)
    for label in range(classes):
        pair = [label, (label + 1) % classes]
        alpha[label, np.array(pair)[:, None], np.array(pair)] += 1 / 6
    draws = np.zeros((DRAWS, alpha.size))
    draws[:, alpha.ravel() > 0] = np.random.default_rng(2_027).dirichlet(alpha[alpha > 0], DRAWS)
    cubes = draws.reshape(DRAWS, *alpha.shape)
    drawn = _from_confusion(metric, cubes.sum(axis=3)) - _from_confusion(metric, cubes.sum(axis=2))
    value = score(metric, truth, predicted, classes) - score(metric, truth, reference, classes)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def _from_confusion(metric: str, matrices: Array) -> Array:
    """Return a metric for confusion matrices (draws, classes, classes) of shares."""
    tp = np.diagonal(matrices, axis1=1, axis2=2)
    support, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    f1 = 2 * tp / (support + predicted)
    if metric == "accuracy":
        return tp.sum(axis=1)
    if metric == "mcc":
        spread = (1 - (support**2).sum(axis=1)) * (1 - (predicted**2).sum(axis=1))
        return (tp.sum(axis=1) - (support * predicted).sum(axis=1)) / np.sqrt(spread)
    if metric == "weighted_f1":
        return (f1 * support).sum(axis=1)
    return f1[:, 1] if metric == "f1" and matrices.shape[1] == 2 else f1.mean(axis=1)


def constant_answer(metric: str, truth: Array, classes: int) -> tuple[int, float]:
    """Return the class whose constant prediction is best, and its score."""
    if metric == "pr_auc":
        shares = [float(np.mean(truth == label)) for label in range(classes)]
        return int(np.argmax(shares)), shares[1] if classes == 2 else 1 / classes
    values = [score(metric, truth, np.full(len(truth), label), classes) for label in range(classes)]
    support = np.bincount(truth, minlength=classes)
    best = max(range(classes), key=lambda label: (values[label], support[label]))
    return best, values[best]


def plain(text: str) -> str:
    """Return the letters and digits of a text without markup, in one case."""
    folded = unicodedata.normalize("NFKC", re.sub(r"<[^>]*>", " ", text)).casefold()
    return "".join(character for character in folded if character.isalnum())


def numbers(sentence: str) -> list[float]:
    """Return the numbers of a sentence, in order; digits within a word do not count."""
    found = re.findall(r"(?<![\w.-])[+-]?\d[\d,]*(?:\.\d+)?", sentence)
    return [float(number.replace(",", "")) for number in found]
