"""Logits to probabilities, and temperature scaling of probabilities.

It is a part of the contracts because the judge (``components.metrics``) and the server (``components.inference``) both
need it, and the server does not install scipy, which the metrics import.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def softmax(logits: Floats) -> Floats:
    """Return the probabilities (n, labels) float64 of ``logits`` (n, labels); n may be 0."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def apply_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Return ``probabilities`` scaled by ``temperature``, which equals the softmax of their logits / ``temperature``.

    Guo et al., On Calibration of Modern Neural Networks (ICML 2017), section 4.2.

    Args:
        probabilities: (n, labels) float64, rows summing to 1; n may be 0.
        temperature: Above 0. 1 changes nothing, a higher one makes the probabilities less confident.
    """
    powers = (probabilities / probabilities.max(axis=1, keepdims=True, initial=0)) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
