"""The training pipeline: from a source to a champion, through two gates.

    ingest ─ preprocess ─ (train, check_labels) ─ evaluate ─ gate_trained
        ─ merge_quantize ─ export_onnx ─ evaluate ─ gate_served ─ promote

A sweep trains every combination in a loop and selects the best model:

    ingest ─ preprocess ─ (train)* ─ select ─ evaluate …      if only keys of train are swept
    ingest ─ (preprocess ─ train)* ─ select ─ evaluate …      if keys of preprocess are swept

With inputs, such as a threshold that is typed into a page of KFP, the step ``configure`` comes first and applies them.
With ``resources.shards`` the files of a source are read and cleaned in parallel (see ``shards``); with
``resources.nodes`` train runs on several machines of a cluster. The same pipeline runs on a laptop, in containers and
on a cluster.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kfp import compiler, dsl

from textgate.components.contracts import Recipe
from textgate.components.contracts.recipe.run_inputs import RunInput
from textgate.components.image import Images
from textgate.pipelines.loops import ingest_out_of_domain, preprocess_and_train_best, train_best
from textgate.pipelines.pipeline_inputs import with_signature
from textgate.pipelines.pods import PIPELINE_CONFIG
from textgate.pipelines.shards import sharded_dataset, sharded_ingest
from textgate.pipelines.steps import Configured, ServedCandidate, Steps
from textgate.pipelines.sweep import Combination
from textgate.pipelines.task_stacks import without_source_lines


@without_source_lines()
def training_pipeline(
    recipe: Recipe,
    images: Images | None = None,
    sweep: Sequence[Combination] = (),
    inputs: Sequence[RunInput] = (),
) -> Any:
    """Return the pipeline of a recipe, or of a sweep over it, of which the best model goes on.

    The pipeline has the parameters ``bucket`` and ``source_version``, a string that changes with the content behind the
    source's URI. Without it, a run would take an earlier reading of the URI from the cache.

    Args:
        recipe: The recipe.
        images: Container images of the steps.
        sweep: Combinations of a sweep.
        inputs: Further parameters, whose defaults are the recipe's values. With them the step ``configure`` comes
            first; without them the recipe's values are part of the pipeline.
    """
    trained_recipes = [combination.recipe for combination in sweep] or [recipe]
    steps = Steps.for_recipes(recipe.name, trained_recipes, recipe.resources, images or Images())
    add_training = _training(steps, recipe, sweep)
    complete = recipe.model_dump_json()
    fixed = Configured(complete, recipe.source.model_dump_json(), recipe.train.model_dump_json(), recipe.model)
    out_of_domain = ingest_out_of_domain(steps, recipe) if recipe.evaluate.out_of_domain else None

    def build(bucket: Any, source_version: Any, **values: Any) -> None:
        with dsl.ExitHandler(steps.record(complete, source_version, bucket)):
            settings = fixed
            if values:
                settings, source_version = steps.configure(complete, source_version, bucket, values)
            dataset, model, table = add_training(settings, source_version, bucket)
            issues = steps.check_labels(dataset, recipe.evaluate)
            evaluation = steps.evaluate_trained(dataset, model, recipe)
            passed = steps.gate_trained(dataset, evaluation, settings.recipe, bucket, label_issues=issues, sweep=table)
            with dsl.If(passed == True):  # noqa: E712 (builds a condition of the DAG)
                merged = steps.merge(model, evaluation)
                exported = steps.export(dataset, merged["merged"], recipe.export.model_dump_json())
                candidate = ServedCandidate(
                    dataset=dataset,
                    exported=exported["exported"],
                    trained=evaluation,
                    merge=merged["changes"],
                    measurements=exported["measurements"],
                    recipe=settings.recipe,
                    settings=recipe.evaluate.for_served_model.model_dump_json(),
                    label_issues=issues,
                )
                others = out_of_domain().output if out_of_domain else None
                steps.judge_and_promote(candidate, settings.model, bucket, out_of_domain=others, sweep=table)

    declare = dsl.pipeline(name=recipe.name, description=recipe.description, pipeline_config=PIPELINE_CONFIG)
    return declare(with_signature(build, inputs))


def compile_pipeline(
    recipe: Recipe,
    path: Path,
    images: Images | None = None,
    sweep: Sequence[Combination] = (),
    inputs: Sequence[RunInput] = (),
) -> frozenset[str]:
    """Write the pipeline of a recipe to ``path`` as KFP YAML, which runs on any KFP backend.

    For the arguments see ``training_pipeline``.

    Returns:
        Names of the tasks that run a container, without those that are graphs of other tasks.
    """
    pipeline = training_pipeline(recipe, images, sweep, inputs)
    compiler.Compiler().compile(pipeline, str(path))
    components = pipeline.pipeline_spec.components
    graphs = [pipeline.pipeline_spec.root, *components.values()]
    tasks = [(name, task) for graph in graphs for name, task in graph.dag.tasks.items()]
    return frozenset(name for name, task in tasks if components[task.component_ref.name].executor_label)


class _Trained(NamedTuple):
    """Outputs of the tasks up to the trained model; ``table`` is None without a sweep."""

    dataset: Any
    model: Any
    table: Any


def _training(steps: Steps, recipe: Recipe, sweep: Sequence[Combination]) -> Callable[[Configured, Any, Any], _Trained]:
    """Return a function that adds the tasks from ingest to train or select.

    Its arguments are the settings of the run, ``source_version`` and ``bucket``.
    """
    swept = [combination.recipe.preprocess for combination in sweep] or [recipe.preprocess]
    cleaning = swept[0].model_dump_json()
    sharded = recipe.resources.shards > 1

    if any(preprocess != swept[0] for preprocess in swept):
        shards = sharded_ingest(steps) if sharded else None
        loop = preprocess_and_train_best(steps, sweep)

        def with_several_datasets(settings: Configured, source_version: Any, bucket: Any) -> _Trained:
            if shards:
                raw = shards(source=settings.source, source_version=source_version).output
            else:
                raw = steps.ingest(settings.source, source_version)
            best = loop(raw=raw, bucket=bucket).outputs
            return _Trained(best["dataset"], best["model"], best["table"])

        return with_several_datasets

    shards = sharded_dataset(steps, cleaning) if sharded else None
    loop = train_best(steps, sweep) if sweep else None

    def with_one_dataset(settings: Configured, source_version: Any, bucket: Any) -> _Trained:
        if shards:
            dataset = shards(source=settings.source, source_version=source_version).output
        else:
            dataset = steps.preprocess(steps.ingest(settings.source, source_version), cleaning)
        if loop:
            best = loop(dataset=dataset, bucket=bucket).outputs
            return _Trained(dataset, best["model"], best["table"])
        return _Trained(dataset, steps.train(dataset, settings.training, bucket), None)

    return with_one_dataset
