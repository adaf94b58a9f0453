"""Reference of every recipe key: path, type, default and meaning, derived from the classes of the recipe's sections.

``recipe_keys`` returns the keys, ``to_markdown`` renders them as a page.
"""

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from textgate.components.contracts.recipe.recipe import Recipe
from textgate.components.step import InputError

_SCALARS = {int: "integer", float: "number", str: "text", bool: "true or false"}


@dataclass(frozen=True)
class RecipeKey:
    """One key of a recipe."""

    path: str
    """Full path, such as ``train.adapter.r``. ``[]`` is an item of a list, ``<name>`` a name that the user chooses."""
    type: str
    """Type with its limits, in words, such as ``integer > 0``."""
    default: str | None
    """Default as written in YAML; None if the key is required."""
    description: str
    families: tuple[str, ...] = ()
    """Model families that have the key; empty if it does not depend on the family."""
    kinds: tuple[str, ...] = ()
    """Values of the section's ``kind`` for which the key exists; empty if it does not depend on the kind."""

    @property
    def required(self) -> bool:
        """Whether the key must be given where its section is given."""
        return self.default is None

    def as_json(self) -> dict[str, Any]:
        """Return the key as a JSON object."""
        return {**asdict(self), "required": self.required}


def recipe_keys(section: str | None = None) -> list[RecipeKey]:
    """Return the keys of a recipe, in the order of its sections.

    Args:
        section: Path of a section or key, such as ``train.adapter``, to return that part only. All keys by default.

    Raises:
        InputError: If there is no such section or key; the message names the nearest one.
    """
    keys = _merge(_section_keys(Recipe, "", {}))
    if section is None:
        return keys
    selected = [key for key in keys if f"{_plain(key.path)}.".startswith(f"{_plain(section)}.")]
    if not selected:
        known = list(dict.fromkeys(_plain(key.path) for key in keys))
        nearest = difflib.get_close_matches(_plain(section), known, n=1, cutoff=0.0)[0]
        raise InputError(f"no recipe key {section!r}; did you mean {nearest}? (textgate recipes keys lists them)")
    return selected


def to_markdown(keys: Sequence[RecipeKey]) -> str:
    """Render keys as Markdown: a heading and a table for each section."""
    sections: dict[str, list[RecipeKey]] = {}
    for key in keys:
        sections.setdefault(key.path.rpartition(".")[0], []).append(key)
    descriptions = {key.path: key.description for key in keys}
    parts = []
    for path, members in sections.items():
        title = f"## `{path}`" if path else "## Top level"
        intro = descriptions.get(path.removesuffix("[]").removesuffix(".<name>"), "")
        table = [_row(["key", "type", "default", "meaning"]), _row(["---"] * 4)]
        table.extend(_row(_cells(key)) for key in members)
        parts.append("\n\n".join(filter(None, [title, _markdown(intro), "\n".join(table)])))
    return "\n\n".join(parts) + "\n"


def _cells(key: RecipeKey) -> list[str]:
    conditions = [
        *([f"Families: {', '.join(key.families)}."] if key.families else []),
        *([f"Kinds: {', '.join(key.kinds)}."] if key.kinds else []),
    ]
    name = key.path.rpartition(".")[2]
    default = "required" if key.default is None else f"`{key.default}`"
    return [f"`{name}`", key.type, default, " ".join([_markdown(key.description), *conditions])]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _markdown(text: str) -> str:
    return text.replace("``", "`")


def _plain(path: str) -> str:
    """Return a path without the markers of list items and names."""
    return re.sub(r"\[\]|\.<name>", "", path)


def _merge(keys: Iterator[RecipeKey]) -> list[RecipeKey]:
    """Merge keys that are the same in several families or kinds."""
    merged: dict[RecipeKey, RecipeKey] = {}
    for key in keys:
        same = replace(key, families=(), kinds=())
        before = merged.get(same, same)
        merged[same] = replace(
            key,
            families=tuple(dict.fromkeys([*before.families, *key.families])),
            kinds=tuple(dict.fromkeys([*before.kinds, *key.kinds])),
        )
    return list(merged.values())


