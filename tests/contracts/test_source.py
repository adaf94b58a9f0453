"""The recipe's section source: valid values, and error messages for the others."""

import pytest

from textgate.components.contracts import InputError, Recipe, Source
from textgate.components.contracts.recipe.source import Join, Layout

RECIPE = """
name: films
description: Films.
model: films
source:
  uri: films
train:
  family: linear
gate:
  min_f1: 0.5
"""


def parse(*overrides: str) -> Recipe:
    return Recipe.parse(RECIPE, "films.yaml", list(overrides))


def test_a_recipe_names_columns_layouts_and_joins() -> None:
    source = parse(
        "source.text=[title, description]",
        "source.test=split == test",
        "source.validation=split == dev",
        "source.csv={columns: [class, title], label: class, labels: {1: World, 2: Sports}}",
    ).source
    assert source.text_columns == ["title", "description"]
    assert (source.test, source.validation) == ("split == test", "split == dev")
    assert source.csv == Layout(columns=["class", "title"], label="class", labels={"1": "World", "2": "Sports"})
    assert Source.model_validate_json(source.model_dump_json()) == source
    assert parse("source.text=title").source.text_columns == ["title"]


def test_words_that_yaml_reads_as_booleans_are_text() -> None:
    recipe = parse("source.join={left: a.jsonl, right: b.jsonl, on: id}", "source.labels={no: off, yes: on}")
    assert recipe.source.join == Join(left="a.jsonl", right="b.jsonl", on="id")
    assert recipe.source.labels == {"no": "off", "yes": "on"}
    settings = parse(
        "preprocess.language=no", "preprocess.balance=yes", "preprocess.normalizer.lowercase=True"
    ).preprocess
    assert (settings.language, settings.balance, settings.normalizer.lowercase) == ("no", True, True)
    assert parse("preprocess.balance=false").preprocess.balance is False


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("source.text=[]", "source.text: must name a column, or several different ones in a list, but it is \\[\\]"),
        ("source.text=[a, a]", "source.text: must name a column, or several different ones in a list, but it is"),
        ("source.text=[1]", "source.text: must name a column, or several different ones in a list, but it is"),
        ("source.csv.text=5", "source.csv.text: must name a column, or several different ones in a list, but it is 5"),
        ("source.columns=[a, b, a]", "source.columns: must name a column, or several different ones in a list"),
        ("source.csv={labels: {1: a, 2: a}}", "source.csv.labels: a classifier needs at least two different labels"),
        ("source.csv.colums=[a]", "unknown key source.csv.colums; did you mean source.csv.columns"),
        ("source.join={left: a, right: b}", "the key source.join.on is missing"),
        ("preprocess.language=english", "preprocess.language: a language is its two letters in ISO 639-1, such as en"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_key(override: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse(override)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["source.columns=[a, b]"], "source.join takes files that name their columns: leave out source.columns"),
        (["source.csv.label=b"], "source.join takes files that name their columns: leave out source.columns"),
        (["source.uri=hf://org/name"], "source.join takes two files of a folder, not a data set of the hub"),
    ],
)
def test_a_join_takes_two_files_of_a_folder(overrides: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse("source.join={left: a.jsonl, right: b.jsonl, on: id}", *overrides)
