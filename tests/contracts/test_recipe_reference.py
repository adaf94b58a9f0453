"""The reference of recipe keys has every key, with type, default and meaning, and renders as Markdown."""

import re

import pytest

from textgate.components.contracts import Recipe
from textgate.components.contracts.recipe.reference import RecipeKey, recipe_keys, to_markdown

KEYS = recipe_keys()


def key(path: str, family: str = "", kind: str = "") -> RecipeKey:
    (found,) = [
        key
        for key in KEYS
        if key.path == path and (not family or family in key.families) and (not kind or kind in key.kinds)
    ]
    return found


@pytest.mark.parametrize("key", KEYS, ids=lambda key: "-".join([key.path, *key.families, *key.kinds]))
def test_a_key_has_a_type_a_default_and_a_meaning(key: RecipeKey) -> None:
    assert key.type
    assert key.required or key.default
    assert key.description.endswith(".")
    assert not re.search(r"textgate\.|typing|<class|Annotated", key.type)


def test_the_sections_and_their_keys_are_there_once() -> None:
    assert {key.path for key in KEYS if "." not in key.path} == set(Recipe.model_fields)
    described = [
        (key.path, family, kind) for key in KEYS for family in key.families or [""] for kind in key.kinds or [""]
    ]
    assert len(set(described)) == len(described)
    assert {"train.head.C", "train.members[].bundle", "source.join.on", "resources.export.cpu"} <= {
        key.path for key in KEYS
    }


def test_types_and_defaults_are_in_words() -> None:
    assert (key("train.adapter.r").type, key("train.adapter.r").default) == ("integer (> 0)", "16")
    assert (key("gate.margin").type, key("gate.margin").default) == ("number (≥ 0, ≤ 1)", "0.01")
    assert (key("gate.min").type, key("gate.min").default) == ("mapping of name to number (≥ 0, ≤ 1)", "{}")
    assert (key("source.uri").type, key("source.uri").default) == ("text", None)
    assert key("train.family").type == "one of linear, word2vec, embedding, transformer, prompted, ensemble"
    assert key("train.micro_batch_size").type == "integer or auto or null"
    assert key("train.members").type == "list of sections (at least 2, at most 8)"
    assert key("source.text").type == "text or list of texts"
    assert key("train.ngrams").default == "[1, 2]"
    assert key("train.schedule").default == "linear"
    assert key("train.adapter").default == "null"


def test_a_key_of_several_families_is_listed_once_unless_they_differ() -> None:
    assert key("train.learning_rate").families == ("transformer", "prompted")
    assert key("train.C", family="linear").default == "10.0"
    assert key("train.C", family="word2vec").default == "1.0"
    assert key("train.head.gamma").kinds == ("svm",)
    assert key("gate.margin").families == ()


def test_a_section_that_is_used_twice_is_referred_to() -> None:
    assert key("evaluate.out_of_domain").type == "mapping of name to section with the keys of source"
    assert not [key for key in KEYS if key.path.startswith("evaluate.out_of_domain.")]


def test_markdown_has_a_row_for_every_key() -> None:
    page = to_markdown(KEYS)
    for key in KEYS:
        parent, _, name = key.path.rpartition(".")
        heading = f"## `{parent}`" if parent else "## Top level"
        section = page.split(f"{heading}\n", 1)[1].split("\n## ", 1)[0]
        assert f"| `{name}` | {key.type} | " in section, key.path
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)
