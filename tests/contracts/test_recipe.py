import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from textgate.components.contracts import InputError, LinearTraining, Recipe, TransformerTraining
from textgate.pipelines import recipes

RECIPE = """
name: mine
description: a recipe
model: mine
source: {uri: data.csv}
train: {family: transformer, base_model: models/tiny}
gate: {min_f1: 0.8}
"""


def parse(*overrides: str) -> Recipe:
    return Recipe.parse(RECIPE, "mine.yaml", list(overrides))


def test_a_recipe_is_read_from_json_as_it_was_written() -> None:
    recipe = parse("source.labels={0: bad, 1: good}", "resources.tolerations=[{key: gpu, operator: Exists}]")
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(
    ("condition", "analysis", "sentence"),
    [
        (
            "gate.max_robustness_loss=0.1",
            "evaluate.robustness=[]",
            "mine.yaml: gate.max_robustness_loss needs perturbations, but evaluate.robustness is empty: name some",
        ),
        (
            "gate.beats_baseline=true",
            "evaluate.baseline_texts=0",
            "mine.yaml: gate.beats_baseline needs a baseline: set evaluate.baseline_texts above 0",
        ),
        (
            "gate.max_label_issues=0.1",
            "evaluate.label_check_texts=0",
            "mine.yaml: gate.max_label_issues needs checked labels: set evaluate.label_check_texts above 0",
        ),
    ],
)
def test_a_condition_on_an_analysis_that_is_turned_off_names_the_key_to_set(
    condition: str, analysis: str, sentence: str
) -> None:
    assert parse(condition)
    assert parse(analysis)
    with pytest.raises(InputError) as error:
        parse(condition, analysis)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("name", recipes.names())
def test_every_shipped_recipe_is_valid_and_named_as_its_file(name: str) -> None:
    assert recipes.load(name).name == name


def test_the_family_selects_the_class_of_the_section_train() -> None:
    assert isinstance(parse().train, TransformerTraining)
    assert isinstance(
        Recipe.parse(RECIPE.replace("transformer, base_model: models/tiny", "linear"), "x").train, LinearTraining
    )


def test_an_override_sets_its_key() -> None:
    train = parse("train.learning_rate=3e-5", "train.epochs=2", "source.where=rating >= 3").train
    assert isinstance(train, TransformerTraining)
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
        (
            "train.family=forest",
            "train.family must be one of 'linear', 'word2vec', 'embedding', 'transformer', 'prompted', 'ensemble', but",
        ),
        ("gate.min_f1=2", "gate.min_f1: input should be less than or equal to 1, but it is 2"),
        ("gate.min_f1=.nan", "gate.min_f1: input should be a finite number"),
        ("gate={}", "gate: a threshold is missing: give min_f1, or a metric in min"),
        ("gate.min={f1: 0.7}", "gate: min_f1 and min.f1 are the same threshold: give one of them"),
        ("gate.min={f2: 0.7}", "gate.min.f2: input should be 'f1', 'macro_f1'"),
        ("gate.max_latency_ms=0", "gate.max_latency_ms: input should be greater than 0, but it is 0"),
        ("gate.min_label_rows=0.5", "gate.min_label_rows: input should be a valid integer"),
        ("gate.min={accuracy: 7}", "gate.min.accuracy: input should be less than or equal to 1, but it is 7"),
        ("source=data.csv", "source: input should be a valid dictionary"),
        ("name=My Model", "name: must be 1 to 63 lower-case letters, digits and inner hyphens"),
        ("preprocess.test=0.95", "must leave texts to train on"),
        ("source.labels={0: a, 1: a}", "a classifier needs at least two different labels"),
        ("train.base_model=hf://org/name", "must be pinned to a commit"),
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


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("gate.min_recall={Good: 0.5}", "gate.min_recall"),
        ("gate.min_precision={bad: 0.5, Good: 0.5}", "gate.min_precision"),
        ("preprocess.positive=Good", "preprocess.positive"),
    ],
)
def test_a_label_that_the_source_does_not_have_is_named_before_the_run(override: str, key: str) -> None:
    labels = "source.labels={0: bad, 1: good}"
    with pytest.raises(InputError, match=f"{key} names 'Good', but the labels are bad, good"):
        parse(labels, override)
    assert parse(labels, override.replace("Good", "good"))
    assert parse(override), "the labels are not known before the source is read"


def test_a_missing_key_is_named() -> None:
    with pytest.raises(InputError, match=r"mine.yaml: the key source.uri is missing"):
        Recipe.parse(RECIPE.replace("uri: data.csv", ""), "mine.yaml")
    with pytest.raises(InputError, match=r"the key train.family is missing"):
        Recipe.parse(RECIPE.replace("family: transformer,", ""), "mine.yaml")


@pytest.mark.parametrize("text", ["", "- a\n- b", "just words", "a: [", "\x00", "!!python/object:os.system {}"])
def test_other_content_than_a_recipe_is_an_input_error(text: str) -> None:
    with pytest.raises(InputError):
        Recipe.parse(text, "mine.yaml")


