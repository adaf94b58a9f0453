"""Calibration of a served bundle: a temperature and a decision threshold, fitted on the validation split."""

import numpy as np

from textgate.components.contracts import Calibration, Dataset, Export
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.inference import Predictor
from textgate.components.metrics import calibration_error, fit_temperature
from textgate.components.metrics.decision_threshold import fit_threshold

SPLIT = "validation"


def calibrate(predictor: Predictor, dataset: Dataset, settings: Export) -> Calibration:
    """Fit the temperature and, if ``export.threshold`` is set, the threshold of an uncalibrated predictor.

    There is no threshold if none is good enough, see ``metrics.thresholds``; the second gate then rejects a model that
    promises a precision. Both numbers are rounded to the precision that the data supports, so that rounding errors do
    not change the bundle.

    Raises:
        InputError: A threshold is requested for more than two labels.
    """
    labels = dataset.manifest.labels
    _, texts, classes = dataset.columns(SPLIT)
    uncalibrated = np.asarray(predictor.predict_proba(texts))
    temperature = float(f"{fit_temperature(classes, uncalibrated):.3g}")
    probabilities = apply_temperature(uncalibrated, temperature)
    print(
        f"temperature {temperature:g}: expected calibration error {calibration_error(classes, uncalibrated):.4f} "
        f"before, {calibration_error(classes, probabilities):.4f} after, on the {SPLIT} split",
        flush=True,
    )
    threshold = fit_threshold(classes, probabilities, labels, settings)
    if threshold is not None:
        print(f"{labels[1]} is predicted from probability {threshold:g} on", flush=True)
    elif settings.threshold:
        print(f"no threshold is kept: {_reason(settings)} on the {SPLIT} split ({len(texts):,} texts)", flush=True)
    return Calibration(temperature=temperature, threshold=threshold)


def _reason(settings: Export) -> str:
    if settings.min_precision is not None:
        return f"none has a precision of {settings.min_precision:g} with 95 % confidence"
    return "the gain in F1 over 0.5 is not larger than chance"
