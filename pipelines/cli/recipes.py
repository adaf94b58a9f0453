"""``textgate recipes``: list the shipped recipes, show their YAML, and explain every recipe key."""

import json
import textwrap

import click
from rich.table import Table
from rich.text import Text

from textgate.components.contracts.recipe.reference import RecipeKey, recipe_keys
from textgate.pipelines import recipes as shipped
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.store_options import json_option
from textgate.pipelines.terminal import Console

_WIDTH = 96


@click.group(
    invoke_without_command=True,
    epilog=example("textgate recipes", "textgate recipes show quickstart", "textgate recipes keys train.adapter"),
)
@json_option
@click.pass_context
def recipes(context: click.Context, as_json: bool) -> None:
    """List and show the shipped recipes, explain recipe keys.

    Without a command, list the shipped recipes.
    """
    if context.invoked_subcommand is None:
        _print_recipes(as_json)


@recipes.command("list", epilog=example("textgate recipes list", "textgate recipes list --json"))
@json_option
def list_(as_json: bool) -> None:
    """List the shipped recipes."""
    _print_recipes(as_json)


@recipes.command(epilog=example("textgate recipes show quickstart", "textgate recipes show quickstart > films.yaml"))
@click.argument("name")
def show(name: str) -> None:
    """Print the YAML of the shipped recipe NAME, with its comments."""
    click.echo(shipped.read(name), nl=False)


@recipes.command(
    epilog=example("textgate recipes keys", "textgate recipes keys train.adapter", "textgate recipes keys gate --json")
)
@click.argument("section", required=False)
@json_option
def keys(section: str | None, as_json: bool) -> None:
    """Explain the keys of recipes: type, default, meaning.

    SECTION is a section or a single key, such as train, train.adapter or gate.min_f1.
    """
    selected = recipe_keys(section)
    if as_json:
        click.echo(json.dumps({"keys": [key.as_json() for key in selected]}, ensure_ascii=False))
    else:
        _print_keys(selected)


def _print_recipes(as_json: bool) -> None:
    loaded = [shipped.load(name) for name in shipped.names()]
    if as_json:
        click.echo(json.dumps({"recipes": [recipe.model_dump(mode="json") for recipe in loaded]}))
        return
    table = Table("recipe", "family", "description", box=None, pad_edge=False)
    for recipe in loaded:
        table.add_row(recipe.name, recipe.train.family, recipe.description)
    Console().print(table)


def _print_keys(keys: list[RecipeKey]) -> None:
    console = Console()
    for key in keys:
        default = "required" if key.required else f"default {key.default}"
        scope = "".join(f"  [{', '.join(names)}]" for names in (key.families, key.kinds) if names)
        console.print(Text.assemble((key.path, "bold"), f"  {key.type}, {default}{scope}"), soft_wrap=True)
        description = key.description.replace("``", "`")
        console.print(textwrap.indent(textwrap.fill(description, _WIDTH), "    "), markup=False, soft_wrap=True)
