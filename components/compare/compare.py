"""Comparison step: time and test the systems of several recipes on one dataset, and choose the winner.

The choice rests on the validation split, so that the test split judges the winner in the second gate for the first
time. Its scores are in the table, but choose nothing.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from textgate.components.compare.ranking import (
    choose_winner,
    comparable_seconds,
    compare_pairs,
    letter_display,
    pareto_front,
)
from textgate.components.compare.timing import Timing, time_in_turns
from textgate.components.contracts import Dataset, Evaluation, ModelBundle, Recipe, TrainingCost
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.contracts.comparison import (
    EXPORTED,
    MEASUREMENTS,
    SERVED,
    VALIDATION,
    ComparedSystem,
    Comparison,
    CostLimits,
    SystemMetrics,
)
from textgate.components.contracts.measurement import Measurements

_TIMED_TEXTS = 64
"""Texts of the test split on which every system is timed."""
_SEED = 13


def compare_systems(
    dataset_folder: Path, recipes: Sequence[Recipe], failed: Sequence[str], folders: Sequence[Path], limits: CostLimits
) -> Comparison:
    """Compare the systems of several recipes.

    Args:
        dataset_folder: Dataset on which all were trained and evaluated.
        recipes: Recipes of the systems.
        failed: Error of each system as a sentence; empty if it did not fail.
        folders: Folder of each system, see ``textgate.components.contracts.comparison``.
        limits: Cost limits of the winner.

    Raises:
        InputError: A file of a system cannot be read, or systems were evaluated on different texts.
    """
    dataset = Dataset.open(dataset_folder)
    _, texts, _ = dataset.columns("test")
    outcomes = list(zip(recipes, failed, folders, strict=True))
    finished = {recipe.name: folder for recipe, error, folder in outcomes if not error}
    validation = {name: Evaluation.open(folder / VALIDATION) for name, folder in finished.items()}
    # From here on, every list is in this order: by F1, the highest first.
    names = sorted(validation, key=lambda name: -validation[name].manifest.f1.value)
    timings = time_in_turns([finished[name] / EXPORTED for name in names], _sample(texts)) if names else []
    pairs = compare_pairs({name: validation[name] for name in names})
    metrics = [
        _metrics(finished[name], validation[name], timing, limits) for name, timing in zip(names, timings, strict=True)
    ]
    metrics = _with_ranks(names, metrics, letter_display(names, pairs))
    family = {recipe.name: recipe.train.family for recipe in recipes}
    systems = [
        ComparedSystem(recipe=name, family=family[name], metrics=found)
        for name, found in zip(names, metrics, strict=True)
    ]
    systems += [
        ComparedSystem(recipe=recipe.name, family=recipe.train.family, failed=error)
        for recipe, error, _ in outcomes
        if error
    ]
    winner, as_good, message = choose_winner(systems, pairs, limits)
    print(message, flush=True)
    return Comparison(
        dataset=dataset.manifest.fingerprint,
        labels=dataset.manifest.labels,
        rows=len(texts),
        validation_rows=len(dataset.columns("validation")[0]),
        limits=limits,
        systems=systems,
        pairs=pairs,
        winner=winner,
        as_good=as_good,
        message=message,
    )


def _sample(texts: Sequence[str]) -> list[str]:
    rows = np.random.default_rng(_SEED).permutation(len(texts))[:_TIMED_TEXTS]
    return [texts[row] for row in rows]


def _metrics(folder: Path, validation: Evaluation, timing: Timing, limits: CostLimits) -> SystemMetrics:
    """Return the metrics of one system, without its ranks among the others."""
    served = Evaluation.open(folder / SERVED)
    manifest = folder / EXPORTED / MANIFEST
    size = ModelBundle.parse(manifest.read_bytes(), str(manifest)).size
    slow = limits.max_latency_ms is not None and timing.latency_ms > limits.max_latency_ms
    large = limits.max_size_mb is not None and size > limits.max_size_mb * 1e6
    return SystemMetrics(
        target=Measurements.open(folder / MEASUREMENTS).served,
        validation_f1=validation.manifest.f1,
        f1=served.manifest.f1,
        accuracy=served.manifest.accuracy,
        latency_ms=timing.latency_ms,
        texts_per_second=timing.texts_per_second,
        bytes=size,
        memory=timing.peak_memory,
        training=_training_cost(served),
        within_limits=not (slow or large),
        on_latency_front=False,
        on_training_front=False,
        letters="",
    )


def _training_cost(served: Evaluation) -> TrainingCost:
    cost = served.manifest.training_cost
    if cost is None:
        raise ValueError(f"the evaluation of {served.manifest.bundle} has no training cost")
    return cost


def _with_ranks(names: Sequence[str], metrics: Sequence[SystemMetrics], letters: dict[str, str]) -> list[SystemMetrics]:
    """Return the metrics with the Pareto fronts and the letters filled in."""
    scores = [found.choice_f1.value for found in metrics]
    on_latency_front = pareto_front(scores, [found.latency_ms for found in metrics])
    on_training_front = pareto_front(scores, [comparable_seconds(found.training) for found in metrics])
    return [
        found.model_copy(update={"on_latency_front": fast, "on_training_front": cheap, "letters": letters[name]})
        for name, found, fast, cheap in zip(names, metrics, on_latency_front, on_training_front, strict=True)
    ]
