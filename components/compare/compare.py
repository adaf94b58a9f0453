"""Put the systems that were made on one dataset side by side, and find the winner."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from textgate.components.compare.judge import choose, compare_pairs, letters, on_front
from textgate.components.compare.timing import Timing, time_in_turns
from textgate.components.contracts import Dataset, Evaluation, ModelBundle, Recipe, TrainingCost
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.contracts.comparison import (
    EXPORTED,
    MEASUREMENTS,
    SERVED,
    ComparedSystem,
    Comparison,
    CostLimits,
    SystemMetrics,
)
from textgate.components.contracts.measurement import Measurements

_TEXTS = 64
"""Of the test split, that every system is timed on."""
_SEED = 13


def compare_systems(
    dataset_folder: Path, recipes: Sequence[Recipe], failed: Sequence[str], folders: Sequence[Path], limits: CostLimits
) -> Comparison:
    """Time the systems in turns, test every difference, and choose.

    ``failed`` says of each recipe why it did, or is empty; ``folders`` are what the others left.

    Raises:
        InputError: what one left cannot be read, or was made on another dataset.
    """
    dataset = Dataset.open(dataset_folder)
    _, texts, _ = dataset.columns("test")
    left = {recipe.name: folder for recipe, why, folder in zip(recipes, failed, folders, strict=True) if not why}
    served = {name: Evaluation.open(folder / SERVED) for name, folder in left.items()}
    names = sorted(served, key=lambda name: -served[name].manifest.f1.value)
    timings = time_in_turns([left[name] / EXPORTED for name in names], _some(texts)) if names else []
    pairs = compare_pairs({name: served[name] for name in names})
    signs = letters(names, pairs)
    costs = [_training(served[name]) for name in names]
    scores = [served[name].manifest.f1.value for name in names]
    fastest = on_front(scores, [timing.latency_ms for timing in timings])
    quickest = on_front(scores, [cost.seconds for cost in costs])
    measured = {
        name: _measured(left[name], served[name], timing, cost, limits).model_copy(
            update={"on_latency_front": fast, "on_training_front": quick, "letters": signs[name]}
        )
        for name, timing, cost, fast, quick in zip(names, timings, costs, fastest, quickest, strict=True)
    }
    family = {recipe.name: recipe.train.family for recipe in recipes}
    systems = [ComparedSystem(recipe=name, family=family[name], metrics=measured[name]) for name in names]
    systems += [
        ComparedSystem(recipe=recipe.name, family=recipe.train.family, failed=why)
        for recipe, why in zip(recipes, failed, strict=True)
        if why
    ]
    winner, as_good, words = choose(systems, pairs, limits)
    print(words, flush=True)
    return Comparison(
        dataset=dataset.manifest.fingerprint,
        labels=dataset.manifest.labels,
        rows=len(texts),
        limits=limits,
        systems=systems,
        pairs=pairs,
        winner=winner,
        as_good=as_good,
        message=words,
    )


def _some(texts: Sequence[str]) -> list[str]:
    drawn = np.random.default_rng(_SEED).permutation(len(texts))[:_TEXTS]
    return [texts[row] for row in drawn]


def _training(served: Evaluation) -> TrainingCost:
    cost = served.manifest.training_cost
    if cost is None:
        raise ValueError(f"nothing says what the training of {served.manifest.bundle} took")
    return cost


def _measured(
    folder: Path, served: Evaluation, timing: Timing, cost: TrainingCost, limits: CostLimits
) -> SystemMetrics:
    """All but what only others tell of it."""
    bundle = folder / EXPORTED / MANIFEST
    size = ModelBundle.parse(bundle.read_bytes(), str(bundle)).size
    slow = limits.max_latency_ms is not None and timing.latency_ms > limits.max_latency_ms
    large = limits.max_size_mb is not None and size > limits.max_size_mb * 1e6
    return SystemMetrics(
        target=Measurements.open(folder / MEASUREMENTS).served,
        f1=served.manifest.f1,
        accuracy=served.manifest.accuracy,
        latency_ms=timing.latency_ms,
        texts_per_second=timing.texts_per_second,
        bytes=size,
        memory=timing.peak_memory,
        training=cost,
        within_limits=not (slow or large),
        on_latency_front=False,
        on_training_front=False,
        letters="",
    )
