"""RECIPE and the options that change it, which several commands share."""

import functools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from textgate.components.contracts import Recipe, Source, with_bundles
from textgate.components.image import GPU_IMAGE, IMAGE, Images
from textgate.components.storage.references import is_folder
from textgate.pipelines import recipes as shipped
from textgate.pipelines.sweep import Combination, combinations

_OPTIONS = [
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
    click.option(
        "--gpu-image",
        default=GPU_IMAGE,
        envvar="TEXTGATE_GPU_IMAGE",
        show_default=True,
        help="Image of the steps that a cluster gives an accelerator. A name with @sha256:… is part of the cache key.",
    ),
]


@dataclass(frozen=True)
class Chosen:
    """The recipe as the command line changes it."""

    recipe: Recipe
    sweep: list[Combination]
    images: Images


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add RECIPE and what changes it, which the command gets as ``chosen``."""

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
        given = list(overrides)
        if source is not None:
            given.append(f"source.uri={json.dumps(source)}")
        if where is not None:
            given.append(f"source.where={json.dumps(where)}")
        chosen = absolute(shipped.load(recipe, given))
        sweep = combinations(sweeps, lambda swept: absolute(shipped.load(recipe, [*given, *swept]))) if sweeps else []
        return command(chosen=Chosen(chosen, sweep, Images(image, gpu_image)), **others)

    decorated: Callable[..., Any] = with_recipe
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def absolute(recipe: Recipe) -> Recipe:
    """The recipe with what lies on this machine by its full path, since the steps work in folders of their own."""
    train = with_bundles(recipe.train, lambda reference: _full_path(reference) if is_folder(reference) else reference)
    return recipe.with_sources(_from_full_path).model_copy(update={"train": train})


def _from_full_path(source: Source) -> Source:
    return source.model_copy(update={"uri": _full_path(source.uri)})


def _full_path(uri: str) -> str:
    return uri if "://" in uri else os.path.abspath(uri)
