"""``textgate compare``."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from textgate.components.contracts import InputError, Recipe, duration
from textgate.components.contracts.comparison import Comparison, Limits, System
from textgate.components.image import IMAGE
from textgate.pipelines import recipes as shipped
from textgate.pipelines.cli.recipe import absolute
from textgate.pipelines.cli.run import EXIT_FAILED, EXIT_REJECTED
from textgate.pipelines.cli.workspace import json_option, open_store, store_options

if TYPE_CHECKING:
    from textgate.pipelines.runners.local import LocalComparison


@click.command(
    epilog="Example: textgate compare imdb-tfidf toxic-lsa quickstart --source quickstart --max-latency-ms 10"
)
@click.argument("names", metavar="RECIPE RECIPE…", nargs=-1, required=True)
@click.option(
    "--source",
    metavar="URI|RECIPE",
    help="Where the data lie, read as the first recipe says; or a recipe whose data, gate and model are taken.  "
    "[default: the first recipe]",
)
@click.option("--where", metavar="FILTER", help="Row filter instead of the recipe's: 'source == \"imdb\"'.")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Override it in every recipe that has it.")
@click.option("--model", help="Name under which the winner competes.  [default: that of the recipe of the data]")
@click.option(
    "--max-latency-ms",
    metavar="MS",
    type=click.FloatRange(0, min_open=True),
    help="For one text, that the winner may take.",
)
@click.option(
    "--max-size-mb",
    metavar="MB",
    type=click.FloatRange(0, min_open=True),
    help="Files the winner may need, in 10^6 bytes.",
)
@click.option("--image", default=IMAGE, envvar="TEXTGATE_IMAGE", show_default=True, help="Image of the steps.")
@store_options
@json_option
@click.option("--fail-on-reject", is_flag=True, help="Exit 3 when nothing is promoted.")
@click.option("--runner", type=click.Choice(["subprocess", "docker"]), default="subprocess", show_default=True)
def compare(
    names: tuple[str, ...],
    source: str | None,
    where: str | None,
    overrides: tuple[str, ...],
    model: str | None,
    max_latency_ms: float | None,
    max_size_mb: float | None,
    image: str,
    home: Path,
    bucket: str,
    as_json: bool,
    fail_on_reject: bool,
    runner: str,
) -> None:
    """Train several RECIPEs on one split, and offer the best one within the limits to the gate.

    The table has F1, what each costs to serve and to train, and whether they differ by more than chance. A system that
    fails is a row that says why.

    Exits 0 when the comparison completed, 1 when a step or every system failed, 2 when a recipe, an argument or the
    source is wrong, and 3 when nothing is promoted and --fail-on-reject is given.
    """
    recipes = compared(names, source, where, overrides, model)
    limits = Limits(max_latency_ms=max_latency_ms, max_size_mb=max_size_mb)
    store = open_store(home, bucket)

    from textgate.pipelines.runners.display import Display
    from textgate.pipelines.runners.local import RunFailedError, run_comparison

    try:
        result = run_comparison(recipes, limits, home, store, runner, image, Display(sys.stderr))
    except RunFailedError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(EXIT_FAILED)
    if as_json:
        click.echo(json.dumps(_as_json(result), ensure_ascii=False))
    else:
        _show(result, recipes[0].model)
    if all(system.failed for system in result.comparison.systems):
        sys.exit(EXIT_FAILED)
    if fail_on_reject and result.record.promotion is None:
        sys.exit(EXIT_REJECTED)


def compared(
    names: Sequence[str], source: str | None, where: str | None, overrides: Sequence[str], model: str | None
) -> list[Recipe]:
    """The recipes with the data, the gate and the model of one of them, or of the recipe that ``source`` names.

    Raises:
        InputError: fewer than two recipes, two of one name, a key that none has, or see ``recipes.load``.
    """
    given = [*overrides, *([f"source.where={json.dumps(where)}"] if where is not None else [])]
    named = source is not None and (source in shipped.names() or source.endswith((".yaml", ".yml")))
    loaded = [_load(name, given) for name in names]
    about_data = [*given, *([f"model={json.dumps(model)}"] if model is not None else [])]
    if source is not None and not named:
        about_data.append(f"source.uri={json.dumps(source)}")
    data = _load(source if source is not None and named else names[0], about_data)
    found = [recipe.name for recipe in loaded]
    if len(found) < 2 or len(set(found)) < len(found):
        raise InputError(f"compare takes two recipes or more, of different names, not {', '.join(found)}")
    for override in overrides:
        if not any(_has(recipe, override) for recipe in [*loaded, data]):
            raise InputError(f"--set {override}: none of the recipes has this key")
    shared = {key: getattr(data, key) for key in ("source", "preprocess", "gate", "model")}
    return [absolute(_on_one_machine(recipe.model_copy(update=shared))) for recipe in loaded]


def _load(name: str, overrides: Sequence[str]) -> Recipe:
    """The recipe with those overrides whose key it has."""
    plain = shipped.load(name)
    return shipped.load(name, [override for override in overrides if _has(plain, override)])


def _has(recipe: Recipe, override: str) -> bool:
    """Whether there is a section in the recipe that has the key."""
    section: Any = recipe
    *sections, key = override.partition("=")[0].strip().split(".")
    for part in sections:
        section = section.get(part) if isinstance(section, dict) else getattr(section, part, None)
    return isinstance(section, dict) or (isinstance(section, BaseModel) and key in type(section).model_fields)


def _on_one_machine(recipe: Recipe) -> Recipe:
    """Without what a comparison has no steps for: several machines, parts of a source, other data sets."""
    resources = recipe.resources.model_copy(update={"nodes": 1, "shards": 1})
    evaluate = recipe.evaluate.model_copy(update={"out_of_domain": {}})
    return recipe.model_copy(update={"resources": resources, "evaluate": evaluate})


def _as_json(result: "LocalComparison") -> dict[str, object]:
    record, promotion = result.record, result.record.promotion
    return {
        "run": record.run,
        **result.comparison.model_dump(mode="json"),
        "verdict": record.decisions[-1].verdict if record.decisions else None,
        "decision": record.decisions[-1].words if record.decisions else None,
        "decisions": [decision.model_dump(mode="json") for decision in record.decisions],
        "model": record.recipe["model"],
        "version": promotion.version if promotion else None,
        "page": str(result.page),
        "report": str(result.report) if result.report else None,
        "folder": str(result.folder),
        "steps": [vars(step) for step in result.steps],
        "seconds": result.seconds,
    }


_KEY = """
Systems that share a letter do not differ significantly (paired, Holm). L and T are on the Pareto fronts of F1 against
latency and against training time."""


def _show(result: "LocalComparison", model: str) -> None:
    # A row that is too long for the terminal is better wrapped by it than cut.
    console = Console(highlight=False, soft_wrap=True, width=200)
    comparison, record = result.comparison, result.record
    console.print()
    console.print(_table(comparison))
    lines = [
        *(("failed", f"{system.recipe}: {system.failed}") for system in comparison.systems if system.failed),
        ("winner", comparison.words),
        ("decision", record.decisions[-1].words if record.decisions else "nothing was offered to the gate"),
        ("promoted", f"{record.promotion.model} {record.promotion.version}" if record.promotion else "nothing"),
        ("page", str(result.page)),
        *([("report", str(result.report))] if result.report else []),
        ("took", duration(result.seconds)),
        *([("next", f'textgate predict {model} "a text of yours"')] if record.promotion else []),
    ]
    console.print(_KEY)
    console.print()
    for name, text in lines:
        console.print(f"{name:<9} {text}", markup=False)


def _table(comparison: Comparison) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("system", "F1 (95 % interval)", "", "ms/text", "texts/s", "MB", "training", "its memory", ""):
        table.add_column(heading, justify="left" if heading in ("system", "") else "right", no_wrap=True)
    for system in comparison.systems:
        table.add_row(*map(Text, _row(system, comparison)))
    return table


def _row(system: System, comparison: Comparison) -> list[str]:
    found = system.measured
    if found is None:
        return [system.recipe, *[""] * 7, "failed"]
    fronts = ("L" if found.on_latency_front else "") + ("T" if found.on_training_front else "")
    remark = "" if found.within_limits else "beyond the limits"
    if system.recipe == comparison.winner:
        remark = "winner"
    return [
        system.recipe,
        str(found.f1),
        found.letters,
        f"{found.latency_ms:.2f}",
        f"{found.texts_per_second:,.0f}",
        f"{found.bytes / 1e6:,.1f}",
        duration(found.training.seconds),
        f"{found.training.peak_memory / 1e6:,.0f} MB",
        f"{fronts:<2} {remark}".rstrip(),
    ]
