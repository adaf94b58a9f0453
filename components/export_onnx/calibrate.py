"""Calibration of a served bundle: a temperature and a decision threshold, fitted on the validation split."""

import numpy as np

from textgate.components.contracts import Calibration, Dataset, Export, InputError
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.inference import Predictor
from textgate.components.metrics import calibration_error, fit_temperature, threshold_for_f1, threshold_for_precision

SPLIT = "validation"


def calibrate(predictor: Predictor, dataset: Dataset, settings: Export) -> Calibration:
    """Fit the temperature and, if ``export.threshold`` is set, the threshold of an uncalibrated predictor.

    Both are rounded to the precision that the data supports, so that rounding errors do not change the bundle.

    Raises:
        InputError: A threshold is requested for more than two labels, or no threshold reaches the requested precision.
    """
    labels = dataset.manifest.labels
    if settings.threshold and len(labels) != 2:
        raise InputError(f"export.threshold={settings.threshold} is for two labels, but there are {len(labels)}")
    _, texts, classes = dataset.columns(SPLIT)
    uncalibrated = np.asarray(predictor.predict_proba(texts))
    temperature = float(f"{fit_temperature(classes, uncalibrated):.3g}")
    probabilities = apply_temperature(uncalibrated, temperature)
    print(
        f"temperature {temperature:g}: expected calibration error {calibration_error(classes, uncalibrated):.4f} "
        f"before, {calibration_error(classes, probabilities):.4f} after, on the {SPLIT} split",
        flush=True,
    )
    threshold = None
    if settings.threshold == "f1":
        threshold = threshold_for_f1(classes, probabilities[:, 1])
    elif settings.min_precision is not None:
        threshold = threshold_for_precision(classes, probabilities[:, 1], settings.min_precision)
    if threshold is not None:
        threshold = round(threshold, 4)
        print(f"{labels[1]} is predicted from probability {threshold:g} on", flush=True)
    return Calibration(temperature=temperature, threshold=threshold)
