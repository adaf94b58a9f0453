"""Reproducible samples of rows."""

import numpy as np
import numpy.typing as npt


def sample_rows(rows: int, size: int, seed: int) -> npt.NDArray[np.int64]:
    """Return ``size`` distinct indices below ``rows`` in ascending order, or all of them if there are no more.

    The same seed gives the same indices.
    """
    if size >= rows:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))
