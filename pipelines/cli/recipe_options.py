"""Argument RECIPE and the options that change it: ``--source``, ``--where``, ``--set``, ``--sweep``, ``--image``."""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from textgate.components.contracts import Recipe
from textgate.components.image import GPU_IMAGE, IMAGE, Images
from textgate.pipelines import recipes as shipped
from textgate.pipelines.recipes import with_absolute_paths
from textgate.pipelines.sweep import Combination, combinations

where_option = click.option(
    "--where", metavar="FILTER", help="Row filter that replaces the recipe's: 'source == \"imdb\"'."
)
image_option = click.option(
    "--image", default=IMAGE, envvar="TEXTGATE_IMAGE", help="Container image of the pipeline steps."
)
fail_on_reject_option = click.option(
    "--fail-on-reject", is_flag=True, help="Exit with code 3 if a gate rejects the model."
)
runner_option = click.option(
    "--runner",
    type=click.Choice(["subprocess", "docker"]),
    default="subprocess",
    help="How steps run on this machine: as processes or in containers.",
)
_OPTIONS = [
    click.argument("recipe"),
    click.option("--source", metavar="URI", help="Data source that replaces the recipe's."),
    where_option,
    click.option(
        "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Recipe value to override; repeatable."
    ),
    click.option(
        "--sweep",
        "sweeps",
        metavar="KEY=VALUE,VALUE",
        multiple=True,
        help="Values to train with; the best by gate.metric on validation texts is kept. Several sweeps form a grid.",
    ),
    image_option,
    click.option(
        "--gpu-image",
        default=GPU_IMAGE,
        envvar="TEXTGATE_GPU_IMAGE",
        help="Container image of steps that use a GPU on a cluster. Its @sha256:… digest is part of the cache key.",
    ),
]


@dataclass(frozen=True)
class RecipeSelection:
    """Recipe with the overrides of the command line applied."""

    recipe: Recipe
    sweep: list[Combination]
    images: Images


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add RECIPE and its options to a command, which receives a ``RecipeSelection`` as ``selection``."""

    @functools.wraps(command)
    def with_recipe(
        recipe: str,
        source: str | None,
        where: str | None,
        overrides: tuple[str, ...],
        sweeps: tuple[str, ...],
        image: str,
        gpu_image: str,
        **others: Any,
    ) -> Any:
        settings = with_where(overrides, where)
        if source is not None:
            settings.append(f"source.uri={json.dumps(source)}")
        selected = with_absolute_paths(shipped.load(recipe, settings))
        sweep = (
            combinations(sweeps, lambda swept: with_absolute_paths(shipped.load(recipe, [*settings, *swept])))
            if sweeps
            else []
        )
        return command(selection=RecipeSelection(selected, sweep, Images(image, gpu_image)), **others)

    decorated: Callable[..., Any] = with_recipe
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def with_where(overrides: tuple[str, ...], where: str | None) -> list[str]:
    """Return the overrides, with the row filter of ``--where`` as one more."""
    return [*overrides, *([f"source.where={json.dumps(where)}"] if where is not None else [])]
