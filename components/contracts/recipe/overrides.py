"""Overrides of recipe keys from the command line: ``--set train.learning_rate=3e-5``."""

import math
import re
from typing import Any

from textgate.components.contracts.recipe.keys import RENAMED_KEYS
from textgate.components.contracts.recipe.yaml_reader import YAML_ERRORS, read_yaml
from textgate.components.step import InputError


def apply_override(recipe: dict[str, Any], override: str) -> None:
    """Set one key of a recipe that has not been validated yet, in place; create missing sections on its path.

    Args:
        recipe: Mapping as read from YAML.
        override: ``key.inner=value``, where the value is YAML.

    Raises:
        InputError: The override has another form, its path leads through a value, or its value is not YAML.
    """
    path, equals, value = override.partition("=")
    keys = RENAMED_KEYS.get(path.strip(), path.strip()).split(".")
    if not equals or not all(keys):
        raise InputError(f"--set takes key=value, such as train.learning_rate=3e-5, not {override!r}")
    section: Any = recipe
    for depth, key in enumerate(keys[:-1], 1):
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise InputError(f"--set {path}: {'.'.join(keys[:depth])} is a value, not a section")
    try:
        section[keys[-1]] = _number(read_yaml(value))
    except YAML_ERRORS as error:
        raise InputError(f"--set {path}: {value!r} is not a YAML value") from error


def _number(value: Any) -> Any:
    """Convert text such as ``3e-5``, which YAML 1.1 does not read as a number, to a float."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+", value):
        number = float(value)
        return number if math.isfinite(number) else value
    return value
