"""The training pipeline: from a source to a champion, through two gates.

    ingest ─ preprocess ─ train ─ evaluate ─ gate_trained
        ─ merge_quantize ─ export_onnx ─ evaluate ─ gate_served ─ promote

A sweep trains every combination in a loop, and select hands on the best:

    ingest ─ preprocess ─ (train)* ─ select ─ evaluate …      when only keys of train are swept
    ingest ─ (preprocess ─ train)* ─ select ─ evaluate …      when keys of preprocess are

One function for a laptop, containers and a cluster. Each step is told its own section of the recipe and nothing else,
so that its cache holds while other sections change.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kfp import compiler, dsl, kubernetes

from textgate.components.contracts import Compute, Recipe, Resources
from textgate.components.evaluate.component import evaluate
from textgate.components.export_onnx.component import export_onnx
from textgate.components.gate.component import gate_served, gate_trained
from textgate.components.image import IMAGE
from textgate.components.ingest.component import ingest
from textgate.components.merge_quantize.component import merge_quantize
from textgate.components.preprocess.component import preprocess
from textgate.components.promote.component import promote
from textgate.components.record.component import record
from textgate.components.select.component import select, select_with_dataset
from textgate.components.storage import DEFAULT_BUCKET
from textgate.components.train.component import train
from textgate.pipelines.code_version import code_version
from textgate.pipelines.sweep import Combination


def training_pipeline(recipe: Recipe, image: str = IMAGE, sweep: Sequence[Combination] = ()) -> Any:
    """The pipeline of one recipe, or of the best of a sweep's combinations.

    Its parameters, each with a default, are ``bucket`` and ``source_version``: a string that changes when the content
    behind the source's URI does, without which an earlier reading of the same URI would be taken from the cache.
    """
    steps = _Steps(recipe, image)
    step = steps.step
    recipes = [combination.recipe for combination in sweep] or [recipe]
    one_dataset = all(other.preprocess == recipes[0].preprocess for other in recipes)
    if sweep:
        best = _best_model(steps, sweep) if one_dataset else _best_model_and_dataset(steps, sweep)

    @dsl.pipeline(name=recipe.name, description=recipe.description)
    def pipeline(bucket: str = DEFAULT_BUCKET, source_version: str = "") -> None:
        run = dsl.PIPELINE_JOB_NAME_PLACEHOLDER
        gate = recipe.gate.model_dump_json()

        recorded = step(record(recipe=recipe.model_dump_json(), run=run, bucket=bucket), cached=False)
        with dsl.ExitHandler(recorded):
            raw = step(
                ingest(
                    source=recipe.source.model_dump_json(), source_version=source_version, code=code_version("ingest")
                )
            ).outputs["dataset"]
            if one_dataset:
                dataset = steps.preprocess(raw, recipes[0].preprocess.model_dump_json())
                if sweep:
                    model = best(dataset=dataset, bucket=bucket).output
                else:
                    model = steps.train(dataset, recipe.train.model_dump_json(), bucket)
            else:
                found = best(raw=raw, bucket=bucket)
                dataset, model = found.outputs["dataset"], found.outputs["model"]
            judged = steps.on_device(evaluate(dataset=dataset, model=model, code=code_version("evaluate"))).outputs[
                "evaluation"
            ]
            first = step(gate_trained(dataset=dataset, trained=judged, gate=gate, run=run, bucket=bucket), cached=False)
            with dsl.If(first.outputs["Output"] == True):  # noqa: E712 (builds a condition of the DAG)
                merged = steps.on_device(
                    merge_quantize(model=model, trained=judged, code=code_version("merge_quantize"))
                )
                exported = steps.export(
                    export_onnx(
                        dataset=dataset,
                        model=merged.outputs["merged"],
                        trained=judged,
                        export=recipe.export.model_dump_json(),
                        code=code_version("export_onnx"),
                    )
                )
                served = steps.export(
                    evaluate(dataset=dataset, model=exported.outputs["exported"], code=code_version("evaluate"))
                )
                second = step(
                    gate_served(
                        dataset=dataset,
                        served=served.outputs["evaluation"],
                        trained=judged,
                        merge=merged.outputs["changes"],
                        measurements=exported.outputs["measurements"],
                        exported=exported.outputs["exported"],
                        model=recipe.model,
                        gate=gate,
                        run=run,
                        bucket=bucket,
                    ),
                    cached=False,
                )
                with dsl.If(second.outputs["Output"] == True):  # noqa: E712
                    step(
                        promote(
                            exported=exported.outputs["exported"],
                            decision=second.outputs["decision"],
                            model=recipe.model,
                            run=run,
                            bucket=bucket,
                        ),
                        cached=False,
                    )

    return pipeline


def compile_pipeline(recipe: Recipe, path: Path, image: str = IMAGE, sweep: Sequence[Combination] = ()) -> None:
    """Write the recipe's pipeline as KFP YAML, the file that runs anywhere."""
    compiler.Compiler().compile(training_pipeline(recipe, image, sweep), str(path))


