"""Inputs of a compiled pipeline: the keys of a recipe that people change from one run to the next.

``run_inputs`` lists them with the recipe's values as defaults, ``with_inputs`` returns the recipe with other values.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from textgate.components.contracts.recipe.keys import describe_error
from textgate.components.contracts.recipe.recipe import Recipe
from textgate.components.contracts.recipe.section import RecipeSection
from textgate.components.step import InputError

TRAIN_INPUTS: dict[str, type] = {"learning_rate": float, "epochs": float, "batch_size": int, "C": float}
"""Keys of ``train``, or of ``train.head``, that are inputs of a family that has them."""
GATE_INPUTS: dict[str, type] = {
    **dict.fromkeys(("min_f1", "margin", "max_latency_ms", "max_size_mb", "max_robustness_loss"), float),
    **dict.fromkeys(("min_slice_accuracy", "max_rejected", "max_near_duplicates", "max_label_issues"), float),
    **dict.fromkeys(("min", "min_recall", "min_precision"), dict),
    **dict.fromkeys(("min_test_rows", "min_label_rows"), int),
}
"""Limits of ``gate``, inputs where the recipe has a value."""


@dataclass(frozen=True)
class RunInput:
    """Input of a compiled pipeline."""

    name: str
    """Name of the input: that of the recipe's key, or ``source`` for ``source.uri``."""
    key: str
    """Path of the recipe's key, such as ``gate.min_f1``."""
    kind: type
    """str, int, float or dict."""
    value: Any
    """Value in the recipe, which is the default."""
    description: str
    """The key and its meaning, on one line."""


def run_inputs(recipe: Recipe, *, trained_once: bool = True) -> list[RunInput]:
    """Return the inputs of the pipeline of a recipe.

    Args:
        recipe: The recipe.
        trained_once: False for a sweep, whose combinations decide the section ``train``: its keys are no inputs then.
    """
    return [
        _input("source", "source.uri", str, recipe.source),
        _input("model", "model", str, recipe),
        *(_train_inputs(recipe) if trained_once else ()),
        *_gate_inputs(recipe),
    ]


def with_inputs(recipe: Recipe, values: Mapping[str, Any]) -> tuple[Recipe, list[str]]:
    """Return the recipe with the values of inputs, and a phrase for each value that is not the recipe's.

    Args:
        recipe: The recipe.
        values: Values by the name of the input.

    Raises:
        InputError: A value is wrong; the message names the key and says what would be right.
    """
    data, changes = recipe.model_dump(mode="json"), []
    for one in run_inputs(recipe):
        if one.name in values and values[one.name] != one.value:
            *sections, key = one.key.split(".")
            section = data
            for name in sections:
                section = section[name]
            section[key] = values[one.name]
            changes.append(f"{one.key} {_shown(values[one.name])} instead of {_shown(one.value)}")
    if not changes:
        return recipe, []
    try:
        return Recipe.model_validate(data), changes
    except ValidationError as error:
        raise InputError(f"an input of this run is wrong: {describe_error(error, data)}") from error


def _shown(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _train_inputs(recipe: Recipe) -> Iterator[RunInput]:
    for path, section in (("train", recipe.train), ("train.head", getattr(recipe.train, "head", None))):
        for name, kind in TRAIN_INPUTS.items():
            if section and name in type(section).model_fields:
                yield _input(name, f"{path}.{name}", kind, section)


def _gate_inputs(recipe: Recipe) -> Iterator[RunInput]:
    for name, kind in GATE_INPUTS.items():
        if getattr(recipe.gate, name) not in (None, {}):
            yield _input(name, f"gate.{name}", kind, recipe.gate)


def _input(name: str, key: str, kind: type, section: RecipeSection) -> RunInput:
    field = key.rpartition(".")[2]
    meaning = " ".join((type(section).model_fields[field].description or "").replace("``", "").split())
    return RunInput(name, key, kind, kind(getattr(section, field)), f"{key}: {meaning}")
