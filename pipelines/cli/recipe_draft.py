"""Commented recipe for a profiled data source, written by ``textgate init`` and ``textgate inspect --recipe``."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import yaml

from textgate.components.contracts import InputError, Recipe, write_file
from textgate.components.contracts.recipe.reference import recipe_keys
from textgate.components.preprocess.positive import is_negative
from textgate.pipelines import recipes as shipped
from textgate.pipelines.terminal import printable

if TYPE_CHECKING:
    from textgate.pipelines.inspection.data_profile import DataProfile

MAX_LABELS_LISTED = 50
_WIDTH = 116
_FAMILY = "linear"
_TRAINING = {"ngrams": [1, 2], "min_df": 2, "sublinear": True, "C": 10}
_MIN_F1 = 0.7


def write_recipe(data: "DataProfile", output: Path, force: bool) -> str:
    """Write the recipe of ``draft_recipe`` to a file, and return its name.

    Args:
        data: Profile of a source with at least two labels.
        output: File to write.
        force: Overwrite the file if it exists.

    Raises:
        InputError: The file exists, or cannot be written.
    """
    require_new_file(output, force)
    recipe = draft_recipe(data)
    name = Recipe.parse(recipe, str(output)).name
    try:
        write_file(output, recipe)
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror or error}") from error
    return name


def require_new_file(output: Path, force: bool) -> None:
    """Check that a recipe file does not exist, unless ``force`` is set.

    Raises:
        InputError: It exists.
    """
    if output.exists() and not force:
        raise _exists(output)


def require_source(source: str) -> None:
    """Check that a source that is not a URI exists.

    Raises:
        InputError: There is no such file or folder.
    """
    if "://" not in source and not Path(source).exists():
        raise InputError(f"there is no file or folder {source}")


def draft_recipe(data: "DataProfile") -> str:
    """Return the YAML of a recipe that trains TF-IDF with logistic regression on the source.

    Comments explain the keys with the descriptions of ``textgate recipes keys``.
    """
    return "\n".join([*_head(data), "", *_source(data), "", *_preprocess(data), "", *_train(), "", *_gate(), ""])


def recipe_name(uri: str) -> str:
    """Return a valid recipe name made of the last part of a URI."""
    stem = PurePath(uri.partition("#")[0].partition("?")[0].rstrip("/")).name.partition("@")[0].partition(".")[0]
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:63].rstrip("-") or "my-model"


def _head(data: "DataProfile") -> Iterator[str]:
    name = recipe_name(data.source.uri)
    yield f"# Recipe for {_one_line(data.source.uri)}, written by textgate init. All keys: textgate recipes keys"
    yield from _key("name", name)
    yield from _key("description", f"TF-IDF and logistic regression on {_one_line(data.source.uri)}.")
    yield from _key("model", name)


def _source(data: "DataProfile") -> Iterator[str]:
    source = data.source
    yield "source:"
    yield from _key("source.uri", source.uri)
    if source.columns:
        yield from _key("source.columns", source.columns)
    yield f"  # Columns of the data: {_one_line(', '.join(data.columns))}"
    yield from _key("source.text", source.text)
    yield from _key("source.label", source.label)
    yield from _labels(data)
    if source.test:
        yield from _key("source.test", source.test)


def _labels(data: "DataProfile") -> Iterator[str]:
    read = f"{data.rows:,} rows" if data.complete else f"the first {data.rows:,} rows"
    total = sum(data.labels.values())
    counts = {label: f"{count:,} rows ({count / total:.1%})" for label, count in data.labels.items()}
    unusable = f", {data.unusable:,} of them without text or label" if data.unusable else ""
    if data.complete and len(counts) <= MAX_LABELS_LISTED:
        yield from _comment(f"{_description('source.labels')} Counted in {read}{unusable}.", 2)
        yield "  labels:"
        for label, count in counts.items():
            yield f"    {_quoted(label)}: {_quoted(label)}  # {count}"
        return
    yield from _comment(f"{len(counts):,} labels in {read}{unusable}; all labels of the source are used.", 2)
    for label, count in list(counts.items())[:MAX_LABELS_LISTED]:
        yield f"  #   {_quoted(label)}: {count}"


def _preprocess(data: "DataProfile") -> Iterator[str]:
    yield "preprocess:"
    yield "  normalizer:"
    yield from _key("preprocess.normalizer.remove_html", False)
    yield from _key("preprocess.normalizer.remove_urls", False)
    if data.complete and len(data.labels) == 2:
        first, last = data.labels
        yield from _key("preprocess.positive", first if is_negative(last, first) else last)
    yield from _key("preprocess.validation", 0.1)
    if not data.source.test:
        yield from _key("preprocess.test", 0.15)


def _train() -> Iterator[str]:
    yield "train:"
    yield from _key("train.family", _FAMILY)
    for name, value in _TRAINING.items():
        yield from _key(f"train.{name}", value)
    base_model = shipped.load("quickstart").model_dump()["train"]["base_model"]
    yield ""
    yield "# To fine-tune a pretrained encoder instead, replace the section above:"
    yield "#"
    yield "# train:"
    yield "#   family: transformer"
    yield f"#   base_model: {base_model}"
    yield "#   max_tokens: 128"
    yield "#   epochs: 3"
    yield "#   learning_rate: 2e-5"


def _gate() -> Iterator[str]:
    yield "gate:"
    yield from _comment(f"{_description('gate.min_f1')} {_MIN_F1} is a placeholder: set what your use requires.", 2)
    yield f"  min_f1: {_MIN_F1}"
    yield from _key("gate.margin", 0.01)


def _key(path: str, value: Any) -> Iterator[str]:
    """Yield a key's description as a comment, and the key with its value."""
    depth = path.count(".") * 2
    yield from _comment(_description(path), depth)
    yield f"{' ' * depth}{path.rpartition('.')[2]}: {_scalar(value)}"


def _comment(text: str, indent: int) -> list[str]:
    start = f"{' ' * indent}# "
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False)


def _description(path: str) -> str:
    """Return the description of a key in recipes of the family that is written."""
    keys = [key for key in recipe_keys(path) if key.path == path and (not key.families or _FAMILY in key.families)]
    return keys[0].description.replace("``", "`")


def _scalar(value: Any) -> str:
    """Return a value as YAML on one line, strings in quotes only where they need them."""
    if isinstance(value, str):
        return (
            value if re.fullmatch(r"[A-Za-z][\w./-]*( [\w./=-]+)*", value) and not _is_word(value) else _quoted(value)
        )
    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**9).removesuffix("...\n").strip()


def _is_word(value: str) -> bool:
    """Whether YAML reads the unquoted text as something other than text."""
    return not isinstance(yaml.safe_load(value), str)


def _quoted(value: str) -> str:
    return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=10**9).strip()


def _one_line(text: str) -> str:
    """Return the text on one line, without characters that YAML forbids in comments."""
    return printable(" ".join(text.split()))


def _exists(output: Path) -> InputError:
    return InputError(f"{output} exists already: overwrite it with --force, or name another file with -o")
