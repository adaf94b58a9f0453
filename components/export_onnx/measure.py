"""Accuracy that an export target keeps of the trained model, and the cost of predicting with it."""

from pathlib import Path

import numpy as np

from textgate.components.contracts import Evaluation, Export, ModelBundle
from textgate.components.contracts.export_target import EXPORT_TARGETS, PARITY_TOLERANCE, ExportTarget
from textgate.components.contracts.measurement import Measurement
from textgate.components.families import max_benchmark_tokens, open_predictor
from textgate.components.families.speed import measure_speed
from textgate.components.metrics import accuracy, f1_difference, f1_estimate


def measure_quality(
    folder: Path, bundle: ModelBundle, trained: Evaluation, settings: Export, target: ExportTarget | None = None
) -> Measurement:
    """Compare a bundle with the trained model on the texts of its evaluation.

    Args:
        folder: Folder of the bundle.
        bundle: Its manifest, uncalibrated.
        trained: Evaluation of the trained model.
        settings: Losses that are allowed.
        target: Export target of the bundle; None for a family that is served as it was trained.

    Returns:
        The measurement without speeds and memory. ``refused`` says why the bundle should not be served, if so.
    """
    name = target.name if target else bundle.runtime.name
    tolerance = target.parity_tolerance if target else PARITY_TOLERANCE["fp32"]
    probabilities = np.asarray(open_predictor(folder, bundle).predict_proba(trained.texts))
    predicted, reference = probabilities.argmax(axis=1), trained.probabilities.argmax(axis=1)
    labels = len(bundle.labels)
    difference = f1_difference(trained.truth, predicted, reference, labels)
    agreement = accuracy(predicted, reference)
    parity = float(np.abs(probabilities - trained.probabilities).mean())
    refused = None
    if difference.value < -settings.max_f1_loss:
        refused = f"{name} loses {-difference.value:.4f} F1, more than export.max_f1_loss={settings.max_f1_loss:g}"
    elif agreement < settings.min_agreement:
        refused = (
            f"{name} answers as the trained model on {agreement:.2%} of the test texts, "
            f"fewer than export.min_agreement={settings.min_agreement:g}"
        )
    elif parity > tolerance:
        refused = f"the probabilities of {name} are off by {parity:.4f} on average, more than {tolerance:g}"
    return Measurement(
        target=name,
        bytes=bundle.size,
        parity=parity,
        agreement=agreement,
        f1=f1_estimate(trained.truth, predicted, labels),
        f1_difference=difference,
        speeds=[],
        peak_memory=0,
        refused=refused,
    )


def measure_cost(folder: Path, bundle: ModelBundle, quality: Measurement) -> Measurement:
    """Return ``quality`` with the bundle's speeds and peak memory added."""
    speeds, peak_memory = measure_speed(folder, max_benchmark_tokens(bundle))
    return quality.model_copy(update={"speeds": speeds, "peak_memory": peak_memory})


def choose_served(measurements: list[Measurement]) -> Measurement:
    """Return the measurement of the target to serve.

    The fastest target within the limits is served, or the smallest of those within 10 % of its speed. Targets that need
    torch are served only if no other is within the limits. If none is, the target with the best F1 is returned.
    """
    within_limits = [measurement for measurement in measurements if measurement.refused is None]
    if not within_limits:
        return max(measurements, key=lambda measurement: measurement.f1.value)
    without_torch = [found for found in within_limits if not EXPORT_TARGETS[found.target].needs_torch]
    candidates = without_torch or within_limits
    fastest = max(measurement.texts_per_second for measurement in candidates)
    return min(
        (measurement for measurement in candidates if measurement.texts_per_second >= 0.9 * fastest),
        key=lambda measurement: measurement.bytes,
    )
