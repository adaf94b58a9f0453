"""The step configure: inputs of a pipeline that change its recipe."""

import inspect
import types
from typing import Any, get_args, get_origin

import pytest

from textgate.components.configure.component import configure
from textgate.components.configure.configure import configure_run
from textgate.components.contracts import Gate, InputError, Recipe
from textgate.components.contracts.recipe.run_inputs import GATE_INPUTS, TRAIN_INPUTS, run_inputs, with_inputs
from textgate.components.sources import source_version
from textgate.components.storage import Store
from textgate.pipelines import recipes

FILMS = """
name: films
description: made-up film reviews
model: films
source: {uri: s3://textgate/films.csv, labels: {"0": bad, "1": good}}
train: {family: linear, min_df: 1}
gate: {min_f1: 0.8, min: {accuracy: 0.7}, min_recall: {good: 0.5}}
"""


RECIPE = Recipe.parse(FILMS, "films.yaml")


def defaults(recipe: Recipe) -> dict[str, Any]:
    return {one.name: one.value for one in run_inputs(recipe)}


@pytest.mark.parametrize("name", recipes.names())
def test_without_changed_inputs_each_step_gets_the_same_strings_as_without_inputs(name: str) -> None:
    recipe = recipes.load(name)
    parsed = Recipe.model_validate_json(recipe.model_dump_json())
    configured, changes = with_inputs(parsed, defaults(recipe))
    assert changes == []
    assert configured.source.model_dump_json() == recipe.source.model_dump_json()
    assert configured.train.model_dump_json() == recipe.train.model_dump_json()
    assert configured.model_dump_json() == recipe.model_dump_json()


def test_every_limit_of_the_gate_is_an_input_and_configure_takes_each_input() -> None:
    kinds = {float: float, int: float, dict: dict}
    limits = {
        name: kinds[kind]
        for name, field in Gate.model_fields.items()
        for kind in kinds.keys() & _types(field.annotation)
    }
    assert limits == GATE_INPUTS
    parameters = inspect.signature(configure.python_func).parameters
    taken = {name: one.annotation for name, one in parameters.items() if one.default is None}
    assert {name: get_origin(kind) or kind for name, kind in taken.items()} == {**TRAIN_INPUTS, **GATE_INPUTS}


def _types(annotation: Any) -> set[Any]:
    """Return the plain types of an annotation, with dict for a mapping."""
    if get_origin(annotation) is dict:
        return {dict}
    if isinstance(annotation, types.UnionType) or get_args(annotation):
        return set().union(*(_types(argument) for argument in get_args(annotation)))
    return {annotation}


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("quickstart-tfidf", {"C": 10.0}),
        ("quickstart", {"learning_rate": 5e-5, "epochs": 3.0, "batch_size": 32.0}),
        ("reviews-stella-svm", {"C": 1.0}),
        ("reviews-stella-mlp", {"learning_rate": 1e-3, "epochs": 20.0, "batch_size": 32.0}),
        ("toxic-word2vec", {"epochs": 5.0, "C": 1.0}),
    ],
)
def test_hyper_parameters_are_inputs_of_the_families_that_have_them(name: str, inputs: dict[str, Any]) -> None:
    recipe = recipes.load(name)
    found = {one.name: one for one in run_inputs(recipe)}
    assert {key for key in found if key in TRAIN_INPUTS} == set(inputs)
    changed, changes = with_inputs(recipe, dict.fromkeys(inputs, 7.0))
    section = getattr(changed.train, "head", changed.train)
    assert {key: getattr(section, key) for key in inputs} == dict.fromkeys(inputs, 7)
    assert len(changes) == len(inputs)


def test_a_limit_that_the_recipe_does_not_set_is_no_input() -> None:
    limits = {one.name: one.value for one in run_inputs(RECIPE) if one.key.startswith("gate.")}
    assert limits == {
        "min_f1": 0.8,
        "margin": 0.01,
        "min_test_rows": 20,
        "min": {"accuracy": 0.7},
        "min_recall": {"good": 0.5},
    }


def test_changed_inputs_change_the_recipe_and_are_named_with_both_values() -> None:
    inputs = defaults(RECIPE) | {"min_f1": 0.5, "C": 1e-5, "model": "films-2", "min_recall": {"bad": 0.9}}
    changed, configuration = configure_run(RECIPE, inputs, "0" * 64, "textgate")
    assert (changed.gate.min_f1, changed.train.C, changed.model) == (0.5, 1e-5, "films-2")  # type: ignore[union-attr]
    assert configuration.recipe == changed.model_dump(mode="json")
    assert configuration.changes == [
        "model films-2 instead of films",
        "train.C 1e-05 instead of 10",
        "gate.min_f1 0.5 instead of 0.8",
        "gate.min_recall {'bad': 0.9} instead of {'good': 0.5}",
    ]


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"min_f1": 2}, "an input of this run is wrong: gate.min_f1: input should be less than or equal to 1, but it"),
        ({"C": "abc"}, "an input of this run is wrong: train.C: input should be a valid number, unable to parse"),
        (
            {"min_test_rows": 20.5},
            "gate.min_test_rows: input should be a valid integer, got a number with a fractional",
        ),
        ({"C": 0}, "an input of this run is wrong: train.C: input should be greater than 0, but it is 0"),
        ({"min_recall": {"great": 0.5}}, "gate.min_recall names 'great', but the labels are bad, good"),
        ({"min": {"f2": 0.5}}, "an input of this run is wrong: gate.min.f2: input should be 'f1', 'macro_f1'"),
        ({"model": "Films 2"}, "model: must be 1 to 63 lower-case letters, digits and inner hyphens, but it is 'Films"),
        ({"source": "/home/ann/films.csv"}, "the input source is the path '/home/ann/films.csv', which the steps of a"),
        ({"source": "films.csv"}, "the input source is the path 'films.csv', which the steps of a cluster cannot"),
        ({"source": "file:///films.csv"}, "the input source is the path 'file:///films.csv', which the steps of a"),
        ({"source": ""}, "an input of this run is wrong: source.uri: string should have at least 1 character, but it"),
        ({"source": "https://x.example/f.csv?key=secret"}, "the input source https://x.example/f.csv?**** has a query"),
    ],
)
def test_a_wrong_input_is_refused_in_one_sentence(inputs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        configure_run(RECIPE, defaults(RECIPE) | inputs, "", "textgate")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_the_version_of_the_source_is_kept_unless_it_is_none_or_that_of_another_source(store: Store) -> None:
    for name in ("films.csv", "more.csv"):
        store.put(name, f"text,label\na fine film in {name},1\n".encode())
    recipe = Recipe.parse(FILMS.replace("s3://textgate/", f"s3://{store.bucket}/"), "films.yaml")

    def version(given: str, **inputs: Any) -> str:
        return configure_run(recipe, defaults(recipe) | inputs, given, store.bucket).configuration.source_version

    present, other = source_version(recipe.source), f"s3://{store.bucket}/more.csv"
    assert version("0" * 64) == "0" * 64
    # The id of a scheduled run, and the default.
    assert version("54d0a7a2-6a2f-4a3c-b6a5-5ff0b1c7b1f0") == version("present") == version("") == present
    moved = recipe.source.model_copy(update={"uri": other})
    assert version(present, source=other) == source_version(moved) != present
    with pytest.raises(InputError, match="there is nothing at s3://"):
        version(present, source=f"s3://{store.bucket}/none.csv")
