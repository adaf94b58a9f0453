"""Differences of two scores in any metric of a gate, with 95 % intervals: paired, and of two independent samples.

Paired differences of two systems on the same rows: the smoothed Dirichlet bootstrap of ``resampling`` for metrics of
predicted classes, MOVER for PR-AUC (see ``areas``). The gap between two splits: MOVER.
"""

import math

import numpy as np
from scipy.stats import norm

from textgate.components.contracts import Estimate
from textgate.components.metrics.areas import pr_auc_difference_interval
from textgate.components.metrics.classification import Classes, Floats, class_counts, class_metrics
from textgate.components.metrics.probability import ProbabilityScores
from textgate.components.metrics.proportions import CONFIDENCE
from textgate.components.metrics.resampling import interval, resample_cells, resampled_counts

POWER = 0.8
"""Power of ``minimum_detectable_difference``."""


def metric_difference(metric: str, truth: Classes, predicted: Classes, reference: Classes, classes: int) -> Estimate:
    """Return a metric of ``predicted`` minus that of ``reference``.

    Args:
        metric: Name of a metric that ``class_metrics`` returns.
        truth: True classes, (n,) int64.
        predicted: Predicted classes, (n,) int64.
        reference: Classes predicted by the model to compare with, (n,) int64.
        classes: Number of classes.
    """
    cells, draws = resample_cells(truth, predicted, reference, classes)
    first, second = (
        class_metrics(*resampled_counts(cells[:, 0], cells[:, column], draws, classes))[metric] for column in (1, 2)
    )
    values = [class_metrics(*class_counts(truth, system, classes))[metric] for system in (predicted, reference)]
    return interval(float(values[0] - values[1]), first - second)


def pr_auc_difference(truth: Classes, probabilities: Floats, reference: Floats) -> Estimate:
    """Return the PR-AUC of ``probabilities`` minus that of ``reference``, each (n, classes) float64.

    Args:
        truth: True classes, (n,) int64; every class occurs.
        probabilities: Probabilities of the model.
        reference: Probabilities of the model to compare with.
    """
    one = np.ones((1, len(truth)))
    first, second = (ProbabilityScores(truth, each).weighted(one)["pr_auc"][0] for each in (probabilities, reference))
    value = float(first - second)
    low, high = pr_auc_difference_interval(truth, probabilities, reference)
    return Estimate(value=value, low=max(-1.0, min(value, low)), high=min(1.0, max(value, high)))


def comparison_level(uses: float) -> float:
    """Return the level at which the next of many comparisons on the same texts is tested, one-sided.

    The k-th comparison has 0.025 / (k (k + 1)), so that, however many follow, the probability that one of them finds a
    difference where there is none is at most 0.025 (alpha spending; Tian and Ramdas, Online control of the familywise
    error rate, Statistical Methods in Medical Research 30, 2021).

    Args:
        uses: Number of uses of the texts before. The first model was compared with none.
    """
    comparison = max(1, math.ceil(uses))
    return (1 - CONFIDENCE) / 2 / (comparison * (comparison + 1))


def lower_bound(difference: Estimate, level: float) -> float:
    """Return the value that the true difference is below with probability ``level``.

    Its distance from the value is that of the lower end of the 95 % interval, times a ratio of normal quantiles,
    because resamples do not reach quantiles that far out.

    Args:
        difference: Metric of the model minus that of the champion, with its 95 % interval.
        level: Probability.
    """
    z = norm.isf((1 - CONFIDENCE) / 2)
    return float(difference.value - (difference.value - difference.low) * norm.isf(level) / z)


def validation_gap(validation: float, validation_rows: int, test: Estimate, test_rows: int) -> Estimate:
    """Return a score on the validation split minus that on the test split, two independent samples, with its interval.

    The distances of the ends are the root of the summed squares of those of the two scores (MOVER: Newcombe, Interval
    estimation for the difference between independent proportions, Statistics in Medicine 17, 1998, method 10; Zou and
    Donner, Statistics in Medicine 27, 2008). Those of the validation score are not known. They are those of the test
    score times the root of ``test_rows / validation_rows``, as standard errors are if both splits have the same true
    score, which is the hypothesis that the interval tests by containing 0.

    Args:
        validation: Score on the validation split.
        validation_rows: Number of its texts.
        test: Score on the test split; if its interval is withheld, so is that of the gap.
        test_rows: Number of its texts.
    """
    value, ratio = validation - test.value, test_rows / validation_rows
    below, above = test.value - test.low, test.high - test.value
    low = value - np.sqrt(ratio * below**2 + above**2)
    high = value + np.sqrt(ratio * above**2 + below**2)
    return Estimate(value=value, low=float(low), high=float(high), rows=test.rows, withheld=test.withheld)


def minimum_detectable_difference(difference: Estimate) -> float:
    """Return the smallest margin at which an equally good model passes the margin rule with a power of 80 %.

    It is (z(0.975) + z(0.8)) standard errors, of which z(0.975) lie between the value and the lower end of its interval
    (Julious, Sample sizes for clinical trials with Normal data, Statistics in Medicine 23, 2004, section 5).

    Args:
        difference: Metric of the model minus that of the champion.
    """
    z = norm.ppf((1 + CONFIDENCE) / 2)
    return float((difference.value - difference.low) * (1 + norm.ppf(POWER) / z))