def _section_keys(section: type[BaseModel], prefix: str, expanded: dict[type[BaseModel], str]) -> Iterator[RecipeKey]:
    """Yield the keys of a section and of the sections in it.

    Args:
        section: Class of the section.
        prefix: Path of the section with a final dot; empty for the recipe itself.
        expanded: The path at which each class is listed, filled here. A class is listed once; other paths refer to it.
    """
    for name, field in section.model_fields.items():
        path = f"{prefix}{name}"
        inner, suffix = _inner_sections(field.annotation)
        listed = expanded.setdefault(inner[0], path) if len(inner) == 1 else path
        described = _type(field.annotation, field.metadata)
        if listed != path:
            described = described.replace("section", f"section with the keys of {listed}")
        yield RecipeKey(path, described, _default(field), _description(field))
        if listed != path:
            continue
        if len(inner) > 1:
            yield from _variants(inner, f"{path}{suffix}.", str(field.discriminator), expanded)
        else:
            for one in inner:
                yield from _section_keys(one, f"{path}{suffix}.", expanded)


def _variants(
    sections: list[type[BaseModel]], prefix: str, tag: str, expanded: dict[type[BaseModel], str]
) -> Iterator[RecipeKey]:
    """Yield the keys of a section that has several classes, of which the key ``tag`` selects one."""
    values = [str(get_args(section.model_fields[tag].annotation)[0]) for section in sections]
    summaries = [
        f"``{value}``: {_one_line(section.__doc__).partition('. ')[0].rstrip('.')}"
        for value, section in zip(values, sections, strict=True)
    ]
    # Each class describes its own value, as in "Model family: logistic regression on …".
    title = _description(sections[0].model_fields[tag]).partition(":")[0]
    yield RecipeKey(f"{prefix}{tag}", f"one of {', '.join(values)}", None, f"{title}. {'; '.join(summaries)}.")
    for value, section in zip(values, sections, strict=True):
        for key in _section_keys(section, prefix, expanded):
            if key.path != f"{prefix}{tag}":
                yield replace(key, families=(value,)) if tag == "family" else replace(key, kinds=(value,))


def _inner_sections(annotation: Any) -> tuple[list[type[BaseModel]], str]:
    """Return the section classes in an annotation, and how the path goes on to their keys: ``[]``, ``.<name>``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation], ""
    suffix = {list: "[]", dict: ".<name>"}.get(get_origin(annotation), "")
    found: list[type[BaseModel]] = []
    for argument in get_args(annotation):
        sections, inner_suffix = _inner_sections(argument)
        found.extend(sections)
        suffix = suffix or inner_suffix
    return found, suffix


def _description(field: FieldInfo) -> str:
    return _one_line(field.description)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _default(field: FieldInfo) -> str | None:
    if field.is_required():
        return None
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Return a type in words, with its limits."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0], [*metadata, *_constraints(arguments[1:])])
    if origin in (Union, UnionType):
        return _union(arguments, metadata)
    if origin is Literal:
        values = ", ".join(map(str, arguments))
        return values if len(arguments) == 1 else f"one of {values}"
    limits = _limits(metadata)
    if origin is list:
        return f"list of {_plural(_type(arguments[0]))}{limits}"
    if origin is tuple:
        return f"list of {len(arguments)} {_plural(_type(arguments[0]))}"
    if origin is dict:
        return f"mapping of name to {_type(arguments[1])}"
    return f"{_SCALARS.get(annotation, 'section')}{limits}"


def _union(choices: Sequence[Any], metadata: Sequence[Any]) -> str:
    words = [_type(choice, metadata) for choice in choices if choice is not NoneType]
    words = list(dict.fromkeys(words))
    if NoneType in choices:
        words.append("null")
    return " or ".join(words)


def _constraints(annotations: Sequence[Any]) -> list[Any]:
    return [
        constraint
        for annotation in annotations
        for constraint in (annotation.metadata if isinstance(annotation, FieldInfo) else [annotation])
    ]


def _plural(words: str) -> str:
    return re.sub(r"^(integer|number|text|section)\b", r"\1s", words)


def _limits(metadata: Sequence[Any]) -> str:
    words = []
    for limit in metadata:
        match limit:
            case Gt(gt=bound):
                words.append(f"> {bound}")
            case Ge(ge=bound):
                words.append(f"≥ {bound}")
            case Lt(lt=bound):
                words.append(f"< {bound}")
            case Le(le=bound):
                words.append(f"≤ {bound}")
            case MinLen(min_length=length) if length > 1:
                words.append(f"at least {length}")
            case MaxLen(max_length=length):
                words.append(f"at most {length}")
    return f" ({', '.join(words)})" if words else ""
