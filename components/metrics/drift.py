"""Drift: does a sample differ from a reference sample by more than chance, and by enough to matter.

``label_drift`` compares counts of labels, ``value_drift`` numbers such as text lengths, and ``separation`` the scores
of a classifier that was trained to tell the samples apart. A p-value alone is not enough, because on many rows any
difference is significant: the effect must also reach a smallest value. Each result says which effect would have been
found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from scipy.optimize import brentq
from scipy.special import xlogy
from scipy.stats import chi2, ks_2samp, mannwhitneyu, ncx2

from textgate.components.metrics.classification import Classes, Floats
from textgate.components.metrics.resampling import SEED
from textgate.components.metrics.significance import holm

LEVEL = 0.05
"""Probability of any false alarm of tests that are corrected together."""
POWER = 0.8
"""Probability with which an effect of size ``DriftTest.detectable`` is found."""
_PERMUTATIONS = 4_999
_TOLERANCE = 1e-7
_NORMAL = NormalDist()
Name = TypeVar("Name", bound=str)


@dataclass(frozen=True)
class DriftTest:
    """Result of a test on two samples."""

    effect: float
    """Size of the difference."""
    smallest: float
    """Smallest effect that counts as drift."""
    p_value: float
    """Probability of a difference as large if both samples have the same distribution."""
    detectable: float
    """Smallest true effect that would have been found with a probability of at least ``POWER``."""

    @property
    def found(self) -> bool:
        """Whether the difference is neither chance nor too small to matter."""
        return self.p_value <= LEVEL and self.effect >= self.smallest


def correct(tests: Mapping[Name, DriftTest]) -> dict[Name, DriftTest]:
    """Return the tests with p-values corrected by ``holm``, so that all of them together have the level ``LEVEL``."""
    p_values = holm([test.p_value for test in tests.values()])
    return {name: replace(test, p_value=p) for (name, test), p in zip(tests.items(), p_values, strict=True)}


def label_drift(
    reference: Mapping[str, int], sample: Mapping[str, int], smallest: float, level: float = LEVEL
) -> DriftTest:
    """Compare counts of labels by a G-test; the effect is the population stability index without its bias.

    The p-value is that of a permutation test: how often samples of these sizes, drawn from the rows of both without
    replacement, differ as much. Unlike the chi-squared approximation, it keeps its level where labels are rare
    (Agresti, Categorical Data Analysis, 3rd ed., section 16.5). The mean index of these samples is the bias, about
    (labels - 1) (1/n + 1/m), and is subtracted.

    Args:
        reference: Count of each label in the reference sample of n rows.
        sample: Count of each label in the sample of m rows.
        smallest: Smallest index that counts as drift.
        level: Level that the test has at least after ``correct``, for ``detectable``.
    """
    labels = sorted(label for label in {*reference, *sample} if reference.get(label, 0) + sample.get(label, 0))
    first, second = (np.array([counts.get(label, 0) for label in labels]) for counts in (reference, sample))
    n, m = int(first.sum()), int(second.sum())
    pooled = first + second
    permuted = np.random.default_rng(SEED).multivariate_hypergeometric(pooled, m, _PERMUTATIONS, method="marginals")
    # G is twice this sum minus a constant, because all permutations have the same totals.
    statistic, by_chance = (
        xlogy(pooled - counts, pooled - counts).sum(axis=-1) + xlogy(counts, counts).sum(axis=-1)
        for counts in (second, permuted)
    )
    p_value = (1 + int(np.sum(by_chance >= statistic - _TOLERANCE))) / (_PERMUTATIONS + 1)
    bias = float(population_stability_index(pooled - permuted, permuted).mean())
    # G is about the index times n m / (n + m). Its distribution is about noncentral chi-squared.
    scale, freedom = n * m / (n + m), max(len(labels) - 1, 1)
    bound = max(float(chi2.isf(level, freedom)), scale * smallest + freedom)
    shift = brentq(lambda shift: ncx2.sf(bound, freedom, shift) - POWER, 1e-6, 10 * bound + 100)
    return DriftTest(
        effect=max(float(population_stability_index(first, second)) - bias, 0.0),
        smallest=smallest,
        p_value=p_value,
        detectable=float(shift) / scale,
    )


def expected_predictions(confusion: Sequence[Sequence[int]], natural: Sequence[int]) -> list[int]:
    """Return how often each label would have been predicted on a sample with the natural shares of the true labels.

    Each text of a true label has the weight of its natural share by its share in the sample (prior correction as in
    Saerens, Latinne and Decaestecker, Adjusting the outputs of a classifier to new a priori probabilities, Neural
    Computation 14, 2002). The counts sum to the effective sample size of these weights (Kish, Survey Sampling, 1965),
    so that ``label_drift`` allows for the larger variance.

    Args:
        confusion: Texts of the sample by true and predicted label.
        natural: Texts by true label before the sample was balanced, in the same order.
    """
    cells = np.asarray(confusion, dtype=np.float64)
    rows, shares = cells.sum(axis=1), np.asarray(natural, dtype=np.float64)
    weights = np.divide(shares / shares.sum(), rows, out=np.zeros(len(rows)), where=rows > 0)
    effective = (rows @ weights) ** 2 / (rows @ weights**2)
    predicted = weights @ cells
    return [round(count) for count in effective * predicted / predicted.sum()]


def population_stability_index(expected: Classes, actual: Classes) -> Floats:
    """Return the distance of two label distributions: the sum of (a - e) ln(a / e) over their shares a and e.

    Half a row is added to every count, so that a label with count 0 does not make the index infinite. By convention an
    index below 0.1 is no change and one from 0.25 on a major change. Its expected value without a change is about
    (1/n + 1/m) (labels - 1): 0.6 for 150 labels and 500 rows in each sample. See Yurdakul and Naranjo, Statistical
    properties of the population stability index, Journal of Risk Model Validation 14(4), 2020.

    Args:
        expected: Counts of the first sample, (..., labels) int64.
        actual: Counts of the second sample, (..., labels) int64.
    """
    e, a = ((counts + 0.5) / (counts + 0.5).sum(axis=-1, keepdims=True) for counts in (expected, actual))
    return np.asarray(((a - e) * np.log(a / e)).sum(axis=-1))


def share_at_index(share: float, index: float) -> float:
    """Return the share to which one label must rise for an index, if the others keep their proportions.

    Args:
        share: Share of the label, above 0 and below 1.
        index: Population stability index.
    """

    def excess(risen: float) -> float:
        return (risen - share) * float(np.log(risen / share * (1 - share) / (1 - risen))) - index

    return float(brentq(excess, share, 1 - 1e-12))


def value_drift(
    reference: Sequence[float], sample: Sequence[float], smallest: float, level: float = LEVEL
) -> DriftTest:
    """Compare numbers by a two-sample Kolmogorov-Smirnov test; the effect is the distance of the distributions.

    With ties, as in lengths, the test finds at most as many false alarms as its level allows (Noether, Note on the
    Kolmogorov statistic in the discrete case, Metrika 7, 1963).

    Args:
        reference: Values of the reference sample.
        sample: Values of the sample.
        smallest: Smallest distance that counts as drift.
        level: See ``label_drift``.
    """
    result = ks_2samp(reference, sample, method="asymp")
    error = float(np.sqrt(1 / len(reference) + 1 / len(sample)))
    # The distance at the point where the distributions differ most has a standard deviation of at most error / 2.
    bound = max(float(np.sqrt(-np.log(level / 2) / 2)) * error, smallest)
    detectable = bound + _NORMAL.inv_cdf(POWER) * error / 2
    return DriftTest(float(result.statistic), smallest, float(result.pvalue), min(detectable, 1.0))


def separation(reference: Floats, sample: Floats, smallest: float, level: float = LEVEL) -> DriftTest:
    """Test whether a classifier tells the samples apart; the effect is its ROC-AUC.

    If the scored rows were not used to train the classifier, the p-value of the Mann-Whitney U test is valid whatever
    the classifier (Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017).

    Args:
        reference: Score of each row of the reference sample, (n,) float64.
        sample: Score of each row of the sample, (m,) float64; higher scores mean that a row is like these.
        smallest: Smallest ROC-AUC that counts as drift.
        level: See ``label_drift``.
    """
    n, m = len(reference), len(sample)
    result = mannwhitneyu(sample, reference, alternative="greater", method="asymptotic")
    error = float(np.sqrt((n + m + 1) / (12 * n * m)))
    bound = max(0.5 + _NORMAL.inv_cdf(1 - level) * error, smallest)
    detectable = bound + _NORMAL.inv_cdf(POWER) * error
    return DriftTest(float(result.statistic) / (n * m), smallest, float(result.pvalue), min(detectable, 1.0))
