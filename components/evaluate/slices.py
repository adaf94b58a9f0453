"""The rows of a split told apart by length, by source and by every metadata column, each part judged by itself."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Estimate
from textgate.components.contracts.evaluation import Slice
from textgate.components.metrics import RESAMPLES, SEED, accuracy_estimate, f1_estimate, interval

MOST_VALUES = 20
LEAST_ROWS = 20
NO_VALUE = "(none)"
_QUARTERS = (0.25, 0.5, 0.75, 1)

_Parts = dict[str, npt.NDArray[np.int64]]
"""Numbers of the rows that have a value, by value."""


def slices(
    texts: Sequence[str],
    ids: Sequence[str],
    metadata: Sequence[dict[str, str]],
    classes: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    labels_count: int,
) -> list[Slice]:
    """The slices of a split, given row by row; ``classes`` and ``predicted`` are (n,).

    First by ``length``: the quarters of the texts from the shortest to the longest, fewer where many are equally long.
    Then by ``source``, the part of a row's id before its last colon, and by each metadata column: of their values the
    ``MOST_VALUES`` most frequent that have ``LEAST_ROWS``, most frequent first. A column that is the same everywhere is
    left out; a metadata column called ``length`` or ``source`` takes the place of the one here.

    F1 is 0 in a slice in which the last of two labels is neither true nor answered.
    """
    columns = {
        "length": _by_length(texts),
        "source": _by_value([identity.rpartition(":")[0] for identity in ids]),
        **{column: _by_value([row[column] for row in metadata]) for column in (metadata[0] if metadata else ())},
    }
    return [
        _slice(column, value, classes[rows], predicted[rows], labels_count)
        for column, parts in columns.items()
        for value, rows in parts.items()
    ]


def length_bias(texts: Sequence[str], right: npt.NDArray[np.bool_]) -> Estimate | None:
    """Accuracy on the longest quarter of the texts less that on the shortest, with its 95 % bootstrap interval.

    ``right`` (n,) says which texts are answered rightly. Above 0 long texts are answered better, below 0 short ones;
    where 0 lies in the interval, length makes no difference that can be told. None where so many texts are equally long
    that they cannot be cut.
    """
    parts = list(_by_length(texts).values())
    if not parts:
        return None
    ends = [right[rows] for rows in (parts[-1], parts[0])]
    # How many of a part's rows a resample of them finds right is binomial.
    rng = np.random.default_rng(SEED)
    longest, shortest = (rng.binomial(len(end), end.mean(), RESAMPLES) / len(end) for end in ends)
    return interval(float(ends[0].mean() - ends[1].mean()), longest - shortest)


def _by_length(texts: Sequence[str]) -> _Parts:
    lengths = np.array([len(text.split()) for text in texts], dtype=np.int64)
    if not len(lengths):
        return {}
    longest = np.unique(np.quantile(lengths, _QUARTERS, method="inverted_cdf"))
    part = np.searchsorted(longest, lengths)
    parts = [np.flatnonzero(part == number) for number in range(len(longest))]
    return {_words(lengths[rows]): rows for rows in parts} if len(parts) > 1 else {}


def _words(lengths: npt.NDArray[np.int64]) -> str:
    shortest, longest = int(lengths.min()), int(lengths.max())
    numbers = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
    return f"{numbers} word" if numbers == "1" else f"{numbers} words"


def _by_value(values: Sequence[str]) -> _Parts:
    counts = Counter(values)
    if len(counts) < 2:
        return {}
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_VALUES]
    of_value: dict[str, list[int]] = {value: [] for value, rows in frequent if rows >= LEAST_ROWS}
    for row, value in enumerate(values):
        if value in of_value:
            of_value[value].append(row)
    return {value: np.array(rows, dtype=np.int64) for value, rows in of_value.items()}


def _slice(
    column: str, value: str, classes: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], labels_count: int
) -> Slice:
    f1 = f1_estimate(classes, predicted, labels_count)
    if labels_count > 2:
        # A label that is neither true nor answered here has F1 0 in the mean over all labels; it is taken out of it.
        share = labels_count / len(np.union1d(classes, predicted))
        f1 = Estimate(value=f1.value * share, low=f1.low * share, high=f1.high * share)
    return Slice(
        column=column,
        value=value or NO_VALUE,
        rows=len(classes),
        f1=f1,
        accuracy=accuracy_estimate(classes, predicted),
    )
