"""Fit on the validation split how a bundle's probabilities become its answers."""

import numpy as np

from textgate.components.contracts import Calibration, Dataset, Export, InputError
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.inference import Predictor
from textgate.components.metrics import calibration_error, fit_temperature, threshold_for_f1, threshold_for_precision

SPLIT = "validation"


def calibrate(predictor: Predictor, dataset: Dataset, settings: Export) -> Calibration:
    """The temperature, and the threshold if one is asked for, that fit the answers of an uncalibrated ``predictor``.

    Both are rounded to what their data can tell, so that the last bits of a sum do not make another bundle.

    Raises:
        InputError: a threshold is asked for where there are not two labels, or none has the precision asked for.
    """
    labels = dataset.manifest.labels
    if settings.threshold and len(labels) != 2:
        raise InputError(f"export.threshold={settings.threshold} is for two labels, but there are {len(labels)}")
    _, texts, classes = dataset.columns(SPLIT)
    raw = np.asarray(predictor.predict_proba(texts))
    temperature = float(f"{fit_temperature(classes, raw):.3g}")
    probabilities = apply_temperature(raw, temperature)
    print(
        f"temperature {temperature:g}: expected calibration error {calibration_error(classes, raw):.4f} before, "
        f"{calibration_error(classes, probabilities):.4f} after, on the {SPLIT} split",
        flush=True,
    )
    threshold = None
    if settings.threshold == "f1":
        threshold = threshold_for_f1(classes, probabilities[:, 1])
    elif settings.min_precision is not None:
        threshold = threshold_for_precision(classes, probabilities[:, 1], settings.min_precision)
    if threshold is not None:
        threshold = round(threshold, 4)
        print(f"{labels[1]} is answered from probability {threshold:g} on", flush=True)
    return Calibration(temperature=temperature, threshold=threshold)
