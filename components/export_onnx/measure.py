"""Accuracy that an export target keeps of the model before export, and the cost of predicting with it.

The target to serve is chosen on the validation split. The test split judges only the chosen one, in the second gate:
the best of several targets on one split is too good there.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Dataset, Export, ModelBundle
from textgate.components.contracts.export_target import EXPORT_TARGETS, PARITY_TOLERANCE, ExportTarget
from textgate.components.contracts.measurement import Measurement
from textgate.components.families import max_benchmark_tokens, open_predictor
from textgate.components.families.speed import measure_speed
from textgate.components.metrics import accuracy, f1_difference, f1_estimate

SPLIT = "validation"


@dataclass(frozen=True)
class Reference:
    """Predictions of the model before export for the validation split, to which every target is compared."""

    texts: list[str]
    """Texts, n."""
    truth: npt.NDArray[np.int64]
    """Index of the true class per text, (n,) int64."""
    probabilities: npt.NDArray[np.float64]
    """Uncalibrated probabilities, (n, classes) float64."""

    @classmethod
    def predict(cls, folder: Path, bundle: ModelBundle, dataset: Dataset) -> "Reference":
        """Predict the validation split with the merged bundle in ``folder``."""
        _, texts, truth = dataset.columns(SPLIT)
        return cls(texts, truth, np.asarray(open_predictor(folder, bundle).predict_proba(texts)))


def measure_quality(
    folder: Path, bundle: ModelBundle, reference: Reference, settings: Export, target: ExportTarget | None = None
) -> Measurement:
    """Compare a bundle with the model before export.

    Args:
        folder: Folder of the bundle.
        bundle: Its manifest, uncalibrated.
        reference: Predictions of the model before export.
        settings: Losses that are allowed.
        target: Export target of the bundle; None for a family that is served as it was trained.

    Returns:
        The measurement without speeds and memory. ``refused`` says why the bundle should not be served, if so.
    """
    name = target.name if target else bundle.runtime.name
    tolerance = target.parity_tolerance if target else PARITY_TOLERANCE["fp32"]
    probabilities = np.asarray(open_predictor(folder, bundle).predict_proba(reference.texts))
    predicted, expected = probabilities.argmax(axis=1), reference.probabilities.argmax(axis=1)
    labels = len(bundle.labels)
    difference = f1_difference(reference.truth, predicted, expected, labels)
    agreement = accuracy(predicted, expected)
    parity = float(np.abs(probabilities - reference.probabilities).mean())
    refused = None
    if difference.value < -settings.max_f1_loss:
        refused = f"{name} loses {-difference.value:.4f} F1, more than export.max_f1_loss={settings.max_f1_loss:g}"
    elif agreement < settings.min_agreement:
        refused = (
            f"{name} answers as the trained model on {agreement:.2%} of the {SPLIT} texts, "
            f"fewer than export.min_agreement={settings.min_agreement:g}"
        )
    elif parity > tolerance:
        refused = f"the probabilities of {name} are off by {parity:.4f} on average, more than {tolerance:g}"
    return Measurement(
        target=name,
        bytes=bundle.size,
        parity=parity,
        agreement=agreement,
        split=SPLIT,
        f1=f1_estimate(reference.truth, predicted, labels),
        f1_difference=difference,
        speeds=[],
        peak_memory=0,
        refused=refused,
    )


def measure_cost(folder: Path, bundle: ModelBundle, quality: Measurement) -> Measurement:
    """Return ``quality`` with the bundle's speeds and peak memory added, and the machine that they were measured on."""
    return quality.model_copy(update=measure_speed(folder, max_benchmark_tokens(bundle))._asdict())


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
