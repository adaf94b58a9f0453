"""``textgate recipes``, ``textgate run``, ``textgate compile``."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from textgate.components.contracts import Recipe, RunRecord, duration
from textgate.pipelines import recipes as shipped
from textgate.pipelines.cli.recipe import Chosen, recipe_options
from textgate.pipelines.cli.workspace import json_option, open_store, store_options
from textgate.pipelines.sweep import describe

if TYPE_CHECKING:
    from textgate.pipelines.runners.local import LocalRun
    from textgate.pipelines.runners.run_log import StepResult

EXIT_FAILED, EXIT_REJECTED = 1, 3


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
@recipe_options
@store_options
@json_option
@click.option("--fail-on-reject", is_flag=True, help="Exit 3 when a gate rejects.")
@click.option("--runner", type=click.Choice(["subprocess", "docker"]), default="subprocess", show_default=True)
def run(chosen: Chosen, runner: str, fail_on_reject: bool, home: Path, bucket: str, as_json: bool) -> None:
    """Run RECIPE, a shipped one's name or a YAML file, as a pipeline on this machine.

    Exits 0 when the run completed, 1 when a step failed, 2 when the recipe, an argument or the source is wrong, and 3
    when a gate rejected and --fail-on-reject is given.
    """
    store = open_store(home, bucket)

    from textgate.pipelines.runners.display import Display
    from textgate.pipelines.runners.local import RunFailedError, run_pipeline

    try:
        result = run_pipeline(chosen.recipe, home, store, runner, chosen.images.cpu, Display(sys.stderr), chosen.sweep)
    except RunFailedError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(EXIT_FAILED)
    if as_json:
        click.echo(json.dumps(_as_json(result), ensure_ascii=False))
    else:
        _show(result, chosen.recipe)
    if fail_on_reject and result.record.promotion is None:
        sys.exit(EXIT_REJECTED)


@click.command("compile", epilog="Example: textgate compile quickstart -o quickstart.pipeline.yaml")
@recipe_options
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File to write.")
def compile_(chosen: Chosen, output: Path) -> None:
    """Write RECIPE's pipeline as Kubeflow Pipelines YAML."""
    if output.suffix not in (".yaml", ".yml"):
        raise click.BadParameter(f"{output} must end in .yaml or .yml", param_hint="--output")

    from textgate.pipelines.training import compile_pipeline

    compile_pipeline(chosen.recipe, output, chosen.images, chosen.sweep)
    click.echo(f"wrote {output}")


def _as_json(result: "LocalRun") -> dict[str, object]:
    return {
        **decided(result.record),
        "report": str(result.report),
        "folder": str(result.folder),
        "sweep": [candidate.model_dump() for candidate in result.sweep],
        "steps": [vars(step) for step in result.steps],
        "seconds": result.seconds,
    }


def decided(record: RunRecord) -> dict[str, object]:
    """What a run came to, for ``--json``."""
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
    }


def decided_in_words(record: RunRecord) -> list[tuple[str, str]]:
    """What a run came to, for a person: a line each."""
    last = record.decisions[-1]
    f1 = next(rule.value for rule in last.rules if rule.name == "min_f1")
    return [
        ("test F1", f"{f1} (95 % interval)"),
        ("decision", last.words),
        ("promoted", f"{record.promotion.model} {record.promotion.version}" if record.promotion else "nothing"),
    ]


def show_steps(console: Console, steps: list["StepResult"]) -> None:
    """How long each step took."""
    table = Table("step", "seconds", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for step in steps:
        table.add_row(Text(step.name), "cached" if step.outcome == "cached" else f"{step.seconds:.1f}")
    console.print()
    console.print(table)


def _show(result: "LocalRun", recipe: Recipe) -> None:
    console = Console(highlight=False, soft_wrap=True)
    show_steps(console, result.steps)
    if result.sweep:
        console.print()
        console.print(_sweep_table(result))
    lines = [
        *decided_in_words(result.record),
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
