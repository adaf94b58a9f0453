"""``textgate recipes``, ``textgate run``, ``textgate compile``."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from textgate.components.contracts import Recipe, duration
from textgate.components.image import IMAGE
from textgate.pipelines import recipes as shipped
from textgate.pipelines.cli.workspace import json_option, open_store, store_options
from textgate.pipelines.sweep import Combination, combinations, describe

if TYPE_CHECKING:
    from textgate.pipelines.local import LocalRun

_EXIT_FAILED, _EXIT_REJECTED = 1, 3

_RECIPE_OPTIONS = [
    click.argument("recipe"),
    click.option("--source", metavar="URI", help="Read this source instead of the recipe's."),
    click.option("--where", metavar="FILTER", help="Row filter instead of the recipe's: 'source == \"imdb\"'."),
    click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Override one value of the recipe."),
    click.option(
        "--sweep",
        "sweeps",
        metavar="KEY=VALUE,VALUE",
        multiple=True,
        help="Train with each value, or each combination when given several times; the best by validation F1 goes on.",
    ),
    click.option("--image", default=IMAGE, envvar="TEXTGATE_IMAGE", show_default=True, help="Image of the steps."),
]


def _recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add RECIPE and what changes it."""
    for option in reversed(_RECIPE_OPTIONS):
        command = option(command)
    return command


@click.command()
@json_option
def recipes(as_json: bool) -> None:
    """List the recipes that ship."""
    found = [shipped.load(name) for name in shipped.names()]
    if as_json:
        click.echo(json.dumps({"recipes": [recipe.model_dump(mode="json") for recipe in found]}))
        return
    table = Table("recipe", "family", "description", box=None, pad_edge=False)
    for recipe in found:
        table.add_row(recipe.name, recipe.train.family, recipe.description)
    Console().print(table)


@click.command(epilog="Example: textgate run quickstart --set gate.min_f1=0.8 --sweep train.learning_rate=2e-5,5e-5")
@_recipe_options
@store_options
@json_option
@click.option("--fail-on-reject", is_flag=True, help="Exit 3 when a gate rejects.")
@click.option("--runner", type=click.Choice(["subprocess", "docker"]), default="subprocess", show_default=True)
def run(
    recipe: str,
    source: str | None,
    where: str | None,
    overrides: tuple[str, ...],
    sweeps: tuple[str, ...],
    runner: str,
    image: str,
    fail_on_reject: bool,
    home: Path,
    bucket: str,
    as_json: bool,
) -> None:
    """Run RECIPE, a shipped one's name or a YAML file, as a pipeline on this machine.

    Exits 0 when the run completed, 1 when a step failed, 2 when the recipe, an argument or the source is wrong, and 3
    when a gate rejected and --fail-on-reject is given.
    """
    chosen, sweep = _load(recipe, source, where, overrides, sweeps)
    store = open_store(home, bucket)

    from textgate.pipelines.display import Display
    from textgate.pipelines.local import RunFailedError, run_pipeline

    try:
        result = run_pipeline(chosen, home, store, runner, image, Display(sys.stderr), sweep)
    except RunFailedError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(_EXIT_FAILED)
    if as_json:
        click.echo(json.dumps(_as_json(result), ensure_ascii=False))
    else:
        _show(result, chosen)
    if fail_on_reject and result.record.promotion is None:
        sys.exit(_EXIT_REJECTED)


@click.command("compile", epilog="Example: textgate compile quickstart -o quickstart.pipeline.yaml")
@_recipe_options
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File to write.")
def compile_(
    recipe: str,
    source: str | None,
    where: str | None,
    overrides: tuple[str, ...],
    sweeps: tuple[str, ...],
    image: str,
    output: Path,
) -> None:
    """Write RECIPE's pipeline as Kubeflow Pipelines YAML."""
    chosen, sweep = _load(recipe, source, where, overrides, sweeps)
    if output.suffix not in (".yaml", ".yml"):
        raise click.BadParameter(f"{output} must end in .yaml or .yml", param_hint="--output")

    from textgate.pipelines.training import compile_pipeline

    compile_pipeline(chosen, output, image, sweep)
    click.echo(f"wrote {output}")


def _load(
    recipe: str, source: str | None, where: str | None, overrides: tuple[str, ...], sweeps: tuple[str, ...]
) -> tuple[Recipe, list[Combination]]:
    given = list(overrides)
    if source is not None:
        given.append(f"source.uri={json.dumps(source)}")
    if where is not None:
        given.append(f"source.where={json.dumps(where)}")
    chosen = shipped.load(recipe, given)
    sweep = combinations(sweeps, lambda swept: shipped.load(recipe, [*given, *swept])) if sweeps else []
    uri = chosen.source.uri
    if "://" not in uri:
        absolute = chosen.source.model_copy(update={"uri": os.path.abspath(uri)})
        chosen = chosen.model_copy(update={"source": absolute})
    return chosen, sweep


def _as_json(result: "LocalRun") -> dict[str, object]:
    record = result.record
    last = record.decisions[-1]
    return {
        "run": record.run,
        "verdict": last.verdict,
        "decision": last.words,
        "metrics": {rule.name: rule.value.model_dump() for rule in last.rules if rule.value},
        "decisions": [decision.model_dump(mode="json") for decision in record.decisions],
        "model": record.recipe["model"],
        "version": record.promotion.version if record.promotion else None,
        "champion": last.champion if record.promotion is None else record.promotion.version,
        "report": str(result.report),
        "folder": str(result.folder),
        "sweep": [candidate.model_dump() for candidate in result.sweep],
        "steps": [vars(step) for step in result.steps],
        "seconds": result.seconds,
    }


def _show(result: "LocalRun", recipe: Recipe) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table("step", "seconds", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for step in result.steps:
        table.add_row(Text(step.name), "cached" if step.outcome == "cached" else f"{step.seconds:.1f}")
    console.print()
    console.print(table)
    if result.sweep:
        console.print()
        console.print(_sweep_table(result))
    record = result.record
    last = record.decisions[-1]
    f1 = next(rule.value for rule in last.rules if rule.name == "min_f1")
    lines = [
        ("test F1", f"{f1} (95 % interval)"),
        ("decision", last.words),
        ("promoted", f"{recipe.model} {record.promotion.version}" if record.promotion else "nothing"),
        ("report", str(result.report)),
        ("took", duration(result.seconds)),
        ("next", _next_command(result, recipe)),
    ]
    console.print()
    for name, text in lines:
        console.print(f"{name:<9} {text}", markup=False)


def _sweep_table(result: "LocalRun") -> Table:
    table = Table("combination", "validation F1", "", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for candidate in result.sweep:
        score = f"{candidate.validation_f1:.4f}"
        table.add_row(Text(describe(candidate.settings)), score, "chosen" if candidate.chosen else "")
    return table


def _next_command(result: "LocalRun", recipe: Recipe) -> str:
    if result.record.promotion or result.record.decisions[-1].champion:
        return f'textgate predict {recipe.model} "a text of yours"'
    return f"textgate run {recipe.name} --set train.…=… to train otherwise, or open the report"
