"""What a target keeps of the trained model, and what it costs to answer with it."""

from pathlib import Path

import numpy as np

from textgate.components.contracts import Evaluation, Export, ModelBundle
from textgate.components.contracts.bundle import OnnxRuntime
from textgate.components.contracts.measurement import Measurement
from textgate.components.export_onnx.speed import measure_speed
from textgate.components.metrics import accuracy, f1_difference, f1_estimate
from textgate.serving import load

_PARITY = {"fp32": 0.01, "fp16": 0.02, "int8": 0.1, "int4": 0.1}
"""Mean absolute difference from the trained model's probabilities that is allowed in each precision."""
_WORDS = 512
"""A linear runtime has no longest text; it is measured up to this many."""


def measure_quality(
    folder: Path, bundle: ModelBundle, target: str, trained: Evaluation, settings: Export
) -> Measurement:
    """The uncalibrated ``bundle`` in ``folder`` against the trained model's answers, on the same texts, untimed."""
    probabilities = np.asarray(load(folder).predict(trained.texts))
    predicted, reference = probabilities.argmax(axis=1), trained.probabilities.argmax(axis=1)
    labels = len(bundle.labels)
    difference = f1_difference(trained.classes, predicted, reference, labels)
    parity = float(np.abs(probabilities - trained.probabilities).mean())
    tolerance = _PARITY[bundle.runtime.precision] if isinstance(bundle.runtime, OnnxRuntime) else _PARITY["fp32"]
    refused = None
    if difference.value < -settings.max_f1_loss:
        refused = f"{target} loses {-difference.value:.4f} F1, more than export.max_f1_loss={settings.max_f1_loss:g}"
    elif parity > tolerance:
        refused = f"the probabilities of {target} are off by {parity:.4f} on average, more than {tolerance:g}"
    return Measurement(
        target=target,
        bytes=sum(entry.size for entry in bundle.files.values()),
        parity=parity,
        agreement=accuracy(predicted, reference),
        f1=f1_estimate(trained.classes, predicted, labels),
        f1_difference=difference,
        speeds=[],
        peak_memory=0,
        refused=refused,
    )


def measure_cost(folder: Path, bundle: ModelBundle, quality: Measurement) -> Measurement:
    """The same measurement with speeds and memory."""
    speeds, peak_memory = measure_speed(folder, getattr(bundle.runtime, "max_tokens", _WORDS))
    return quality.model_copy(update={"speeds": speeds, "peak_memory": peak_memory})


def choose(measured: list[Measurement]) -> Measurement:
    """The fastest of those that keep F1, or the smallest of those within a tenth of it; if none does, the best F1."""
    kept = [measurement for measurement in measured if measurement.refused is None]
    if not kept:
        return max(measured, key=lambda measurement: measurement.f1.value)
    fastest = max(measurement.texts_per_second for measurement in kept)
    return min(
        (measurement for measurement in kept if measurement.texts_per_second >= 0.9 * fastest),
        key=lambda measurement: measurement.bytes,
    )
