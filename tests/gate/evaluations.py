"""Evaluations of made-up predictions, as the gates read them."""

from collections.abc import Sequence

import numpy as np

from textgate.components.contracts import Evaluation, EvaluationManifest, GateDecision
from textgate.components.contracts.measurement import Measurements
from textgate.components.gate.champion_rules import Champion
from textgate.components.metrics import accuracy_estimate, class_scores, confusion, estimates, f1_estimate

MEASURED = Measurements(served="onnx-int8", max_f1_loss=0.02, min_agreement=0.95, targets=[])
LABELS = ["bad", "good"]
ROWS = 1_000
TRUTH = np.arange(ROWS, dtype=np.int64) % 2


def wrong_at(*rows: range) -> np.ndarray:
    """Return predictions for ``TRUTH`` that are wrong at ``rows`` and correct otherwise."""
    predicted = TRUTH.copy()
    for indices in rows:
        predicted[list(indices)] = 1 - predicted[list(indices)]
    return predicted


def evaluation(
    predicted: np.ndarray, bundle: str = "new", truth: np.ndarray = TRUTH, labels: Sequence[str] = LABELS
) -> Evaluation:
    """Return the evaluation of a model with these predictions; its F1 and accuracy are computed, not the rest."""
    probabilities = np.eye(len(labels))[predicted] * 0.8 + 0.2 / len(labels)
    manifest = EvaluationManifest(
        bundle=bundle,
        runtime="onnx",
        dataset="data",
        split="test",
        labels=list(labels),
        metrics={"f1": f1_estimate(truth, predicted, len(labels)), "accuracy": accuracy_estimate(truth, predicted)},
        per_class={},
        confusion=confusion(truth, predicted, len(labels)).tolist(),
        calibration_error_before=0.1,
        rows_per_second=100.0,
    )
    texts = [f"<script>alert({index})</script>" for index in range(len(truth))]
    return Evaluation(manifest, [str(index) for index in range(len(truth))], texts, truth, probabilities)


def complete(partial: Evaluation) -> Evaluation:
    """Return an evaluation with every metric, and with the scores of every label."""
    labels, predicted = partial.manifest.labels, partial.predicted
    scores = class_scores(partial.truth, predicted, len(labels))
    update = {
        "metrics": estimates(partial.truth, predicted, partial.probabilities),
        "per_class": dict(zip(labels, scores, strict=True)),
    }
    manifest = partial.manifest.model_copy(update=update)
    return Evaluation(manifest, partial.ids, partial.texts, partial.truth, partial.probabilities)


def champion(predicted: np.ndarray | None, bundle: str = "old", labels: Sequence[str] = LABELS) -> Champion:
    """Return the champion v1 with these predictions for the same texts."""
    return Champion("v1", bundle, list(labels), predicted)


def failed(decision: GateDecision) -> list[str]:
    """Return the names of the rules that failed."""
    return [rule.name for rule in decision.rules if not rule.passed]
