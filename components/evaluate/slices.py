"""Scores on slices of a split, by text length, source file and metadata column, and a test for worse slices.

Each slice is compared with the other rows by Fisher's exact test, one-sided; p-values are corrected for the number of
slices (Holm, Scand. J. Statist. 6, 1979), which holds for overlapping slices, too.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import hypergeom

from textgate.components.contracts import Estimate
from textgate.components.contracts.evaluation import Slice
from textgate.components.evaluate.predictions import Predictions
from textgate.components.evaluate.sample_f1 import sample_f1
from textgate.components.metrics import RESAMPLES, SEED, accuracy_estimate, holm, interval

MAX_VALUES = 20
"""Slices per column, the most frequent values first."""
MIN_ROWS = 20
"""Rows that a value must have to be a slice."""
NO_VALUE = "(none)"
"""Name of the slice of rows with an empty cell."""
_QUARTERS = (0.25, 0.5, 0.75, 1)

_RowsByValue = dict[str, npt.NDArray[np.int64]]
"""Value of a column to the indices of its rows, int64."""


def score_slices(predictions: Predictions, ids: Sequence[str], metadata: Sequence[dict[str, str]]) -> list[Slice]:
    """Return the scores of each slice of a split.

    The columns are ``length`` (quarters of the texts by number of words, fewer if many texts have the same length),
    ``source`` (the part of the row's id before the last colon) and each metadata column. A metadata column named
    ``length`` or ``source`` replaces the built-in one. A column with a single value is left out.

    F1 is that of ``sample_f1``: None in a slice of one class, whose accuracy is the recall of that class.

    Args:
        predictions: Predictions for the n rows of the split.
        ids: Ids of the rows.
        metadata: Metadata of the rows, column name to value.
    """
    columns = {
        "length": _by_length(predictions.texts),
        "source": _by_value([identity.rpartition(":")[0] for identity in ids]),
        **{column: _by_value([row[column] for row in metadata]) for column in (metadata[0] if metadata else ())},
    }
    slices = [
        (column, value, rows) for column, rows_by_value in columns.items() for value, rows in rows_by_value.items()
    ]
    correct = predictions.truth == predictions.predicted
    p_values = holm([_p_worse(correct, rows) for *_, rows in slices])
    return [
        Slice(
            column=column,
            value=value or NO_VALUE,
            rows=len(rows),
            f1=sample_f1(predictions.truth[rows], predictions.predicted[rows], predictions.class_count),
            accuracy=accuracy_estimate(predictions.truth[rows], predictions.predicted[rows]),
            p_worse=p_value,
        )
        for (column, value, rows), p_value in zip(slices, p_values, strict=True)
    ]


def length_bias(texts: Sequence[str], correct: npt.NDArray[np.bool_]) -> Estimate | None:
    """Return the accuracy on the longest quarter of the texts minus that on the shortest, with its 95 % interval.

    A positive value means that long texts are classified better. If the interval contains 0, the difference is not
    significant.

    Args:
        texts: Texts of the split.
        correct: Whether the prediction for each text is correct, (n,) bool.

    Returns:
        The difference with its interval, or None if too many texts have the same length to form quarters.
    """
    quarters = list(_by_length(texts).values())
    if not quarters:
        return None
    ends = [correct[rows] for rows in (quarters[-1], quarters[0])]
    # Jeffreys' posterior of a proportion: unlike resamples, it has a width without errors, too (Brown, Cai and
    # DasGupta, Interval Estimation for a Binomial Proportion, Statistical Science 16, 2001).
    rng = np.random.default_rng(SEED)
    longest, shortest = (rng.beta(end.sum() + 0.5, (~end).sum() + 0.5, RESAMPLES) for end in ends)
    return interval(float(ends[0].mean() - ends[1].mean()), longest - shortest)


def _by_length(texts: Sequence[str]) -> _RowsByValue:
    lengths = np.array([len(text.split()) for text in texts], dtype=np.int64)
    if not len(lengths):
        return {}
    upper_bounds = np.unique(np.quantile(lengths, _QUARTERS, method="inverted_cdf"))
    quarter_of_row = np.searchsorted(upper_bounds, lengths)
    quarters = [np.flatnonzero(quarter_of_row == quarter) for quarter in range(len(upper_bounds))]
    return {_length_range(lengths[rows]): rows for rows in quarters} if len(quarters) > 1 else {}


def _length_range(lengths: npt.NDArray[np.int64]) -> str:
    shortest, longest = int(lengths.min()), int(lengths.max())
    numbers = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
    return f"{numbers} word" if numbers == "1" else f"{numbers} words"


def _by_value(values: Sequence[str]) -> _RowsByValue:
    counts = Counter(values)
    if len(counts) < 2:
        return {}
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_VALUES]
    rows_by_value: dict[str, list[int]] = {value: [] for value, rows in frequent if rows >= MIN_ROWS}
    for row, value in enumerate(values):
        if value in rows_by_value:
            rows_by_value[value].append(row)
    return {value: np.array(rows, dtype=np.int64) for value, rows in rows_by_value.items()}


def _p_worse(correct: npt.NDArray[np.bool_], rows: npt.NDArray[np.int64]) -> float:
    """Return the probability of as few correct predictions in a random slice of this size (Fisher's exact test).

    Args:
        correct: Whether the prediction of each row of the split is correct, (n,) bool.
        rows: Indices of the slice.
    """
    return float(hypergeom.cdf(correct[rows].sum(), len(correct), correct.sum(), len(rows)))
