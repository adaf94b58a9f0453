"""Scores on slices of a split: by text length, by source file and by metadata column."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Estimate
from textgate.components.contracts.evaluation import Slice
from textgate.components.evaluate.predictions import Predictions
from textgate.components.metrics import RESAMPLES, SEED, accuracy_estimate, f1_estimate, interval

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

    F1 of two classes is 0 in a slice in which the last class neither occurs nor is predicted.

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
    return [
        _score(column, value, predictions, rows)
        for column, rows_by_value in columns.items()
        for value, rows in rows_by_value.items()
    ]


def length_bias(texts: Sequence[str], correct: npt.NDArray[np.bool_]) -> Estimate | None:
    """Return the accuracy on the longest quarter of the texts minus that on the shortest, with its 95 % interval.

    A positive value means that long texts are classified better. If the interval contains 0, the difference is not
    significant.

    Args:
        texts: Texts of the split.
        correct: Whether the prediction for each text is correct, (n,) bool.

    Returns:
        The difference with a bootstrap interval, or None if too many texts have the same length to form quarters.
    """
    quarters = list(_by_length(texts).values())
    if not quarters:
        return None
    ends = [correct[rows] for rows in (quarters[-1], quarters[0])]
    # The number of correct predictions in a bootstrap sample is binomial.
    rng = np.random.default_rng(SEED)
    longest, shortest = (rng.binomial(len(end), end.mean(), RESAMPLES) / len(end) for end in ends)
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


def _score(column: str, value: str, predictions: Predictions, rows: npt.NDArray[np.int64]) -> Slice:
    truth, predicted, classes = predictions.truth[rows], predictions.predicted[rows], predictions.class_count
    f1 = f1_estimate(truth, predicted, classes)
    if classes > 2:
        # Macro F1 counts a class that neither occurs nor is predicted here as 0: average over the other classes.
        factor = classes / len(np.union1d(truth, predicted))
        f1 = Estimate(value=f1.value * factor, low=f1.low * factor, high=f1.high * factor)
    return Slice(
        column=column,
        value=value or NO_VALUE,
        rows=len(rows),
        f1=f1,
        accuracy=accuracy_estimate(truth, predicted),
    )
