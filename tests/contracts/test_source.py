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


def test_cleaning_that_removes_the_separator_is_an_input_error() -> None:
    pair = ["source.text=[premise, hypothesis]", 'source.separator=" </s> "']
    assert parse(*pair).source.separator == " </s> "
    for option in ("remove_html", "remove_special_characters"):
        with pytest.raises(InputError, match=r"preprocess\.normalizer removes or changes source\.separator '</s>'"):
            parse(*pair, f"preprocess.normalizer.{option}=true")
    assert parse("preprocess.normalizer.remove_special_characters=true").source.separator == " "


def test_further_sources_are_named_and_complete_the_metadata() -> None:
    recipe = parse(
        "source.metadata=[topic]",
        "source.also.reviews={uri: reviews.csv, metadata: [stars, topic], labels: {1: bad, 5: good}}",
        "source.also.feedback.uri=feedback://films",
    )
    source = recipe.source
    assert list(source.sources) == ["main", "reviews", "feedback"]
    assert source.address == "films, reviews.csv, feedback://films"
    assert source.metadata_columns == ["topic", "stars", "source"]
    assert Source.model_validate_json(source.model_dump_json()) == source
    renamed = recipe.with_sources(lambda one: one.model_copy(update={"uri": f"new-{one.uri}"}))
    assert renamed.source.address == "new-films, new-reviews.csv, new-feedback://films"


def test_one_source_has_no_column_of_its_name() -> None:
    assert parse("source.metadata=[source]").source.metadata_columns == ["source"]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["source.also.main.uri=x"], "source.also has a source 'main': its name must be .* and not main"),
        (["source.also={Two words: {uri: x}}"], "source.also has a source 'Two words': its name must be 1 to 63 lower"),
        (["source.also.a={uri: x, max_rejected: 1}"], "source.also.a has max_rejected: set it in source, where it"),
        (["source.also.a={uri: x, also: {b: {uri: y}}}"], "source.also.a has further sources itself: list all of them"),
        (["source.also.a={uri: x, metadata: [source]}"], "source.metadata has the column 'source', in which each row"),
        (["source.also.a={uri: x, txt: y}"], "unknown key source.also.a.txt; did you mean source.also.a.text"),
        (["source.also.a.text=x"], "the key source.also.a.uri is missing"),
        (["source.also.a.uri=hf://org/name", "resources.shards=2"], "resources.shards: only a folder of files can"),
        (
            ["source.also.a.uri=x", "source.metadata=[date]", "preprocess.test_latest_by=date"],
            "names 'date', which is not a column of source.metadata of every source: add it there",
        ),
        (
            [
                "source.also.a={uri: x, metadata: [date], test: fold == 1}",
                "source.metadata=[date]",
                "preprocess.test_latest_by=date",
            ],
            "source.test selects one: leave out one of the two",
        ),
        (
            ["source.labels={1: a, 2: b}", "source.also.x={uri: x, labels: {1: a, 3: c}}", "preprocess.positive=d"],
            "preprocess.positive names 'd', but the labels are a, b, c",
        ),
    ],
)
def test_wrong_further_sources_are_one_sentence(overrides: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse(*overrides)


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
