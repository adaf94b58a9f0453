"""The recipes that ship, one YAML each, and how one is found."""

import difflib
from pathlib import Path

from textgate.components.contracts import InputError, Recipe

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Names of the recipes that ship, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load(recipe: str, overrides: list[str] | None = None) -> Recipe:
    """A recipe by its name, or by the path of a YAML file of one's own.

    Raises:
        InputError: no such recipe or file, or it is not valid.
    """
    path = Path(recipe) if recipe.endswith((".yaml", ".yml")) else _FOLDER / f"{recipe}.yaml"
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if path.parent == _FOLDER:
            nearest = difflib.get_close_matches(recipe, names(), n=1, cutoff=0.0)[0]
            raise InputError(f"no recipe {recipe!r}; did you mean {nearest}? (textgate recipes lists them)") from error
        raise InputError(f"the recipe {recipe} cannot be read: {error}") from error
    return Recipe.parse(text, recipe, overrides)
