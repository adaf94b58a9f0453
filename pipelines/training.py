"""The training pipeline: from a source to a champion, through two gates.

    ingest ─ preprocess ─ train ─ evaluate ─ gate_trained
        ─ merge_quantize ─ export_onnx ─ evaluate ─ gate_served ─ promote

A sweep trains every combination in a loop, and select hands on the best:

    ingest ─ preprocess ─ (train)* ─ select ─ evaluate …      when only keys of train are swept
    ingest ─ (preprocess ─ train)* ─ select ─ evaluate …      when keys of preprocess are

A source of several files can be read and cleaned in parts (``shards``); on a cluster train may have several machines.

One function for a laptop, containers and a cluster. Each step is told its own section of the recipe and nothing else,
so that its cache holds while other sections change.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kfp import compiler, dsl

from textgate.components.contracts import Compute, Recipe, bundle_references
from textgate.components.evaluate.component import evaluate
from textgate.components.export_onnx.component import export_onnx
from textgate.components.gate.component import gate_served, gate_trained
from textgate.components.image import Images
from textgate.components.ingest.component import ingest
from textgate.components.merge_quantize.component import merge_quantize
from textgate.components.preprocess.component import preprocess
from textgate.components.promote.component import promote
from textgate.components.record.component import record
from textgate.components.select.component import select, select_with_dataset
from textgate.components.sources import is_mutable
from textgate.components.storage import DEFAULT_BUCKET
from textgate.components.train.component import train
from textgate.pipelines.code_version import code_version, step_module
from textgate.pipelines.pods import DEADLINE_SECONDS, TTL_SECONDS, ask, place_on_device
from textgate.pipelines.shards import sharded_dataset, sharded_ingest
from textgate.pipelines.sweep import Combination


def training_pipeline(recipe: Recipe, images: Images | None = None, sweep: Sequence[Combination] = ()) -> Any:
    """The pipeline of one recipe, or of the best of a sweep's combinations.

    Its parameters, each with a default, are ``bucket`` and ``source_version``: a string that changes when the content
    behind the source's URI does, without which an earlier reading of the same URI would be taken from the cache.
    """
    steps = _Steps(recipe, images or Images(), sweep)
    step = steps.step
    recipes = [combination.recipe for combination in sweep] or [recipe]
    one_dataset = all(other.preprocess == recipes[0].preprocess for other in recipes)
    if sweep:
        best = _best_model(steps, sweep) if one_dataset else _best_model_and_dataset(steps, sweep)
    cleaning = recipes[0].preprocess.model_dump_json()
    shards: Any = None
    if recipe.resources.shards > 1:
        shards = sharded_dataset(steps, recipe, cleaning) if one_dataset else sharded_ingest(steps, recipe)
    elsewhere = _elsewhere(steps, recipe) if recipe.evaluate.out_of_domain else None

    @dsl.pipeline(
        name=recipe.name,
        description=recipe.description,
        pipeline_config=dsl.PipelineConfig(
            ttl_seconds_after_finished=TTL_SECONDS, active_deadline_seconds=DEADLINE_SECONDS
        ),
    )
    def pipeline(bucket: str = DEFAULT_BUCKET, source_version: str = "") -> None:
        # Not the name: on a cluster that is what a person called the run, and nothing for one that a schedule starts.
        run = dsl.PIPELINE_JOB_ID_PLACEHOLDER
        whole = recipe.model_dump_json()

        recorded = step(
            record(recipe=whole, run=run, source_version=source_version, bucket=bucket),
            cached=False,
        )
        with dsl.ExitHandler(recorded):
            if shards:
                made = shards(source_version=source_version).output
            else:
                source = recipe.source.model_dump_json()
                made = step(ingest(source=source, source_version=source_version, code=steps.code("ingest"))).output
            if one_dataset:
                dataset = made if shards else steps.preprocess(made, cleaning)
                if sweep:
                    found = best(dataset=dataset, bucket=bucket)
                else:
                    model = steps.train(dataset, recipe.train.model_dump_json(), bucket)
            else:
                found = best(raw=made, bucket=bucket)
                dataset = found.outputs["dataset"]
            table = {}
            if sweep:
                model, table = found.outputs["model"], {"sweep": found.outputs["table"]}
            asked = recipe.evaluate.for_trained_model.model_dump_json()
            judged = steps.on_device(
                evaluate(dataset=dataset, model=model, settings=asked, code=steps.code("evaluate"))
            ).outputs["evaluation"]
            first = step(
                gate_trained(dataset=dataset, trained=judged, recipe=whole, run=run, bucket=bucket, **table),
                cached=False,
            )
            with dsl.If(first.outputs["Output"] == True):  # noqa: E712 (builds a condition of the DAG)
                merged = steps.on_device(merge_quantize(model=model, trained=judged, code=steps.code("merge_quantize")))
                exported = steps.export(
                    export_onnx(
                        dataset=dataset,
                        model=merged.outputs["merged"],
                        trained=judged,
                        export=recipe.export.model_dump_json(),
                        code=steps.code("export_onnx"),
                    )
                )
                others = {"out_of_domain": elsewhere().output} if elsewhere else {}
                served = steps.export(
                    evaluate(
                        dataset=dataset,
                        model=exported.outputs["exported"],
                        settings=recipe.evaluate.for_served_model.model_dump_json(),
                        code=steps.code("evaluate"),
                        **others,
                    )
                )
                second = steps.export(
                    gate_served(
                        dataset=dataset,
                        served=served.outputs["evaluation"],
                        trained=judged,
                        merge=merged.outputs["changes"],
                        measurements=exported.outputs["measurements"],
                        exported=exported.outputs["exported"],
                        recipe=whole,
                        run=run,
                        bucket=bucket,
                        **table,
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
                        compute=recipe.resources.export,
                    )

    return pipeline


def compile_pipeline(
    recipe: Recipe, path: Path, images: Images | None = None, sweep: Sequence[Combination] = ()
) -> frozenset[str]:
    """Write the recipe's pipeline as KFP YAML, the file that runs anywhere; returns the names of its steps."""
    pipeline = training_pipeline(recipe, images, sweep)
    compiler.Compiler().compile(pipeline, str(path))
    components = pipeline.pipeline_spec.components
    graphs = [pipeline.pipeline_spec.root, *components.values()]
    tasks = [(name, task) for graph in graphs for name, task in graph.dag.tasks.items()]
    return frozenset(name for name, task in tasks if components[task.component_ref.name].executor_label)


