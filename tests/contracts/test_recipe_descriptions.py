"""Every key of a recipe has a description, from which the reference of recipe keys is generated."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from textgate.components.contracts import Recipe, TextNormalizer
from textgate.components.contracts.recipe import Toleration
from textgate.components.contracts.recipe.embedding_training import MlpHead


def section_classes(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the section classes in an annotation, at any depth: ``dict[str, Source]``, ``A | B | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from section_classes(argument)


def keys(section: type[BaseModel] = Recipe, path: str = "") -> Iterator[tuple[str, type[BaseModel], FieldInfo]]:
    """Yield path, section class and field of every key, in every variant of a section."""
    for name, field in section.model_fields.items():
        yield f"{path}{name}", section, field
        for inner in section_classes(field.annotation):
            if inner is not section:
                yield from keys(inner, f"{path}{name}.")


KEYS = {f"{path} ({section.__name__})": field for path, section, field in keys()}


def test_the_walk_reaches_every_section() -> None:
    sections = {section for _, section, _ in keys()}
    assert {Recipe, TextNormalizer, MlpHead, Toleration} <= sections
    assert len(KEYS) > 150


@pytest.mark.parametrize("key", KEYS)
def test_a_key_has_a_description_of_whole_sentences(key: str) -> None:
    description = KEYS[key].description
    assert description, f"{key} has no docstring below its field"
    assert description.endswith("."), f"the description of {key} ends without a full stop"
    assert description[0].isupper() or description.startswith("``")


@pytest.mark.parametrize("section", sorted({section for _, section, _ in keys()}, key=lambda cls: cls.__name__))
def test_a_section_has_a_description(section: type[BaseModel]) -> None:
    assert (section.__doc__ or "").strip()
