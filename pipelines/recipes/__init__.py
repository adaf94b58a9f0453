"""The shipped recipes, one YAML file each, and how to load a recipe by name or path."""

import difflib
import os
from pathlib import Path

from textgate.components.contracts import (
    InputError,
    Recipe,
    Source,
    bundle_references,
    redact,
    replace_bundle_references,
)
from textgate.components.sources import SourceUrls, is_path, with_bucket

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
    """Return the recipe as a pipeline takes it: with absolute local paths, and without secrets in the sources' URLs.

    Steps run in other working directories; the complete URLs reach them by the environment (see ``SourceUrls``).

    Raises:
        InputError: The URL of a base model or bundle has a secret, or see ``SourceUrls.hide``.
    """
    urls = SourceUrls()
    for uri in (getattr(recipe.train, "base_model", None), *bundle_references(recipe.train)):
        if uri is not None and redact(uri) != uri:
            raise InputError(f"{uri}: only the URL of a source may have a query or user information: leave it out")
    train = replace_bundle_references(
        recipe.train, lambda reference: _absolute_path(reference) if is_path(reference) else reference
    )

    def change(source: Source) -> Source:
        corrections = urls.hide(_absolute_path(source.corrections)) if source.corrections else None
        return source.model_copy(update={"uri": urls.hide(_absolute_path(source.uri)), "corrections": corrections})

    return recipe.with_sources(change).model_copy(update={"train": train})


def with_feedback_of(recipe: Recipe, bucket: str) -> Recipe:
    """Return the recipe with the bucket in each ``feedback://`` source that names none; steps do not know it."""
    return recipe.with_sources(lambda source: with_bucket(source, bucket))


def _absolute_path(uri: str) -> str:
    return uri if "://" in uri else os.path.abspath(uri)
