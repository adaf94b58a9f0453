"""The shipped recipes, one YAML file each, and how to load a recipe by name or path."""

import difflib
import os
from pathlib import Path

from textgate.components.contracts import InputError, Recipe, Source, replace_bundle_references
from textgate.components.sources import is_path

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the shipped recipes, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def read(name: str) -> str:
    """Return the YAML of a shipped recipe, comments included.

    Raises:
        InputError: If no shipped recipe has this name; the message names the nearest one.
    """
    if name not in names():
        nearest = difflib.get_close_matches(name, names(), n=1, cutoff=0.0)[0]
        raise InputError(f"no recipe {name!r}; did you mean {nearest}? (textgate recipes lists them)")
    return (_FOLDER / f"{name}.yaml").read_text("utf-8")


def load(recipe: str, overrides: list[str] | None = None) -> Recipe:
    """Load a shipped recipe by its name, or a recipe file by its path (``.yaml`` or ``.yml``).

    Args:
        recipe: Name or path.
        overrides: ``key=value`` settings that replace values of the recipe, such as ``train.learning_rate=3e-5``.

    Raises:
        InputError: If there is no such recipe or file, or it is not a valid recipe.
    """
    if not recipe.endswith((".yaml", ".yml")):
        return Recipe.parse(read(recipe), recipe, overrides)
    try:
        text = Path(recipe).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the recipe {recipe} cannot be read: {error}") from error
    return Recipe.parse(text, recipe, overrides)


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """Return the recipe with local paths made absolute, because steps run in other working directories."""
    train = replace_bundle_references(
        recipe.train, lambda reference: _absolute_path(reference) if is_path(reference) else reference
    )
    return recipe.with_sources(_with_absolute_uri).model_copy(update={"train": train})


def _with_absolute_uri(source: Source) -> Source:
    corrections = _absolute_path(source.corrections) if source.corrections else None
    return source.model_copy(update={"uri": _absolute_path(source.uri), "corrections": corrections})


def _absolute_path(uri: str) -> str:
    return uri if "://" in uri else os.path.abspath(uri)
