"""Intervals of proportions: accuracy, precision, recall, agreement, and the F1 of one class.

Mid-P intervals: Lancaster, Significance tests in discrete distributions, J. Am. Statist. Assoc. 56 (1961); Berry and
Armitage, Mid-P confidence intervals: a brief review, The Statistician 44 (1995). They contain the true proportion in at
least 91.2 % of the cases for every number of rows and every proportion (the minimum, by enumeration, is at 6 rows and a
proportion of 0.59; with 30 to 3,000 rows it is 91.7 %), and in 95 % or more on average over the proportions. Wilson's
and Jeffreys' intervals fall to 85 % near 0 and 1.
"""

import numpy as np
from scipy.special import betainc

from textgate.components.metrics.classification import Floats

CONFIDENCE = 0.95
_BISECTIONS = 50


def mid_p(successes: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the 95 % mid-P intervals of proportions; 0 and 1 where there are no rows.

    At the lower end, P(more successes) + P(equally many) / 2 is 2.5 %, at the upper end 97.5 %.

    Args:
        successes: Numbers of successes, (...,) float64.
        rows: Numbers of rows, in the same shape.
    """
    successes, failures = np.asarray(successes), np.asarray(rows - successes)
    probability = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).reshape(2, *[1] * successes.ndim)
    low, high = np.zeros((2, *successes.shape)), np.ones((2, *successes.shape))
    for _ in range(_BISECTIONS):
        p = (low + high) / 2
        at_least = np.where(successes > 0, betainc(np.maximum(successes, 1), failures + 1, p), 1.0)
        more = np.where(failures > 0, betainc(successes + 1, np.maximum(failures, 1), p), 0.0)
        below = (at_least + more) / 2 < probability
        low, high = np.where(below, p, low), np.where(below, high, p)
    return np.where(successes > 0, low[0], 0.0), np.where(failures > 0, high[1], 1.0)


def f1_of_jaccard(jaccard: Floats) -> Floats:
    """Return the F1 of one class for its Jaccard index, 2 J / (1 + J).

    The Jaccard index is the share of true positives in the rows that belong to the class or are predicted as it, a
    proportion, so that the ends of its interval transform to those of F1 (Lam, Gopal and Qian, Confidence Intervals for
    the F1 Score: A Comparison of Four Methods, arXiv:2309.14621, the indirect method).
    """
    return np.asarray(2 * jaccard / (1 + jaccard))
