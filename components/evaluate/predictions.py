"""Predictions of one bundle on one split, as the analyses of evaluate read them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Predictions:
    """Texts, true classes and predictions of n rows."""

    texts: Sequence[str]
    """Texts of the rows."""
    truth: npt.NDArray[np.int64]
    """Index of the true class per row, (n,) int64."""
    probabilities: npt.NDArray[np.float64]
    """Calibrated probabilities, (n, classes) float64."""
    predicted: npt.NDArray[np.int64]
    """Index of the predicted class per row, (n,) int64."""

    @property
    def class_count(self) -> int:
        """Number of classes."""
        return int(self.probabilities.shape[1])