@dataclass(frozen=True)
class _Steps:
    """The steps a sweep repeats, told what all its combinations share."""

    recipe: Recipe
    image: str

    def step(self, task: Any, *, cached: bool = True) -> Any:
        return task.set_container_image(self.image).set_caching_options(cached)

    def preprocess(self, raw: Any, settings: Any) -> Any:
        """The dataset, from the section ``preprocess`` as JSON."""
        task = self.step(preprocess(raw=raw, preprocess=settings, code=code_version("preprocess")))
        return task.outputs["dataset"]

    def train(self, dataset: Any, settings: Any, bucket: Any) -> Any:
        """The trained bundle, from the section ``train`` as JSON."""
        task = train(
            dataset=dataset, name=self.recipe.name, training=settings, code=code_version("train"), bucket=bucket
        )
        return self.on_device(task).outputs["model"]

    def on_device(self, task: Any) -> Any:
        """A step in which the model answers with torch."""
        resources = self.recipe.resources
        _request(task, resources)
        _place(task, resources)
        return self.step(task)

    def export(self, task: Any) -> Any:
        """A step that makes or measures what is served."""
        resources = self.recipe.resources
        _request(task, resources.export)
        if any(target.startswith("hf") for target in self.recipe.export.targets):
            _place(task, resources)
        return self.step(task)


# A sweep's loop stands in a pipeline of its own: in one that stands inside an ExitHandler, kfp 2.17 makes the fields of
# the loop's item inputs of the handler, which nobody gives.


def _best_model(steps: _Steps, sweep: Sequence[Combination]) -> Any:
    trainings = [combination.recipe.train.model_dump_json() for combination in sweep]

    @dsl.pipeline(name="sweep")
    def pipeline(dataset: dsl.Input[dsl.Dataset], bucket: str) -> dsl.Model:
        with dsl.ParallelFor(trainings) as training:
            model = steps.train(dataset, training, bucket)
        chosen = steps.step(select(models=dsl.Collected(model), settings=_settings(sweep), code=code_version("select")))
        return chosen.outputs["model"]

    return pipeline


class _Best(NamedTuple):
    model: dsl.Model
    dataset: dsl.Dataset


def _best_model_and_dataset(steps: _Steps, sweep: Sequence[Combination]) -> Any:
    recipes = [combination.recipe for combination in sweep]
    items = [
        {"preprocess": recipe.preprocess.model_dump_json(), "train": recipe.train.model_dump_json()}
        for recipe in recipes
    ]

    @dsl.pipeline(name="sweep")
    def pipeline(raw: dsl.Input[dsl.Dataset], bucket: str) -> _Best:
        with dsl.ParallelFor(items) as item:
            dataset = steps.preprocess(raw, item.preprocess)
            model = steps.train(dataset, item.train, bucket)
        chosen = steps.step(
            select_with_dataset(
                models=dsl.Collected(model),
                datasets=dsl.Collected(dataset),
                settings=_settings(sweep),
                code=code_version("select"),
            )
        )
        return _Best(chosen.outputs["model"], chosen.outputs["dataset"])

    return pipeline


def _settings(sweep: Sequence[Combination]) -> str:
    return json.dumps([combination.settings for combination in sweep])


def _request(task: Any, compute: Compute) -> None:
    task.set_cpu_limit(compute.cpu).set_memory_limit(compute.memory)


def _place(task: Any, resources: Resources) -> None:
    """On a node with the devices that are asked for."""
    if resources.accelerator:
        task.set_accelerator_type(resources.accelerator.type).set_accelerator_limit(resources.accelerator.count)
    for key, value in resources.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in resources.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
