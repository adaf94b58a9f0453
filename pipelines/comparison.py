"""The pipeline of a comparison: one split, every system on it, and the winner through the second gate.

    ingest ─ preprocess ─ (system)* ─ compare ─ evaluate ─ gate_served ─ promote

A system is trained and exported in one step, so that one that fails is a row of the table and stops no other; one after
another, so that what they cost can be compared.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kfp import compiler, dsl

from textgate.components.compare.component import compare
from textgate.components.contracts import Compute, Recipe, Resources, bundle_references
from textgate.components.contracts.comparison import Limits
from textgate.components.evaluate.component import evaluate
from textgate.components.gate.component import gate_served
from textgate.components.image import IMAGE, Images
from textgate.components.ingest.component import ingest
from textgate.components.preprocess.component import preprocess
from textgate.components.promote.component import promote
from textgate.components.record.component import record
from textgate.components.sources import is_mutable
from textgate.components.storage import DEFAULT_BUCKET
from textgate.pipelines.code_version import code_version, step_module
from textgate.pipelines.compared_system import SystemSpec
from textgate.pipelines.pods import DEADLINE_SECONDS, TTL_SECONDS, ask, place_on_device

_UNITS = {unit + i: (1024 if i else 1000) ** power for power, unit in enumerate("KMGTPE", 1) for i in ("", "i")}
"""Bytes, as Kubernetes writes them."""


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def system(dataset: dsl.Input[dsl.Dataset], recipe: str, code: str, bucket: str, made: dsl.Output[dsl.Model]) -> str:
    """Make what would be served of one recipe; returns why that failed, or an empty string.

    Args:
        dataset: What preprocess made.
        recipe: The name and the sections ``train`` and ``export`` of the recipe, as JSON.
        code: Version of the code of all it does; it varies the cache key, and a training is resumed by the code that
            began it only.
        bucket: Bucket of the store, for checkpoints.
        made: The bundle, its evaluations and what it costs. One that failed leaves none, so that no cache holds it.
    """
    from textgate.components.step import step_work

    with step_work():
        from pathlib import Path

        from textgate.pipelines.compared_system import SystemSpec, train_system

        asked = SystemSpec.model_validate_json(recipe)
        return train_system(asked, Path(dataset.path), code, bucket, Path(made.path))


def comparison_pipeline(recipes: Sequence[Recipe], limits: Limits, images: Images | None = None) -> Any:
    """The pipeline that compares recipes, which share ``source``, ``preprocess``, ``gate`` and ``model``.

    Its parameters are those of ``training_pipeline``.
    """
    steps = _Steps(recipes, images or Images())
    step, shared = steps.step, recipes[0]
    whole = json.dumps([recipe.model_dump(mode="json") for recipe in recipes])
    systems = _systems(steps, recipes)

    @dsl.pipeline(
        name=comparison_name(recipes),
        description=f"{', '.join(recipe.name for recipe in recipes)} on one split.",
        pipeline_config=dsl.PipelineConfig(
            ttl_seconds_after_finished=TTL_SECONDS, active_deadline_seconds=DEADLINE_SECONDS
        ),
    )
    def pipeline(bucket: str = DEFAULT_BUCKET, source_version: str = "") -> None:
        run = dsl.PIPELINE_JOB_ID_PLACEHOLDER
        compared = shared.model_dump(mode="json", include={"model", "source", "preprocess", "gate"})
        compared["systems"] = [recipe.name for recipe in recipes]
        recorded = step(
            record(recipe=json.dumps(compared), run=run, source_version=source_version, bucket=bucket), cached=False
        )
        with dsl.ExitHandler(recorded):
            source = shared.source.model_dump_json()
            raw = step(ingest(source=source, source_version=source_version, code=steps.code("ingest"))).output
            cleaning = shared.preprocess.model_dump_json()
            cleaned = step(preprocess(raw=raw, preprocess=cleaning, code=steps.code("preprocess")))
            dataset = cleaned.outputs["dataset"]
            made = systems(dataset=dataset, bucket=bucket)
            found = steps.served(
                compare(
                    dataset=dataset,
                    systems=made.outputs["systems"],
                    failed=made.outputs["failed"],
                    recipes=whole,
                    limits=limits.model_dump_json(),
                    code=steps.code("compare"),
                )
            ).outputs
            with dsl.If(found["Output"] == True):  # noqa: E712 (builds a condition of the DAG)
                served = steps.served(
                    evaluate(
                        dataset=dataset,
                        model=found["exported"],
                        settings=found["settings"],
                        code=steps.code("evaluate"),
                    )
                )
                second = steps.served(
                    gate_served(
                        dataset=dataset,
                        served=served.outputs["evaluation"],
                        trained=found["trained"],
                        merge=found["merge"],
                        measurements=found["measurements"],
                        exported=found["exported"],
                        recipe=found["recipe"],
                        run=run,
                        bucket=bucket,
                    ),
                    cached=False,
                )
                with dsl.If(second.outputs["Output"] == True):  # noqa: E712
                    steps.served(
                        promote(
                            exported=found["exported"],
                            decision=second.outputs["decision"],
                            model=shared.model,
                            run=run,
                            bucket=bucket,
                        ),
                        cached=False,
                    )

    return pipeline


def comparison_name(recipes: Sequence[Recipe]) -> str:
    """What the pipeline is called."""
    return f"compare-{recipes[0].model}"


def compile_comparison(recipes: Sequence[Recipe], limits: Limits, path: Path, images: Images | None = None) -> None:
    """Write the pipeline as KFP YAML."""
    compiler.Compiler().compile(comparison_pipeline(recipes, limits, images), str(path))


class _Made(NamedTuple):
    systems: list[dsl.Model]
    failed: list[str]


def _systems(steps: "_Steps", recipes: Sequence[Recipe]) -> Any:
    """A loop stands in a pipeline of its own, see ``training``."""
    asked = [SystemSpec(name=one.name, train=one.train, export=one.export).model_dump_json() for one in recipes]

    @dsl.pipeline(name="systems")
    def pipeline(dataset: dsl.Input[dsl.Dataset], bucket: str) -> _Made:
        with dsl.ParallelFor(asked, parallelism=1) as recipe:
            task = steps.made(system(dataset=dataset, recipe=recipe, code=steps.system_code(), bucket=bucket))
        return _Made(dsl.Collected(task.outputs["made"]), dsl.Collected(task.outputs["Output"]))

    return pipeline


class _Steps:
    """The steps, with what the most demanding recipe asks of a cluster."""

    def __init__(self, recipes: Sequence[Recipe], images: Images) -> None:
        self._images = images
        self._recipe = recipes[0].model_copy(update={"name": recipes[0].model, "resources": largest(recipes)})
        on_device = [recipe for recipe in recipes if recipe.train.uses_accelerator]
        folders = [recipe for recipe in on_device if recipe.export.needs_torch]
        self._families = {recipe.train.family for recipe in recipes}
        self._trains_on_device, self._serves_on_device = bool(on_device), bool(folders)
        # A finished system that is not named by its version may be another one by the next run.
        self._settled = not any(is_mutable(name) for recipe in recipes for name in bundle_references(recipe.train))

    def code(self, step: str) -> str:
        return f"{code_version(step_module(step), self._families)} {self._images.digest}".rstrip()

    def system_code(self) -> str:
        """Of all that makes a system."""
        return f"{code_version(SystemSpec.__module__, self._families)} {self._images.digest}".rstrip()

    def step(self, task: Any, *, cached: bool = True, compute: Compute | None = None) -> Any:
        ask(task, self._recipe, compute or Compute())
        return task.set_container_image(self._images.cpu).set_caching_options(cached)

    def made(self, task: Any) -> Any:
        """The step that makes a system: it trains, and exports too."""
        resources = self._recipe.resources
        together = Compute(
            cpu=max(resources.cpu, resources.export.cpu, key=_cores),
            memory=max(resources.memory, resources.export.memory, key=_bytes),
            hours=min(resources.hours + resources.export.hours, 168),
        )
        self.step(task, cached=self._settled, compute=together)
        return self._placed(task) if self._trains_on_device else task

    def served(self, task: Any, *, cached: bool = True) -> Any:
        """A step in which what would be served answers, or is copied."""
        self.step(task, cached=cached, compute=self._recipe.resources.export)
        return self._placed(task) if self._serves_on_device else task

    def _placed(self, task: Any) -> Any:
        place_on_device(task, self._recipe)
        return task.set_container_image(self._images.gpu) if self._recipe.resources.accelerator else task


def largest(recipes: Sequence[Recipe]) -> Resources:
    """The most that any of the recipes asks for, on one machine; devices only for those that compute on one."""
    asked = [recipe.resources for recipe in recipes]
    on_device = [recipe.resources for recipe in recipes if recipe.train.uses_accelerator]
    accelerators = [resources.accelerator for resources in on_device if resources.accelerator]
    tolerations = [toleration for resources in on_device for toleration in resources.tolerations]
    return Resources(
        **_most(asked).model_dump(),
        accelerator=max(accelerators, key=lambda accelerator: accelerator.count, default=None),
        shm=max((resources.shm for resources in on_device if resources.shm), key=_bytes, default=None),
        node_selector={key: value for resources in on_device for key, value in resources.node_selector.items()},
        tolerations=[one for number, one in enumerate(tolerations) if one not in tolerations[:number]],
        export=_most([resources.export for resources in asked]),
    )


def _most(asked: Sequence[Compute]) -> Compute:
    return Compute(
        cpu=max((compute.cpu for compute in asked), key=_cores),
        memory=max((compute.memory for compute in asked), key=_bytes),
        hours=max(compute.hours for compute in asked),
    )


def _cores(cpu: str) -> float:
    return float(cpu.removesuffix("m")) / (1000 if cpu.endswith("m") else 1)


def _bytes(memory: str) -> int:
    digits = memory.rstrip("KMGTPEi")
    return int(digits) * int(_UNITS.get(memory.removeprefix(digits), 1))