def test_an_unknown_recipe_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean quickstart\?"):
        recipes.load("quickstrat")
    with pytest.raises(InputError, match="cannot be read"):
        recipes.load(str(tmp_path / "absent.yaml"))


def sections(annotation: Any) -> list[type[BaseModel]]:
    """Return the section classes in an annotation."""
    choices = [annotation, *get_args(annotation)]
    return [choice for choice in choices if isinstance(choice, type) and issubclass(choice, BaseModel)]


def keys(model: type[BaseModel], path: str = "", tagged: dict[str, str] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield the full path of every key of a section, and the discriminators of the sections on its path."""
    for name, field in model.model_fields.items():
        tags = tagged or {}
        yield path + name, tags
        for section in sections(field.annotation):
            if section is model:
                continue
            tag = next((tag for tag in ("family", "kind") if tag in section.model_fields), None)
            part = {list: ".0", dict: ".name"}.get(get_origin(field.annotation), "")
            inner = f"{path}{name}{part}."
            if tag:
                tags = {**tags, inner + tag: get_args(section.model_fields[tag].annotation)[0]}
            yield from keys(section, inner, tags)


ALL_KEYS = sorted(keys(Recipe), key=str)


@pytest.mark.parametrize(("key", "tags"), ALL_KEYS, ids=[f"{key} {'-'.join(tags.values())}" for key, tags in ALL_KEYS])
def test_a_misspelt_key_names_the_nearest_at_every_depth(key: str, tags: dict[str, str]) -> None:
    data = yaml.safe_load(RECIPE)
    if tags:
        data["train"] = {}
    for path, value in {**tags, f"{key}_": "1"}.items():
        section = data
        *outer, last = path.split(".")
        for name, following in itertools.pairwise([*outer, last]):
            section = section[0] if name == "0" else section.setdefault(name, [{}] if following == "0" else {})
        section[last] = value
    with pytest.raises(InputError) as error:
        Recipe.parse(yaml.safe_dump(data), "mine.yaml")
    assert str(error.value) == f"mine.yaml: unknown key {key}_; did you mean {key}?"


@pytest.mark.parametrize(
    ("written", "number"), [("3e-5", 3e-5), ("3E-5", 3e-5), (".5e-3", 5e-4), ("1e+1", 10), ("7", 7)]
)
def test_numbers_may_have_an_exponent(written: str, number: float) -> None:
    train = parse(f"train.learning_rate={written}").train
    assert isinstance(train, TransformerTraining)
    assert train.learning_rate == number
    in_file = Recipe.parse(RECIPE.replace("models/tiny", f"models/tiny, learning_rate: {written}"), "x").train
    assert in_file == train


def test_an_integer_may_have_an_exponent() -> None:
    train = parse("train.max_tokens=1E2").train
    assert isinstance(train, TransformerTraining)
    assert train.max_tokens == 100


def test_the_last_override_of_a_key_wins_and_an_override_can_create_a_section() -> None:
    recipe = parse("gate.min_f1=0.1", "gate.min_f1=0.2", "resources.accelerator.count=2")
    assert recipe.gate.min_f1 == 0.2
    assert recipe.resources.accelerator is not None
    assert recipe.resources.accelerator.count == 2


@pytest.mark.parametrize(
    "key", ["name", "description", "model", "source", "train", "gate", "source.uri", "train.base_model"]
)
def test_a_missing_required_key_is_named(key: str) -> None:
    data = yaml.safe_load(RECIPE)
    *outer, last = key.split(".")
    section = data[outer[0]] if outer else data
    del section[last]
    with pytest.raises(InputError, match=rf"mine\.yaml: the key {re.escape(key)} is missing"):
        Recipe.parse(yaml.safe_dump(data), "mine.yaml")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_outside_the_range_of_numpy_is_an_input_error(seed: int) -> None:
    with pytest.raises(InputError, match=r"train\.seed"):
        parse(f"train.seed={seed}")


@pytest.mark.parametrize(
    ("base_model", "valid"),
    [
        ("hf://org/name@" + "0123456789" * 4, True),
        ("hf://org/name@main", False),
        ("hf://org/name@" + "a" * 39, False),
        ("hf://org/name@" + "A" * 40, False),
        ("hf://org/name@" + "a" * 40 + "/more", False),
        ("pypi://name/1.0/folder#sha256=" + "a" * 64, True),
    ],
)
def test_only_a_full_commit_hash_pins_a_base_model(base_model: str, valid: bool) -> None:
    if valid:
        train = parse(f"train.base_model={base_model}").train
        assert isinstance(train, TransformerTraining)
        assert train.base_model == base_model
    else:
        with pytest.raises(InputError, match=r"train\.base_model: a hf:// base model must be pinned to a commit"):
            parse(f"train.base_model={base_model}")


# PyYAML raises another exception than YAMLError for each of these.
ODD_VALUES = [
    "2026-13-45",
    "2026-11-21T25:00:00",
    "0x_",
    "!!int x",
    "!!float x",
    "!!bool x",
    "!!timestamp x",
    "1" * 5000,
]


@pytest.mark.parametrize("value", [*ODD_VALUES, "[" * 5000], ids=lambda value: value[:20])
def test_a_value_that_breaks_the_yaml_parser_is_an_input_error(value: str) -> None:
    with pytest.raises(InputError, match=r"mine\.yaml is not YAML"):
        Recipe.parse(f"{RECIPE}export: {value}", "mine.yaml")
    with pytest.raises(InputError, match=r"--set description: .* is not a YAML value"):
        parse(f"description={value}")


YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150)
@given(key=st.sampled_from(sorted({key for key, _ in keys(Recipe)})), value=YAML)
def test_any_value_of_any_key_is_accepted_or_a_one_line_input_error(key: str, value: object) -> None:
    data = yaml.safe_load(RECIPE)
    section = data
    *outer, last = key.replace(".0", "").split(".")
    for name in outer:
        section = section.setdefault(name, {})
    section[last] = value
    try:
        recipe = Recipe.parse(yaml.safe_dump(data), "mine.yaml")
    except InputError as error:
        message = str(error)
    else:
        message = ""
        assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert "\n" not in message


@settings(deadline=None, max_examples=100)
@given(text=st.text(max_size=40) | st.text("{}[]:-&*!|>'\"%@#,? \n0ax_.", max_size=40))
def test_arbitrary_text_as_a_recipe_or_an_override_is_an_input_error(text: str) -> None:
    with pytest.raises(InputError):
        Recipe.parse(text, "mine.yaml")
    with pytest.raises(InputError):
        parse(f"nobody.knows.this={text}")


def test_the_keys_of_out_of_domain_data_sets_are_checked() -> None:
    recipe = parse("evaluate.out_of_domain.other.uri=other.csv", "evaluate.out_of_domain.other.label=stars")
    assert recipe.evaluate.out_of_domain["other"].label == "stars"
    changed = recipe.with_sources(lambda source: source.model_copy(update={"uri": f"/data/{source.uri}"}))
    assert changed.evaluate.out_of_domain["other"].uri == "/data/other.csv"
    assert changed.source.uri == f"/data/{recipe.source.uri}"
    with pytest.raises(InputError, match=r"unknown key evaluate\.out_of_domain\.other\.url; did you mean .*\.uri\?"):
        parse("evaluate.out_of_domain.other.url=other.csv")


def test_fsdp_needs_full_fine_tuning() -> None:
    assert parse("train.fsdp=true").train.model_dump()["fsdp"]
    for other in ("train.adapter.r=8", "train.micro_batch_size=auto"):
        with pytest.raises(InputError, match="fsdp needs full fine-tuning"):
            parse("train.fsdp=true", other)
    with pytest.raises(InputError, match=r"bitsandbytes \(adamw_8bit\) does not support: set optimizer: adamw"):
        parse("train.fsdp=true", "train.optimizer=adamw_8bit")


def test_the_optimizer_and_the_8_bit_base_are_chosen_in_the_recipe() -> None:
    train = parse("train.optimizer=paged_adamw_8bit", "train.adapter.quantization=int8").train.model_dump()
    assert (train["optimizer"], train["adapter"]["quantization"]) == ("paged_adamw_8bit", "int8")
    with pytest.raises(InputError, match=r"train\.optimizer.*paged_adamw_32bit"):
        parse("train.optimizer=lion")
    with pytest.raises(InputError, match="needs quantization: none"):
        parse("train.adapter.variant=pissa", "train.adapter.quantization=int8")
    with pytest.raises(InputError, match="dora does not work on an 8-bit base: it needs quantization: nf4 or none"):
        parse("train.adapter.variant=dora", "train.adapter.quantization=int8")


@pytest.mark.parametrize(
    ("former", "present", "value"),
    [
        ("train.checkpoint", "train.base_model", "models/other"),
        ("evaluate.telling_texts", "evaluate.top_word_texts", 7),
    ],
)
def test_a_renamed_key_keeps_its_former_name(former: str, present: str, value: str | int) -> None:
    data = yaml.safe_load(RECIPE)
    section, _, key = former.partition(".")
    data.setdefault(section, {})[key] = value
    data[section].pop("base_model", None)
    recipe = Recipe.parse(yaml.safe_dump(data), "mine.yaml")
    assert recipe == parse(f"{present}={value}") == parse(f"{former}={value}")
    dumped = recipe.model_dump(mode="json")
    assert dumped[section][present.partition(".")[2]] == value
    dumped[section][key] = dumped[section].pop(present.partition(".")[2])
    assert Recipe.model_validate(dumped) == recipe