@dataclass(frozen=True)
class _Steps:
    """The steps a sweep repeats, told what all its combinations share."""

    recipe: Recipe
    images: Images
    sweep: Sequence[Combination] = ()

    def code(self, step: str) -> str:
        families = {self.recipe.train.family, *(one.recipe.train.family for one in self.sweep)}
        return f"{code_version(step_module(step), families)} {self.images.digest}".rstrip()

    def step(self, task: Any, *, cached: bool = True, compute: Compute | None = None) -> Any:
        ask(task, self.recipe, compute or Compute())
        return task.set_container_image(self.images.cpu).set_caching_options(cached)

    def preprocess(self, raw: Any, settings: Any) -> Any:
        """The dataset, from the section ``preprocess`` as JSON."""
        task = self.step(preprocess(raw=raw, preprocess=settings, code=self.code("preprocess")))
        return task.outputs["dataset"]

    def train(self, dataset: Any, settings: Any, bucket: Any) -> Any:
        """The trained bundle, from the section ``train`` as JSON."""
        resources = self.recipe.resources
        several = {"nodes": resources.model_dump_json(exclude={"export", "shards"})} if resources.nodes > 1 else {}
        name, code = self.recipe.name, self.code("train")
        task = train(dataset=dataset, name=name, training=settings, code=code, bucket=bucket, **several)
        # A finished system that is not named by its version may be another one by the next run.
        trained = [combination.recipe.train for combination in self.sweep] or [self.recipe.train]
        settled = not any(is_mutable(reference) for training in trained for reference in bundle_references(training))
        if not several:
            return self.on_device(task).set_caching_options(settled).outputs["model"]
        # What they train with is asked for by the TrainJob that this step creates; they start from its image.
        self.step(task, cached=settled, compute=Compute(hours=resources.hours))
        if resources.accelerator:
            task.set_container_image(self.images.gpu)
        return task.outputs["model"]

    def on_device(self, task: Any) -> Any:
        """A step in which the model answers with torch."""
        return self._placed(self.step(task, compute=self.recipe.resources))

    def export(self, task: Any, *, cached: bool = True) -> Any:
        """A step that makes, measures, judges or copies what is served."""
        self.step(task, cached=cached, compute=self.recipe.resources.export)
        folders = self.recipe.export.needs_torch
        return self._placed(task) if folders else task

    def _placed(self, task: Any) -> Any:
        if self.recipe.train.uses_accelerator:
            place_on_device(task, self.recipe)
            if self.recipe.resources.accelerator:
                task.set_container_image(self.images.gpu)
        return task


