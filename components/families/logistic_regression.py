"""Fitted logistic regressions as linear layers, shared by the families that end in one."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def softmax_layer(weights: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Return weights (labels, features) and bias (labels,) whose softmax gives the regression's probabilities.

    Args:
        weights: ``coef_`` of scikit-learn's LogisticRegression, (labels, features), or (1, features) for two labels.
        bias: ``intercept_``, (labels,), or (1,) for two labels.
    """
    if len(weights) == 1:
        # Two labels: the softmax over (0, z) is the sigmoid of z.
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.array([0.0, bias[0]])
    return weights, bias
