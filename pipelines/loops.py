"""Loops of the training pipeline: a sweep's combinations, and the sources of an out-of-domain evaluation.

Each loop is a pipeline of its own. Inside an ExitHandler, kfp 2.17 turns the fields of a loop's item into inputs of the
handler, which nothing supplies.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from kfp import dsl

from textgate.components.contracts import Recipe
from textgate.components.select.component import select, select_with_dataset
from textgate.pipelines.pods import schemes_in
from textgate.pipelines.steps import Steps
from textgate.pipelines.sweep import Combination


def ingest_out_of_domain(steps: Steps, recipe: Recipe) -> Any:
    """Return a pipeline that reads each source of ``evaluate.out_of_domain``."""
    sources = [source.model_dump_json() for source in recipe.evaluate.out_of_domain.values()]
    schemes = schemes_in("".join(sources))

    @dsl.pipeline(name="out-of-domain")
    def pipeline() -> list[dsl.Dataset]:
        with dsl.ParallelFor(sources) as source:
            raw = steps.ingest(source, source_version="", cached=False, schemes=schemes)
        return dsl.Collected(raw)  # type: ignore[no-any-return]

    return pipeline


class _Best(NamedTuple):
    model: dsl.Model
    table: dsl.Artifact


def train_best(steps: Steps, sweep: Sequence[Combination]) -> Any:
    """Return a pipeline that trains each combination on one dataset and selects the best model.

    Its inputs are ``dataset`` and ``bucket``, its outputs ``model`` and ``table``.
    """
    trainings = [combination.recipe.train.model_dump_json() for combination in sweep]

    @dsl.pipeline(name="sweep")
    def pipeline(dataset: dsl.Input[dsl.Dataset], bucket: str) -> _Best:
        with dsl.ParallelFor(trainings) as training:
            model = steps.train(dataset, training, bucket)
        task = select(
            models=dsl.Collected(model), settings=_settings(sweep), metric=_metric(sweep), code=steps.code("select")
        )
        best = steps.on_cpu(task).outputs
        return _Best(best["model"], best["table"])

    return pipeline


class _BestWithDataset(NamedTuple):
    model: dsl.Model
    table: dsl.Artifact
    dataset: dsl.Dataset


def preprocess_and_train_best(steps: Steps, sweep: Sequence[Combination]) -> Any:
    """Return a pipeline that preprocesses and trains each combination and selects the best model.

    Its inputs are ``raw`` and ``bucket``, its outputs ``model``, ``table`` and the model's ``dataset``.
    """
    items = [
        {"preprocess": recipe.preprocess.model_dump_json(), "train": recipe.train.model_dump_json()}
        for recipe in (combination.recipe for combination in sweep)
    ]

    @dsl.pipeline(name="sweep")
    def pipeline(raw: dsl.Input[dsl.Dataset], bucket: str) -> _BestWithDataset:
        with dsl.ParallelFor(items) as item:
            dataset = steps.preprocess(raw, item.preprocess)
            model = steps.train(dataset, item.train, bucket)
        task = select_with_dataset(
            models=dsl.Collected(model),
            datasets=dsl.Collected(dataset),
            settings=_settings(sweep),
            metric=_metric(sweep),
            code=steps.code("select"),
        )
        best = steps.on_cpu(task).outputs
        return _BestWithDataset(best["model"], best["table"], best["dataset"])

    return pipeline


def _metric(sweep: Sequence[Combination]) -> str:
    return sweep[0].recipe.gate.metric


def _settings(sweep: Sequence[Combination]) -> str:
    return json.dumps([combination.settings for combination in sweep])
