"""What a target keeps of the trained model, and what it costs to answer with it."""

from pathlib import Path

import numpy as np

from textgate.components.contracts import Evaluation, Export, ModelBundle
from textgate.components.contracts.bundle import OnnxRuntime, Runtime, TransformersRuntime
from textgate.components.contracts.measurement import Measurement
from textgate.components.families import longest_served, open_predictor
from textgate.components.families.speed import measure_speed
from textgate.components.metrics import accuracy, f1_difference, f1_estimate

_PARITY = {"fp32": 0.01, "fp16": 0.02, "int8": 0.1, "int4": 0.1, "nf4": 0.1}
"""Mean absolute difference from the trained model's probabilities that is allowed in each precision."""


def measure_quality(
    folder: Path, bundle: ModelBundle, target: str, trained: Evaluation, settings: Export
) -> Measurement:
    """The uncalibrated ``bundle`` in ``folder`` against the trained model's answers, on the same texts, untimed."""
    probabilities = np.asarray(open_predictor(folder, bundle).predict_proba(trained.texts))
    predicted, reference = probabilities.argmax(axis=1), trained.probabilities.argmax(axis=1)
    labels = len(bundle.labels)
    difference = f1_difference(trained.classes, predicted, reference, labels)
    agreement = accuracy(predicted, reference)
    parity = float(np.abs(probabilities - trained.probabilities).mean())
    tolerance = _PARITY[_precision(bundle.runtime)]
    refused = None
    if difference.value < -settings.max_f1_loss:
        refused = f"{target} loses {-difference.value:.4f} F1, more than export.max_f1_loss={settings.max_f1_loss:g}"
    elif agreement < settings.min_agreement:
        refused = (
            f"{target} answers as the trained model on {agreement:.2%} of the test texts, "
            f"fewer than export.min_agreement={settings.min_agreement:g}"
        )
    elif parity > tolerance:
        refused = f"the probabilities of {target} are off by {parity:.4f} on average, more than {tolerance:g}"
    return Measurement(
        target=target,
        bytes=bundle.size,
        parity=parity,
        agreement=agreement,
        f1=f1_estimate(trained.classes, predicted, labels),
        f1_difference=difference,
        speeds=[],
        peak_memory=0,
        refused=refused,
    )


def measure_cost(folder: Path, bundle: ModelBundle, quality: Measurement) -> Measurement:
    """The same measurement with speeds and memory."""
    speeds, peak_memory = measure_speed(folder, longest_served(bundle))
    return quality.model_copy(update={"speeds": speeds, "peak_memory": peak_memory})


def choose(measured: list[Measurement]) -> Measurement:
    """The fastest of those that keep F1, or the smallest of those within a tenth of it; if none does, the best F1.

    What needs another runtime than this package's comes after all that does not.
    """
    kept = [measurement for measurement in measured if measurement.refused is None]
    if not kept:
        return max(measured, key=lambda measurement: measurement.f1.value)
    kept = [measurement for measurement in kept if not measurement.target.startswith("hf")] or kept
    fastest = max(measurement.texts_per_second for measurement in kept)
    return min(
        (measurement for measurement in kept if measurement.texts_per_second >= 0.9 * fastest),
        key=lambda measurement: measurement.bytes,
    )


def _precision(runtime: Runtime) -> str:
    match runtime:
        case OnnxRuntime():
            return runtime.precision
        case TransformersRuntime():
            return runtime.quantization or "fp32"
    # Served as it was trained.
    return "fp32"
