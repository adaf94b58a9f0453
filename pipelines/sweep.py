"""Grid of recipe values for ``--sweep``; every combination is validated before anything runs."""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from textgate.components.contracts import InputError, Recipe
from textgate.components.select.select import setting

MOST = 64
_SECTIONS = ("preprocess", "train")
_SPLIT = (
    *("preprocess.seed", "preprocess.validation", "preprocess.test", "preprocess.test_latest_by"),
    *("preprocess.near_duplicates", "preprocess.group"),
)


@dataclass(frozen=True)
class Combination:
    """Values of the swept keys, and the recipe with these values."""

    settings: dict[str, Any]
    """Value of each swept key."""
    recipe: Recipe


def combinations(sweeps: Sequence[str], load: Callable[[list[str]], Recipe]) -> list[Combination]:
    """Return the Cartesian product of sweeps; the values of the first key change slowest.

    Args:
        sweeps: Sweeps of the form ``key=value,value,…``. The values are parsed as a YAML list, so a comma inside
            brackets or quotes is part of a value.
        load: Function that returns the recipe with ``key=value`` overrides.

    Raises:
        InputError: A sweep has another form, sweeps a key that does not affect the model, gives fewer than 2 or more
            than 64 combinations, gives one twice, or gives an invalid recipe. The message names it.
    """
    swept = [_assignments(sweep) for sweep in sweeps]
    count = math.prod(map(len, swept))
    if not 2 <= count <= MOST:
        raise InputError(f"--sweep takes 2 to {MOST} combinations, such as train.C=0.1,1,10, but these are {count}")
    grid: list[Combination] = []
    for values in itertools.product(*swept):
        overrides = [f"{key}={value}" for key, value in values]
        try:
            recipe = load(overrides)
        except InputError as error:
            raise InputError(f"--sweep {', '.join(overrides)}: {error}") from error
        sections = recipe.model_dump(mode="json")
        combination = Combination({key: setting(sections, key) for key, _ in values}, recipe)
        if combination in grid:
            raise InputError(f"--sweep gives the combination {describe(combination.settings)} twice")
        grid.append(combination)
    return grid


def describe(settings: dict[str, Any]) -> str:
    """Return swept settings as text, such as ``train.C=0.1, train.ngrams=[1, 2]``."""
    values = (value if isinstance(value, str) else json.dumps(value).removesuffix(".0") for value in settings.values())
    return ", ".join(f"{key}={value}" for key, value in zip(settings, values, strict=True))


def _assignments(sweep: str) -> list[tuple[str, str]]:
    """Return each value of a sweep as text, with its key."""
    key, _, values = sweep.partition("=")
    key = key.strip()
    section = key.partition(".")[0]
    if section in Recipe.model_fields and section not in _SECTIONS:
        raise InputError(
            f"--sweep {key}: only keys of {' and '.join(_SECTIONS)} can be swept, because they shape the model and "
            f"the validation score chooses between models; give {key} one value with --set"
        )
    if key in _SPLIT:
        raise InputError(
            f"--sweep {key}: each combination would be scored on other texts, so the easiest split would win; give it "
            "one value with --set"
        )
    listed = f"[{values}]"
    try:
        sequence: Any = yaml.compose(listed)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"--sweep {key}: {values!r} is not a comma-separated list of YAML values") from error
    texts = [listed[node.start_mark.index : node.end_mark.index] for node in sequence.value]
    if not key or not texts:
        raise InputError(f"--sweep takes key=value,value, such as train.learning_rate=2e-5,3e-5, not {sweep!r}")
    return [(key, value) for value in texts]
