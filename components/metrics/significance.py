"""Whether two systems differ on the same rows, and of many such differences which still count."""

from collections.abc import Sequence

import numpy as np

from textgate.components.contracts import Estimate
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.metrics.classification import Classes, f1
from textgate.components.metrics.intervals import SAME, SEED, f1_difference, resampled_f1

_SHUFFLES = 10_000
_AT_A_TIME = 1_000


class PairedTest(FrozenModel):
    """Two systems on the same rows."""

    f1_difference: Estimate
    """F1 of the first less F1 of the second, paired bootstrap."""
    p_value: float
    """Two-sided, that their F1 is the same: approximate randomisation. What marks of significance go by."""
    mcnemar: float
    """Two-sided mid-p value that both are right equally often."""
    only_first: int
    """Rows that only the first answers rightly."""
    only_second: int
    """Rows that only the second answers rightly."""


def paired_test(truth: Classes, first: Classes, second: Classes, classes: int) -> PairedTest:
    """Compare the answers of two systems (n,) int64 with the truth (n,) int64.

    McNemar's mid-p value: Fagerland, Lydersen and Laake, The McNemar test for binary matched-pairs data (BMC Medical
    Research Methodology 13, 2013). Approximate randomisation: see ``_randomisation``.
    """
    ours, theirs = first == truth, second == truth
    only_first, only_second = int(np.sum(ours & ~theirs)), int(np.sum(theirs & ~ours))
    return PairedTest(
        f1_difference=f1_difference(truth, first, second, classes),
        p_value=_randomisation(truth, first, second, classes),
        mcnemar=_mcnemar(only_first, only_second),
        only_first=only_first,
        only_second=only_second,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for being many, in their order (Holm, Scand. J. Statist. 6, 1979).

    Those at or below a level together hold at that level: the chance that any of them is a mistake is at most it.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * np.asarray(p_values)[order]), 1)
    return [float(p) for p in adjusted]


def _mcnemar(only_first: int, only_second: int) -> float:
    from scipy.stats import binom

    rows = only_first + only_second
    if only_first == only_second:
        return 1.0 if rows == 0 else 1 - 0.5 * float(binom.pmf(only_first, rows, 0.5))
    fewer = min(only_first, only_second)
    return float(2 * binom.cdf(fewer, rows, 0.5) - binom.pmf(fewer, rows, 0.5))


def _randomisation(truth: Classes, first: Classes, second: Classes, classes: int) -> float:
    """The p-value by approximate randomisation (Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989).

    If the systems are alike, the answers of a row might as well be swapped: how often is the difference then as large?
    What is exactly as large counts half, as in a mid-p value, or few disagreements would hardly ever be significant.
    """
    if np.array_equal(first, second):
        return 1.0
    rng = np.random.default_rng(SEED)
    cells, rows = np.unique(np.stack([truth, first, second], axis=1)[first == second], axis=0, return_counts=True)
    apart = np.stack([truth, np.minimum(first, second), np.maximum(first, second)], axis=1)[first != second]
    pairs, disputed = np.unique(apart, axis=0, return_counts=True)
    every = np.concatenate([cells, pairs, pairs[:, [0, 2, 1]]])
    seen = abs(f1(truth, first, classes) - f1(truth, second, classes))
    larger = equal = 0
    for _ in range(_SHUFFLES // _AT_A_TIME):
        kept = rng.binomial(disputed, 0.5, size=(_AT_A_TIME, len(disputed)))
        agreed = np.broadcast_to(rows, (_AT_A_TIME, len(rows)))
        draws = np.concatenate([agreed, kept, disputed - kept], axis=1).astype(np.float64)
        ours, theirs = (resampled_f1(every[:, 0], every[:, column], draws, classes) for column in (1, 2))
        drawn = np.abs(ours - theirs)
        larger += int(np.sum(drawn > seen + SAME))
        equal += int(np.sum(np.abs(drawn - seen) <= SAME))
    # What was seen is one of the shuffles: a p-value is never 0.
    return (larger + (equal + 1) / 2) / (_SHUFFLES + 1)
