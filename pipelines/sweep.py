"""``--sweep``: every combination of some recipe keys' values, each validated before anything runs."""

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
_SPLIT = ("preprocess.seed", "preprocess.validation", "preprocess.test")


@dataclass(frozen=True)
class Combination:
    """One choice of values for the swept keys, and the recipe with them."""

    settings: dict[str, Any]
    """Key to value, as the recipe holds it."""
    recipe: Recipe


def combinations(sweeps: Sequence[str], load: Callable[[list[str]], Recipe]) -> list[Combination]:
    """The Cartesian product of ``key=value,value,…``; the values of the first key change slowest.

    The values are written as in a YAML list, so a comma inside brackets or quotes is part of a value. ``load`` makes
    the recipe with the given ``key=value`` overrides.

    Raises:
        InputError: not of this form, a key that does not shape the model, too few or too many combinations, one given
            twice, or one that is not a valid recipe; it is named.
    """
    swept = [_assignments(sweep) for sweep in sweeps]
    count = math.prod(map(len, swept))
    if not 2 <= count <= MOST:
        raise InputError(f"--sweep takes 2 to {MOST} combinations, such as train.C=0.1,1,10, but these are {count}")
    found: list[Combination] = []
    for chosen in itertools.product(*swept):
        try:
            recipe = load([f"{key}={value}" for key, value in chosen])
        except InputError as error:
            raise InputError(f"--sweep {', '.join(f'{key}={value}' for key, value in chosen)}: {error}") from error
        sections = recipe.model_dump(mode="json")
        combination = Combination({key: setting(sections, key) for key, _ in chosen}, recipe)
        if combination in found:
            raise InputError(f"--sweep gives the combination {describe(combination.settings)} twice")
        found.append(combination)
    return found


def describe(settings: dict[str, Any]) -> str:
    """Swept settings in words: ``train.C=0.1, train.ngrams=[1, 2]``."""
    typed = (value if isinstance(value, str) else json.dumps(value).removesuffix(".0") for value in settings.values())
    return ", ".join(f"{key}={value}" for key, value in zip(settings, typed, strict=True))


def _assignments(sweep: str) -> list[tuple[str, str]]:
    """Each value as it was typed, with its key."""
    key, _, values = sweep.partition("=")
    key = key.strip()
    section = key.partition(".")[0]
    if section in Recipe.model_fields and section not in _SECTIONS:
        raise InputError(
            f"--sweep {key}: only keys of {' and '.join(_SECTIONS)} can be swept, because they shape the model and "
            f"validation F1 chooses between models; give {key} one value with --set"
        )
    if key in _SPLIT:
        raise InputError(
            f"--sweep {key}: it would measure each combination on other texts, so that the luckiest split would be "
            "chosen; give it one value with --set"
        )
    listed = f"[{values}]"
    try:
        sequence: Any = yaml.compose(listed)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"--sweep {key}: {values!r} is not a list of YAML values parted by commas") from error
    typed = [listed[node.start_mark.index : node.end_mark.index] for node in sequence.value]
    if not key or not typed:
        raise InputError(f"--sweep takes key=value,value, such as train.learning_rate=2e-5,3e-5, not {sweep!r}")
    return [(key, value) for value in typed]
