"""Significance tests: do two systems differ on the same rows, and which of many differences remain significant."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textgate.components.contracts import Estimate
from textgate.components.metrics.classification import Classes, f1
from textgate.components.metrics.intervals import f1_difference
from textgate.components.metrics.resampling import SEED, resampled_f1

_SHUFFLES = 10_000
_CHUNK = 1_000
"""Shuffles computed at a time."""
_TOLERANCE = 1e-12
"""Largest difference of values that count as equal."""


@dataclass(frozen=True)
class PairedTest:
    """Significance test of two systems on the same rows."""

    f1_difference: Estimate
    """F1 of the first minus F1 of the second, with its paired interval."""
    p_value: float
    """Two-sided p-value of the null hypothesis of equal F1, by approximate randomization."""


def paired_test(truth: Classes, first: Classes, second: Classes, classes: int) -> PairedTest:
    """Compare the predictions of two systems.

    Args:
        truth: True classes, (n,) int64.
        first: Classes predicted by the first system, (n,) int64.
        second: Classes predicted by the second system, (n,) int64.
        classes: Number of classes.
    """
    return PairedTest(
        f1_difference=f1_difference(truth, first, second, classes),
        p_value=_approximate_randomization(truth, first, second, classes),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for multiple tests, in the same order (Holm, Scand. J. Statist. 6, 1979).

    The correction controls the family-wise error rate: the probability that any corrected p-value at or below a level
    is a false positive is at most that level.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * np.asarray(p_values)[order]), 1)
    return [float(p) for p in adjusted]


def _approximate_randomization(truth: Classes, first: Classes, second: Classes, classes: int) -> float:
    """Return the p-value by approximate randomization.

    Under the null hypothesis the two predictions of a row are exchangeable. The p-value is the share of random
    exchanges with a difference of F1 at least as large as the observed one (Noreen, Computer-Intensive Methods for
    Testing Hypotheses, 1989). Exactly equal differences count half, as in a mid-p value: otherwise few disagreements
    would hardly ever be significant.

    Rows with the same (truth, first, second) are interchangeable, so only the number of exchanges per cell is drawn.
    """
    if np.array_equal(first, second):
        return 1.0
    rng = np.random.default_rng(SEED)
    agreed, agreed_rows = np.unique(
        np.stack([truth, first, second], axis=1)[first == second], axis=0, return_counts=True
    )
    differing = np.stack([truth, np.minimum(first, second), np.maximum(first, second)], axis=1)[first != second]
    disputed, disputed_rows = np.unique(differing, axis=0, return_counts=True)
    cells = np.concatenate([agreed, disputed, disputed[:, [0, 2, 1]]])
    observed = abs(f1(truth, first, classes) - f1(truth, second, classes))
    larger = equal = 0
    for _ in range(_SHUFFLES // _CHUNK):
        kept = rng.binomial(disputed_rows, 0.5, size=(_CHUNK, len(disputed_rows)))
        constant = np.broadcast_to(agreed_rows, (_CHUNK, len(agreed_rows)))
        draws = np.concatenate([constant, kept, disputed_rows - kept], axis=1).astype(np.float64)
        first_f1, second_f1 = (resampled_f1(cells[:, 0], cells[:, column], draws, classes) for column in (1, 2))
        difference = np.abs(first_f1 - second_f1)
        larger += int(np.sum(difference > observed + _TOLERANCE))
        equal += int(np.sum(np.abs(difference - observed) <= _TOLERANCE))
    # The observed assignment counts as one of the shuffles, so a p-value is never 0.
    return (larger + (equal + 1) / 2) / (_SHUFFLES + 1)
