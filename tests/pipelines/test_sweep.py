"""The combinations of ``--sweep``, and its errors."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import InputError, Recipe
from textgate.pipelines import recipes as shipped
from textgate.pipelines.sweep import MOST, Combination, combinations, describe

RECIPE = """
name: films
description: made-up film reviews
model: films
source: {uri: films.csv}
train: {family: linear}
gate: {min_f1: 0.8}
"""


def sweep(*sweeps: str) -> list[Combination]:
    return combinations(sweeps, lambda chosen: Recipe.parse(RECIPE, "films.yaml", chosen))


def test_every_combination_is_a_recipe_and_the_first_key_changes_slowest() -> None:
    found = sweep("train.C=1e-2,10", "train.ngrams=[1, 1],[1, 2]", "preprocess.normalizer.lowercase=true")
    assert [combination.settings for combination in found] == [
        {"train.C": C, "train.ngrams": ngrams, "preprocess.normalizer.lowercase": True}
        for C in (0.01, 10)
        for ngrams in ([1, 1], [1, 2])
    ]
    assert [(one.recipe.train.C, one.recipe.train.ngrams) for one in found] == [  # type: ignore[union-attr]
        *((0.01, (1, 1)), (0.01, (1, 2))),
        *((10, (1, 1)), (10, (1, 2))),
    ]
    assert all(combination.recipe.preprocess.normalizer.lowercase for combination in found)
    assert describe(found[2].settings) == "train.C=10, train.ngrams=[1, 1], preprocess.normalizer.lowercase=true"


def test_train_share_can_be_swept_for_a_learning_curve() -> None:
    found = sweep("preprocess.train_share=0.1,0.3,1")
    assert [one.recipe.preprocess.train_share for one in found] == [0.1, 0.3, 1]
    assert [describe(one.settings) for one in found] == [
        f"preprocess.train_share={share}" for share in ("0.1", "0.3", "1")
    ]
    with pytest.raises(InputError, match=r"preprocess\.train_share: input should be less than or equal to 1"):
        sweep("preprocess.train_share=1,2")


@given(
    st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6, unique=True),
    st.lists(st.integers(1, 10**6), min_size=2, max_size=6, unique=True),
)
@settings(deadline=None, max_examples=30)
def test_the_product_is_complete_and_ordered(strengths: list[float], counts: list[int]) -> None:
    found = sweep(f"train.C={','.join(map(str, strengths))}", f"train.min_df={', '.join(map(str, counts))}")
    assert [tuple(one.settings.values()) for one in found] == list(itertools.product(strengths, counts))


def test_a_comma_inside_quotes_brackets_or_braces_is_part_of_a_value() -> None:
    whole = "{family: linear, C: 1}, {family: linear, ngrams: [1, 3], C: 2}"
    first, second = sweep(f"train={whole}")
    assert (first.settings["train"]["C"], second.settings["train"]["ngrams"]) == (1, [1, 3])
    prompted = RECIPE.replace(
        "{family: linear}", "{family: prompted, base_model: x, prompt: '{text}', label_words: {a: b}}"
    )
    prompts = ["one, two: {text}", "{text} it's"]
    quoted = ",".join(map(json.dumps, prompts))
    found = combinations([f"train.prompt={quoted}"], lambda chosen: Recipe.parse(prompted, "x", chosen))
    assert [one.settings["train.prompt"] for one in found] == prompts
    assert describe(found[0].settings) == "train.prompt=one, two: {text}"


@pytest.mark.parametrize(
    ("sweeps", "sentence"),
    [
        (["train.C=0.1"], f"--sweep takes 2 to {MOST} combinations, such as train.C=0.1,1,10, but these are 1"),
        (["train.C=0.1,"], "but these are 1"),
        ([f"train.min_df={','.join(map(str, range(1, MOST + 2)))}"], f"but these are {MOST + 1}"),
        (["train.C=1,2"] * 40, "but these are 1099511627776"),
        (["train.C"], "--sweep takes key=value,value, such as train.learning_rate=2e-5,3e-5, not 'train.C'"),
        (["train.C="], "--sweep takes key=value,value"),
        (["=1,2"], "--sweep takes key=value,value"),
        (["train.C=1,[2"], "--sweep train.C: '1,[2' is not a comma-separated list of YAML values"),
        (["train.C=1,,2"], "is not a comma-separated list of YAML values"),
        (["train.C=" + "[" * 2_000], "is not a comma-separated list of YAML values"),
        (["gate.min_f1=0.5,0.6"], "only keys of preprocess and train can be swept, because they shape the model"),
        (["source.where=a,b"], "give source.where one value with --set"),
        (["model=a,b"], "--sweep model: only keys of preprocess and train can be swept"),
        (["trian.C=1,2"], "--sweep trian.C=1: films.yaml: unknown key trian; did you mean train?"),
        (
            ["train.min_dff=1,2"],
            "--sweep train.min_dff=1: films.yaml: unknown key train.min_dff; did you mean train.min_df?",
        ),
        (["train.C=1,-1"], "--sweep train.C=-1: films.yaml: train.C: input should be greater than 0, but it is -1"),
        (["train.C=1,2", "train.min_df=1,0"], "--sweep train.C=1, train.min_df=0: films.yaml: train.min_df: "),
        (["train.C=1,1.0"], "--sweep gives the combination train.C=1 twice"),
        (["train.C=1,2", "train.C=3,4"], "twice"),
        (["train..C=1,2"], "--sweep train..C=1: "),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_cannot_be_swept_is_said_in_one_sentence(sweeps: list[str], sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        sweep(*sweeps)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "key", ["preprocess.seed", "preprocess.validation", "preprocess.test", "preprocess.test_latest_by"]
)
def test_the_split_is_not_swept(key: str) -> None:
    with pytest.raises(InputError, match=f"--sweep {key}: each combination would be scored on other texts"):
        combinations([f"{key}=0.1,0.2"], lambda given: shipped.load("quickstart-tfidf", given))
