"""Keys of recipes: former names, unknown keys, and validation errors that name the key as the recipe spells it."""

import difflib
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

RENAMED_KEYS = {"train.checkpoint": "train.base_model", "evaluate.telling_texts": "evaluate.top_word_texts"}
"""Names of keys before version 0.2, which recipes may still use, and their present names."""
# Discriminators: the keys by which a section names its class.
_TAGS = ("family", "kind")


def rename_keys(recipe: dict[str, Any]) -> None:
    """Replace former key names in a recipe that has not been validated yet, in place."""
    for old, new in RENAMED_KEYS.items():
        section, _, key = old.partition(".")
        values = recipe.get(section)
        if isinstance(values, dict) and key in values:
            recipe[section] = {new.partition(".")[2] if name == key else name: value for name, value in values.items()}


def check_keys(model: type[BaseModel], data: dict[str, Any], path: str = "") -> None:
    """Check that a section and its inner sections have known keys only.

    Args:
        model: Class of the section.
        data: The section as read from YAML.
        path: Path of the section in the recipe with a final dot; empty for the recipe itself.

    Raises:
        ValueError: A key is unknown. The message names the nearest known key.
    """
    for key, value in data.items():
        if key not in model.model_fields:
            nearest = difflib.get_close_matches(str(key), list(model.model_fields), n=1, cutoff=0.0)[0]
            raise ValueError(f"unknown key {path}{key}; did you mean {path}{nearest}?")
        annotation = model.model_fields[key].annotation
        items = {key: value}
        if isinstance(value, list):
            items = {f"{key}.{index}": item for index, item in enumerate(value)}
        elif isinstance(value, dict) and get_origin(annotation) is dict:
            items = {f"{key}.{name}": item for name, item in value.items()}
        for name, item in items.items():
            section = _section_class(annotation, item)
            if section is not None:
                check_keys(section, item, f"{path}{name}.")


def _section_class(annotation: Any, value: Any) -> type[BaseModel] | None:
    """Return the section class of ``value``; the discriminator key selects it from a union."""
    if not isinstance(value, dict):
        return None
    choices = [annotation, *get_args(annotation)]
    sections = [choice for choice in choices if isinstance(choice, type) and issubclass(choice, BaseModel)]
    if len(sections) > 1:
        tag = next(tag for tag in _TAGS if tag in sections[0].model_fields)
        sections = [
            section for section in sections if get_args(section.model_fields[tag].annotation) == (value.get(tag),)
        ]
    return sections[0] if sections else None


def describe_error(error: ValidationError, recipe: Any) -> str:
    """Return the first validation error as one sentence that names the key as it is written in the recipe."""
    first = error.errors()[0]
    path: list[str] = []
    section = recipe
    for part in first["loc"]:
        # pydantic puts the tag of a union into the location: train.transformer.learning_rate.
        if isinstance(section, dict) and part not in section and part in [section.get(tag) for tag in _TAGS]:
            continue
        if part == "[key]":  # pydantic's mark of a key, as opposed to its value
            break
        path.append(str(part))
        section = section.get(part) if isinstance(section, dict) else None
    key = ".".join(path)
    match first["type"]:
        case "missing":
            return f"the key {key} is missing"
        case "union_tag_not_found":
            return f"the key {key}.{_tag(first)} is missing"
        case "union_tag_invalid":
            return (
                f"{key}.{_tag(first)} must be one of {first['ctx']['expected_tags']}, but it is {first['ctx']['tag']!r}"
            )
    message = first["msg"].removeprefix("Value error, ")
    if not key:
        return str(message)
    return f"{key}: {message[:1].lower()}{message[1:]}, but it is {first['input']!r}"


def _tag(error: Any) -> str:
    return str(error["ctx"]["discriminator"]).strip("'")
