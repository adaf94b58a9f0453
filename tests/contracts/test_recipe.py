from pathlib import Path

import pytest

from textgate.components.contracts import EncoderTraining, InputError, LinearTraining, Recipe
from textgate.pipelines import recipes

RECIPE = """
name: mine
description: a recipe
model: mine
source: {uri: data.csv}
train: {family: encoder, checkpoint: models/tiny}
gate: {min_f1: 0.8}
"""


def parse(*overrides: str) -> Recipe:
    return Recipe.parse(RECIPE, "mine.yaml", list(overrides))


def test_a_recipe_survives_json() -> None:
    recipe = parse("source.labels={0: bad, 1: good}", "resources.tolerations=[{key: gpu, operator: Exists}]")
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize("name", recipes.names())
def test_every_shipped_recipe_is_valid_and_named_as_its_file(name: str) -> None:
    assert recipes.load(name).name == name


def test_a_family_reads_its_own_section() -> None:
    assert isinstance(parse().train, EncoderTraining)
    assert isinstance(
        Recipe.parse(RECIPE.replace("encoder, checkpoint: models/tiny", "linear"), "x").train, LinearTraining
    )


def test_an_override_reaches_its_key() -> None:
    train = parse("train.learning_rate=3e-5", "train.epochs=2", "source.where=rating >= 3").train
    assert isinstance(train, EncoderTraining)
    assert (train.learning_rate, train.epochs) == (3e-5, 2)
    assert parse("preprocess.normalizer.lowercase=true").preprocess.normalizer.lowercase


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("trian.epochs=1", "unknown key trian; did you mean train?"),
        ("train.learning_rat=1", "unknown key train.learning_rat; did you mean train.learning_rate?"),
        (
            "preprocess.normalizer.lower=1",
            "unknown key preprocess.normalizer.lower; did you mean preprocess.normalizer.lowercase?",
        ),
        ("train.learning_rate=fast", "train.learning_rate: input should be a valid number"),
        ("train.family=forest", "train.family must be one of 'linear', 'encoder', but it is 'forest'"),
        ("gate.min_f1=2", "gate.min_f1: input should be less than or equal to 1, but it is 2"),
        ("gate.min_f1=.nan", "gate.min_f1: input should be a finite number"),
        ("source=data.csv", "source: input should be a valid dictionary"),
        ("name=My Model", "name: must be 1 to 63 lower-case letters, digits and inner hyphens"),
        ("preprocess.test=0.95", "must leave texts to train on"),
        ("source.labels={0: a, 1: a}", "a classifier needs at least two different labels"),
        ("train.checkpoint=hf://org/name", "must be pinned to a commit"),
        ("train", "--set takes key=value, such as train.learning_rate=3e-5, not 'train'"),
        ("train..x=1", "--set takes key=value"),
        ("name.x=1", "--set name.x: name is a value, not a section"),
        ("gate.min_f1=[", "is not a YAML value"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_key(override: str, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        parse(override)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(InputError, match=r"mine.yaml: the key gate.min_f1 is missing"):
        Recipe.parse(RECIPE.replace("min_f1: 0.8", ""), "mine.yaml")
    with pytest.raises(InputError, match=r"the key train.family is missing"):
        Recipe.parse(RECIPE.replace("family: encoder,", ""), "mine.yaml")


@pytest.mark.parametrize("text", ["", "- a\n- b", "just words", "a: [", "\x00", "!!python/object:os.system {}"])
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        Recipe.parse(text, "mine.yaml")


def test_an_unknown_recipe_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean quickstart\?"):
        recipes.load("quickstrat")
    with pytest.raises(InputError, match="cannot be read"):
        recipes.load(str(tmp_path / "absent.yaml"))