# A loop stands in a pipeline of its own: in one that stands inside an ExitHandler, kfp 2.17 makes the fields of the
# loop's item inputs of the handler, which nobody gives.


def _elsewhere(steps: _Steps, recipe: Recipe) -> Any:
    sources = [source.model_dump_json() for source in recipe.evaluate.out_of_domain.values()]

    @dsl.pipeline(name="elsewhere")
    def pipeline() -> list[dsl.Dataset]:
        # Never from the cache, which cannot see what is behind a URI.
        with dsl.ParallelFor(sources) as source:
            made = steps.step(ingest(source=source, source_version="", code=steps.code("ingest")), cached=False)
        return dsl.Collected(made.output)  # type: ignore[no-any-return]

    return pipeline


class _Best(NamedTuple):
    model: dsl.Model
    table: dsl.Artifact


def _best_model(steps: _Steps, sweep: Sequence[Combination]) -> Any:
    trainings = [combination.recipe.train.model_dump_json() for combination in sweep]

    @dsl.pipeline(name="sweep")
    def pipeline(dataset: dsl.Input[dsl.Dataset], bucket: str) -> _Best:
        with dsl.ParallelFor(trainings) as training:
            model = steps.train(dataset, training, bucket)
        chosen = steps.step(select(models=dsl.Collected(model), settings=_settings(sweep), code=steps.code("select")))
        return _Best(chosen.outputs["model"], chosen.outputs["table"])

    return pipeline


class _BestWithDataset(NamedTuple):
    model: dsl.Model
    table: dsl.Artifact
    dataset: dsl.Dataset


def _best_model_and_dataset(steps: _Steps, sweep: Sequence[Combination]) -> Any:
    recipes = [combination.recipe for combination in sweep]
    items = [
        {"preprocess": recipe.preprocess.model_dump_json(), "train": recipe.train.model_dump_json()}
        for recipe in recipes
    ]

    @dsl.pipeline(name="sweep")
    def pipeline(raw: dsl.Input[dsl.Dataset], bucket: str) -> _BestWithDataset:
        with dsl.ParallelFor(items) as item:
            dataset = steps.preprocess(raw, item.preprocess)
            model = steps.train(dataset, item.train, bucket)
        chosen = steps.step(
            select_with_dataset(
                models=dsl.Collected(model),
                datasets=dsl.Collected(dataset),
                settings=_settings(sweep),
                code=steps.code("select"),
            )
        )
        return _BestWithDataset(chosen.outputs["model"], chosen.outputs["table"], chosen.outputs["dataset"])

    return pipeline


def _settings(sweep: Sequence[Combination]) -> str:
    return json.dumps([combination.settings for combination in sweep])
