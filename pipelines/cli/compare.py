"""``textgate compare``: train several recipes on one split and offer the best to the gate."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from pydantic import BaseModel, ValidationError
from rich.table import Table
from rich.text import Text

from textgate.components.contracts import InputError, Recipe, duration
from textgate.components.contracts.comparison import ComparedSystem, Comparison, CostLimits
from textgate.components.contracts.formatting import megabytes
from textgate.components.contracts.metric_names import metric_title
from textgate.components.contracts.recipe.keys import describe_error
from textgate.pipelines import recipes as shipped
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.recipe_options import (
    fail_on_reject_option,
    image_option,
    runner_option,
    where_option,
    with_where,
)
from textgate.pipelines.cli.run_end import reported_end
from textgate.pipelines.cli.run_result import (
    EXIT_FAILED,
    data_json,
    decision_json,
    exit_on_failure,
    exit_on_reject,
    print_lines,
    run_lines,
)
from textgate.pipelines.cli.store_options import json_option, store_options
from textgate.pipelines.recipes import with_absolute_paths
from textgate.pipelines.terminal import Console
from textgate.pipelines.workspace import open_store

if TYPE_CHECKING:
    from textgate.pipelines.runners.local import LocalComparison


@click.command(
    epilog=example(
        "textgate compare imdb-tfidf toxic-lsa quickstart --source quickstart",
        "textgate compare quickstart quickstart-tfidf --max-latency-ms 10 --json",
    )
)
@click.argument("names", metavar="RECIPE RECIPE…", nargs=-1, required=True)
@click.option(
    "--source",
    metavar="URI|RECIPE",
    show_default="the first recipe",
    help="Data source, read with the settings of the first recipe; or a recipe whose data, gate and model are used.",
)
@where_option
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Recipe value to override in every recipe that has the key; repeatable.",
)
@click.option(
    "--model", show_default="the model of the recipe of the data", help="Registry model that the winner competes for."
)
@click.option(
    "--max-latency-ms",
    metavar="MS",
    type=click.FloatRange(0, min_open=True),
    help="Maximum latency of the winner for one text, in milliseconds.",
)
@click.option(
    "--max-size-mb",
    metavar="MB",
    type=click.FloatRange(0, min_open=True),
    help="Maximum size of the winner's files, in units of 10^6 bytes.",
)
@image_option
@store_options
@json_option
@fail_on_reject_option
@runner_option
def compare(
    names: tuple[str, ...],
    source: str | None,
    where: str | None,
    overrides: tuple[str, ...],
    model: str | None,
    max_latency_ms: float | None,
    max_size_mb: float | None,
    image: str,
    workspace: Path,
    bucket: str,
    as_json: bool,
    fail_on_reject: bool,
    runner: Literal["subprocess", "docker"],
) -> None:
    """Compare recipes on one split and offer the best to the gate.

    The best is the one with the highest F1 on the validation split within --max-latency-ms and --max-size-mb. The table
    shows F1 on both splits, the cost of serving and of training, and which differences are significant. A system that
    fails gets a row with the reason.

    Exit codes: 0 the comparison completed, 1 a step or every system failed, 2 a recipe, an argument or the source is
    wrong, 3 there is no winner or a gate rejected it, and --fail-on-reject is given; for others see textgate --help.
    """
    recipes = recipes_to_compare(names, source, where, overrides, model)
    limits = CostLimits(max_latency_ms=max_latency_ms, max_size_mb=max_size_mb)
    store = open_store(workspace, bucket)

    from textgate.pipelines.runners.display import Display
    from textgate.pipelines.runners.local import LocalSettings, RunFailedError, run_comparison

    with exit_on_failure(RunFailedError), reported_end(store, recipes[0].model, as_json):
        settings = LocalSettings(workspace, store, Display(sys.stderr), runner, image)
        result = run_comparison(recipes, limits, settings)
        if as_json:
            click.echo(json.dumps(_as_json(result), ensure_ascii=False))
        else:
            _print_result(result, recipes[0].model)
    if all(system.failed for system in result.comparison.systems):
        sys.exit(EXIT_FAILED)
    exit_on_reject(result.record, fail_on_reject)


def recipes_to_compare(
    names: Sequence[str], source: str | None, where: str | None, overrides: tuple[str, ...], model: str | None
) -> list[Recipe]:
    """Load the recipes and give all of them the data, gate and model of one recipe.

    Args:
        names: Names or paths of the recipes.
        source: URI of the data, or a recipe whose data, gate and model are used. By default, the first recipe's.
        where: Row filter that replaces the recipe's.
        overrides: ``key=value`` settings, each applied to the recipes that have the key.
        model: Registry model that replaces the recipe's.

    Raises:
        InputError: If there are fewer than two recipes, two have the same name, a recipe is not valid or lacks an
            analysis that the gate judges, or no recipe has the key of an override.
    """
    settings = with_where(overrides, where)
    data_settings = [*settings, *([f"model={json.dumps(model)}"] if model is not None else [])]
    data_recipe = names[0]
    if source is not None:
        if source in shipped.names() or source.endswith((".yaml", ".yml")):
            data_recipe = source
        else:
            data_settings.append(f"source.uri={json.dumps(source)}")
    recipes = [_load(name, settings) for name in names]
    data = _load(data_recipe, data_settings)
    recipe_names = [recipe.name for recipe in recipes]
    if len(recipe_names) < 2 or len(set(recipe_names)) < len(recipe_names):
        raise InputError(f"compare takes two recipes or more, of different names, not {', '.join(recipe_names)}")
    for override in overrides:
        if not any(_has_key(recipe, override) for recipe in [*recipes, data]):
            raise InputError(f"--set {override}: none of the recipes has this key")
    return [with_absolute_paths(_with_data_and_gate(_for_one_machine(recipe), data)) for recipe in recipes]


def _load(name: str, overrides: Sequence[str]) -> Recipe:
    """Load a recipe with those overrides whose key it has."""
    plain = shipped.load(name)
    return shipped.load(name, [override for override in overrides if _has_key(plain, override)])


def _has_key(recipe: Recipe, override: str) -> bool:
    section: Any = recipe
    *sections, key = override.partition("=")[0].strip().split(".")
    for name in sections:
        section = section.get(name) if isinstance(section, dict) else getattr(section, name, None)
    return isinstance(section, dict) or (isinstance(section, BaseModel) and key in type(section).model_fields)


def _with_data_and_gate(recipe: Recipe, data: Recipe) -> Recipe:
    """Return the recipe with the data, gate and model of another one, validated again."""
    values = recipe.model_dump() | data.model_dump(include={"source", "preprocess", "gate", "model"})
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{recipe.name} with the gate of {data.name}: {describe_error(error, values)}") from error


def _for_one_machine(recipe: Recipe) -> Recipe:
    """Remove the settings that a comparison has no steps for: several nodes, shards, out-of-domain data."""
    resources = recipe.resources.model_copy(update={"nodes": 1, "shards": 1})
    evaluate = recipe.evaluate.model_copy(update={"out_of_domain": {}})
    return recipe.model_copy(update={"resources": resources, "evaluate": evaluate})


def _as_json(result: "LocalComparison") -> dict[str, object]:
    return {
        **result.comparison.model_dump(mode="json"),
        **decision_json(result.record),
        "data": data_json(result.dataset),
        "page": str(result.page),
        "report": str(result.report) if result.report else None,
        "folder": str(result.folder),
        "steps": [vars(step) for step in result.steps],
        "seconds": result.seconds,
    }


_LEGEND = """
The validation split chooses the winner; the test split judges only the winner. Systems that share a letter do not
differ significantly on the validation split (paired test, Holm correction). L and T mark the Pareto fronts of F1
against latency and against training time, which is that of an ensemble with its members."""


def _print_result(result: "LocalComparison", model: str) -> None:
    # The terminal wraps long rows; rich would cut them.
    console = Console(soft_wrap=True, width=200)
    comparison, record = result.comparison, result.record
    console.print()
    console.print(_table(comparison))
    console.print(_LEGEND)
    lines = [
        *(("failed", f"{system.recipe}: {system.failed}") for system in comparison.systems if system.failed),
        ("winner", comparison.message),
        *run_lines(record),
        ("page", str(result.page)),
        *([("report", str(result.report))] if result.report else []),
        ("took", duration(result.seconds)),
        *([("next", f'textgate predict {model} "a text of yours"')] if record.promotion else []),
    ]
    print_lines(console, lines)


def _table(comparison: Comparison) -> Table:
    table = Table(box=None, pad_edge=False)
    score = f"validation {metric_title('f1', comparison.labels)} (95 % interval)"
    gpu = ["training on GPU"] if _on_gpu(comparison) else []
    for heading in ("system", score, "", "test", "ms/text", "texts/s", "MB", "training", "memory", *gpu, ""):
        table.add_column(heading, justify="left" if heading in ("system", "") else "right", no_wrap=True)
    for system in comparison.systems:
        table.add_row(*map(Text, _row(system, comparison)))
    return table


def _on_gpu(comparison: Comparison) -> bool:
    """Return True if a system was trained on a GPU; without one, the table has no column for it."""
    return any(system.metrics and system.metrics.training.accelerator_use for system in comparison.systems)


def _row(system: ComparedSystem, comparison: Comparison) -> list[str]:
    metrics = system.metrics
    if metrics is None:
        return [system.recipe, *[""] * (9 if _on_gpu(comparison) else 8), "failed"]
    fronts = ("L" if metrics.on_latency_front else "") + ("T" if metrics.on_training_front else "")
    remark = "" if metrics.within_limits else "beyond the limits"
    if system.recipe == comparison.winner:
        remark = "winner"
    return [
        system.recipe,
        str(metrics.choice_f1),
        metrics.letters,
        f"{metrics.f1.value:.4f}",
        f"{metrics.latency_ms:.2f}",
        f"{metrics.texts_per_second:,.0f}",
        f"{metrics.bytes / 1e6:,.1f}",
        ("> " if metrics.training.unknown_members else "") + duration(metrics.training.total_seconds),
        megabytes(metrics.training.peak_memory),
        *([use.message if (use := metrics.training.accelerator_use) else ""] if _on_gpu(comparison) else []),
        f"{fronts:<2} {remark}".rstrip(),
    ]
