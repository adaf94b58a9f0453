"""Evaluations and systems with made-up numbers."""

from collections.abc import Sequence

import numpy as np

from textgate.components.contracts import Estimate, Evaluation, EvaluationManifest, TrainingCost
from textgate.components.contracts.comparison import ComparedSystem, SystemMetrics


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.02, high=value + 0.02)


def evaluation(truth: Sequence[int], predicted: Sequence[int], ids: Sequence[str] | None = None) -> Evaluation:
    """Return the evaluation of certain predictions of two classes."""
    manifest = EvaluationManifest(
        bundle="0" * 64,
        runtime="linear",
        dataset="1" * 64,
        split="test",
        labels=["bad", "good"],
        metrics={"f1": estimate(0.5), "accuracy": estimate(0.5)},
        per_class={},
        confusion=[[0, 0], [0, 0]],
        calibration_error_before=0,
        rows_per_second=1,
    )
    names = list(ids or map(str, range(len(truth))))
    return Evaluation(manifest, names, names, np.array(truth), np.eye(2)[np.array(predicted)])


def system(
    name: str,
    f1: float = 0,
    *,
    latency_ms: float = 1,
    size_mb: float = 1,
    seconds: float = 1,
    within: bool = True,
    failed: str | None = None,
) -> ComparedSystem:
    """Return a system with these numbers, or one that failed."""
    if failed:
        return ComparedSystem(recipe=name, family="linear", failed=failed)
    metrics = SystemMetrics(
        target="linear",
        validation_f1=estimate(f1),
        f1=estimate(f1 - 0.05),
        accuracy=estimate(f1),
        latency_ms=latency_ms,
        texts_per_second=1_000 / latency_ms,
        bytes=int(size_mb * 1e6),
        memory=100_000_000,
        training=TrainingCost(seconds=seconds, peak_memory=200_000_000),
        within_limits=within,
        on_latency_front=True,
        on_training_front=False,
        letters="a",
    )
    return ComparedSystem(recipe=name, family="linear", metrics=metrics)
