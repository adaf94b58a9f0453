"""The comparison pipeline: several systems trained on one split, and the winner judged by the second gate.

    ingest ─ preprocess ─ (system)* ─ compare ─ evaluate ─ gate_served ─ promote

One step trains and exports a system, so that a system that fails is a row of the table and does not stop the others.
The systems run one after another, so that their costs can be compared.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kfp import compiler, dsl

from textgate.components.compare.component import compare
from textgate.components.contracts import Recipe
from textgate.components.contracts.comparison import CostLimits
from textgate.components.image import IMAGE, Images
from textgate.components.storage import DEFAULT_BUCKET
from textgate.components.tracking.tracked_run import GROUP_VARIABLE
from textgate.pipelines.compared_system import SystemSpec
from textgate.pipelines.pods import PIPELINE_CONFIG, configure_tracking, largest_resources
from textgate.pipelines.steps import ServedCandidate, Steps
from textgate.pipelines.task_stacks import without_source_lines


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def system(dataset: dsl.Input[dsl.Dataset], recipe: str, code: str, bucket: str, result: dsl.Output[dsl.Model]) -> str:
    """Train and export one system; return the reason of a failure, or an empty string.

    Args:
        dataset: Preprocessed dataset.
        recipe: Name and the sections ``train`` and ``export`` of the recipe as JSON.
        code: Version of the code; part of the cache key. A training is resumed only by the version that started it.
        bucket: Bucket of the store, for checkpoints.
        result: Bundle, evaluations and measurements of the system. A failed system has none, so it is never cached.
    """
    from textgate.components.step import step_work

    with step_work(inputs=[dataset], outputs=[result]):
        from pathlib import Path

        from textgate.pipelines.compared_system import SystemSpec, train_system

        spec = SystemSpec.model_validate_json(recipe)
        return train_system(spec, Path(dataset.path), code, bucket, Path(result.path))


@without_source_lines()
def comparison_pipeline(recipes: Sequence[Recipe], limits: CostLimits, images: Images | None = None) -> Any:
    """Return the pipeline that compares recipes, which share ``source``, ``preprocess``, ``gate`` and ``model``.

    Its parameters are those of ``training_pipeline``.
    """
    shared = recipes[0]
    steps = Steps.for_recipes(shared.model, recipes, largest_resources(recipes), images or Images())
    systems = _train_systems(steps, recipes)
    record = shared.model_dump(mode="json", include={"model", "source", "preprocess", "gate"})
    record["systems"] = [recipe.name for recipe in recipes]

    @dsl.pipeline(
        name=comparison_name(recipes),
        description=f"{', '.join(recipe.name for recipe in recipes)} on one split.",
        pipeline_config=PIPELINE_CONFIG,
    )
    def pipeline(bucket: str = DEFAULT_BUCKET, source_version: str = "") -> None:
        with dsl.ExitHandler(steps.record(json.dumps(record), source_version, bucket)):
            raw = steps.ingest(shared.source.model_dump_json(), source_version)
            dataset = steps.preprocess(raw, shared.preprocess.model_dump_json())
            issues = steps.check_labels(dataset, shared.evaluate)
            results = systems(dataset=dataset, bucket=bucket).outputs
            compared = steps.for_export(
                compare(
                    dataset=dataset,
                    systems=results["systems"],
                    failed=results["failed"],
                    recipes=json.dumps([recipe.model_dump(mode="json") for recipe in recipes]),
                    limits=limits.model_dump_json(),
                    code=steps.code("compare"),
                )
            ).outputs
            with dsl.If(compared["Output"] == True):  # noqa: E712 (builds a condition of the DAG)
                winner = ("exported", "trained", "merge", "measurements", "recipe", "settings")
                outputs = {name: compared[name] for name in winner}
                candidate = ServedCandidate(dataset=dataset, label_issues=issues, **outputs)
                steps.judge_and_promote(candidate, shared.model, bucket)

    return pipeline


def comparison_name(recipes: Sequence[Recipe]) -> str:
    """Return the name of the pipeline."""
    return f"compare-{recipes[0].model}"


def compile_comparison(recipes: Sequence[Recipe], limits: CostLimits, path: Path, images: Images | None = None) -> None:
    """Write the pipeline to ``path`` as KFP YAML."""
    compiler.Compiler().compile(comparison_pipeline(recipes, limits, images), str(path))


class _SystemResults(NamedTuple):
    systems: list[dsl.Model]
    failed: list[str]


def _train_systems(steps: Steps, recipes: Sequence[Recipe]) -> Any:
    """Return the pipeline that trains the systems one after another; for why it is a pipeline see ``loops``."""
    specs = [SystemSpec(name=one.name, train=one.train, export=one.export).model_dump_json() for one in recipes]
    code = steps.code_of(SystemSpec.__module__)

    @dsl.pipeline(name="systems")
    def pipeline(dataset: dsl.Input[dsl.Dataset], bucket: str) -> _SystemResults:
        with dsl.ParallelFor(specs, parallelism=1) as recipe:
            task = steps.for_training_and_export(system(dataset=dataset, recipe=recipe, code=code, bucket=bucket))
            configure_tracking(task, GROUP_VARIABLE)
        return _SystemResults(dsl.Collected(task.outputs["result"]), dsl.Collected(task.outputs["Output"]))

    return pipeline
