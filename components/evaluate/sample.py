"""Some rows of many, the same ones for the same seed."""

import numpy as np
import numpy.typing as npt


def draw(rows: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """``count`` different numbers below ``rows``, ascending; all of them where there are no more."""
    if count >= rows:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
