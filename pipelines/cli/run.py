"""``textgate run`` and ``textgate compile``."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from textgate.components.contracts import Recipe, duration
from textgate.components.contracts.data_account import account_lines
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.recipe_options import RecipeSelection, fail_on_reject_option, recipe_options, runner_option
from textgate.pipelines.cli.run_end import reported_end
from textgate.pipelines.cli.run_result import (
    data_json,
    exit_on_failure,
    exit_on_reject,
    print_lines,
    print_steps,
    run_json,
    run_lines,
)
from textgate.pipelines.cli.store_options import json_option, store_options
from textgate.pipelines.cli.yaml_file import YamlFile
from textgate.pipelines.sweep import describe
from textgate.pipelines.terminal import Console
from textgate.pipelines.workspace import open_store

if TYPE_CHECKING:
    from textgate.pipelines.runners.local import LocalRun


@click.command(
    epilog=example(
        "textgate run quickstart",
        "textgate run quickstart --set gate.min_f1=0.8 --sweep train.learning_rate=2e-5,5e-5",
        "textgate run imdb-tfidf --source aclImdb --json",
    )
)
@recipe_options
@store_options
@json_option
@fail_on_reject_option
@runner_option
def run(
    selection: RecipeSelection, runner: str, fail_on_reject: bool, workspace: Path, bucket: str, as_json: bool
) -> None:
    """Run the pipeline of RECIPE on this machine.

    The pipeline trains, evaluates, exports, and promotes what passes the gates.

    RECIPE is the name of a shipped recipe (textgate recipes) or the path of a YAML file.

    Exit codes: 0 the run completed, 1 a step failed, 2 the recipe, an argument or the source is wrong, 3 a gate
    rejected the model and --fail-on-reject is given; for others see textgate --help. The last line of a run that fails
    or is interrupted says whether the champion moved.
    """
    store = open_store(workspace, bucket)

    from textgate.pipelines.runners.display import Display
    from textgate.pipelines.runners.local import LocalSettings, RunFailedError, run_pipeline

    with exit_on_failure(RunFailedError), reported_end(store, selection.recipe.model, as_json):
        settings = LocalSettings(workspace, store, Display(sys.stderr), runner, selection.images.cpu)
        result = run_pipeline(selection.recipe, settings, selection.sweep)
        if as_json:
            click.echo(json.dumps(_as_json(result), ensure_ascii=False))
        else:
            _print_result(result, selection.recipe)
    exit_on_reject(result.record, fail_on_reject)


@click.command(
    "compile",
    epilog=example(
        "textgate compile quickstart -o quickstart.pipeline.yaml",
        "textgate compile imdb-tfidf --source s3://textgate/data/imdb.csv -o imdb.pipeline.yaml",
    ),
)
@recipe_options
@click.option("-o", "--output", type=YamlFile(), required=True, help="Pipeline file to write.")
def compile_(selection: RecipeSelection, output: Path) -> None:
    """Compile the pipeline of RECIPE to Kubeflow Pipelines YAML.

    Source, model, learning rate, epochs, batch size and the limits of the gate are inputs of the pipeline, with the
    recipe's values as defaults. With --sweep only source, model and the limits are.
    """
    from textgate.components.contracts.recipe.run_inputs import run_inputs
    from textgate.pipelines.cluster_paths import require_remote_paths
    from textgate.pipelines.training import compile_pipeline

    recipe, sweep = selection.recipe, selection.sweep
    require_remote_paths(recipe, sweep)
    compile_pipeline(recipe, output, selection.images, sweep, run_inputs(recipe, trained_once=not sweep))
    click.echo(f"wrote {output}")


def _as_json(result: "LocalRun") -> dict[str, object]:
    return {
        **run_json(result.record),
        "data": data_json(result.dataset),
        "report": str(result.report),
        "folder": str(result.folder),
        "sweep": [candidate.model_dump() for candidate in result.sweep],
        "steps": [vars(step) for step in result.steps],
        "seconds": result.seconds,
    }


def _print_result(result: "LocalRun", recipe: Recipe) -> None:
    console = Console(soft_wrap=True)
    print_steps(console, result.steps)
    if result.sweep:
        console.print()
        console.print(_sweep_table(result))
    lines = [
        ("data", account_lines(result.dataset)[0]),
        *run_lines(result.record),
        ("report", str(result.report)),
        *_offline_line(result.folder),
        ("took", duration(result.seconds)),
        ("next", _next_command(result, recipe)),
    ]
    print_lines(console, lines)


def _offline_line(folder: Path) -> list[tuple[str, str]]:
    """Return the line that says where W&B's offline files are, if there are any."""
    offline = folder / "wandb"
    line = f"offline in {offline}; to upload: wandb sync {offline}/offline-run-*"
    return [("wandb", line)] if offline.is_dir() else []


def _sweep_table(result: "LocalRun") -> Table:
    table = Table("combination", result.sweep[0].title, "", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for candidate in result.sweep:
        score = f"{candidate.score:.4f}"
        table.add_row(Text(describe(candidate.settings)), score, "chosen" if candidate.chosen else "")
    return table


def _next_command(result: "LocalRun", recipe: Recipe) -> str:
    if result.record.promotion or result.record.decisions[-1].champion:
        return f'textgate predict {recipe.model} "a text of yours"'
    return f"textgate run {recipe.name} --set train.…=… to train with other settings, or open the report"
