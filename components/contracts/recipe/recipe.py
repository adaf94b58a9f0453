"""Recipe: one readable file a system, validated once, at the door.

Each section belongs to one step and is all that step is told, so a changed threshold never retrains a model.
"""

import difflib
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from textgate.components.contracts.recipe.evaluate_settings import EvaluateSettings
from textgate.components.contracts.recipe.section import RecipeSection
from textgate.components.contracts.recipe.source import Preprocess, Source
from textgate.components.contracts.recipe.training import FineTuning, Training
from textgate.components.step import InputError

MOST_SHARDS = 64
MODEL_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# PyYAML lets its constructors' own errors through, such as for 2026-13-45, !!bool x or ten thousand brackets.
_YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)

_RENAMED_KEYS = {"train.checkpoint": "train.base_model"}
"""Names of keys before version 0.2, which recipes may still use."""
# The keys by which a section says which of several it is.
_TAGS = ("family", "kind")


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes on, off, yes and no for truth values; in a recipe they are words: a key, a label, a language."""

    yaml_implicit_resolvers = {
        first: [(tag, words) for tag, words in resolvers if first in "tTfF" or tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _from_yaml(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


class Export(RecipeSection):
    """What is made for serving."""

    targets: list[Literal["onnx-fp32", "onnx-fp16", "onnx-int8", "onnx-int4", "hf", "hf-nf4"]] = Field(
        default=["onnx-int8", "onnx-fp32"], min_length=1
    )
    """What is made and measured, for families that need it; the linear ones answer from plain arrays. Of the ONNX ones
    the fastest that keeps F1 is served, or the smaller of two about as fast; a Hugging Face folder (``hf``, in 4 bits
    ``hf-nf4``) only where none of them does, by a runtime such as vLLM's."""
    max_f1_loss: float = Field(default=0.01, ge=0, le=1)
    """How far below the trained model's F1 on the test split that of the served one may lie."""
    min_agreement: float = Field(default=0.95, ge=0, le=1)
    """Share of texts on which the served model must answer as the trained one."""
    threshold: Literal["f1", "precision"] | None = None
    """From which probability on the last of two labels is answered: where its F1 is highest on the validation split, or
    the lowest where it has ``min_precision`` there. Without it, the more probable label is answered."""
    min_precision: float | None = Field(default=None, gt=0, le=1)

    @field_validator("targets")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("a target is named twice")
        return value

    @model_validator(mode="after")
    def _precision_goes_with_its_threshold(self) -> "Export":
        if (self.threshold == "precision") != (self.min_precision is not None):
            raise ValueError("threshold: precision and min_precision go together: give both or neither")
        return self


class Gate(RecipeSection):
    """Thresholds of both gates."""

    min_f1: float = Field(ge=0, le=1)
    """F1 on the test split that the trained and the served model must reach."""
    margin: float = Field(default=0.01, ge=0, le=1)
    """How far below the champion's F1 the lower end of the 95 % interval of the difference may lie."""
    improvement: list[Literal["f1", "speed", "size"]] = []
    """In what the served model must be better than the champion, in one of them at least: in F1 beyond the 95 %
    interval, in texts a second or in bytes by a tenth. Without it, it is enough not to be worse."""


Memory = Annotated[str, Field(pattern=r"^[1-9][0-9]*([KMGTPE]i?)?$")]
"""Bytes as Kubernetes writes them, such as 4G or 512Mi."""


class Compute(RecipeSection):
    """What a step asks the cluster for."""

    cpu: Annotated[str, Field(pattern=r"^([1-9][0-9]*m?|[0-9]+\.[0-9]+)$")] = "2"
    memory: Memory = "4G"
    hours: float = Field(default=6, gt=0, le=168)
    """A try that works longer is ended."""


class Accelerator(RecipeSection):
    """Devices a step asks the cluster for."""

    type: str = "nvidia.com/gpu"
    count: int = Field(gt=0)


class Toleration(RecipeSection):
    """A taint a pod may be scheduled on, as in the Kubernetes API."""

    key: str | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Resources(Compute):
    """What the steps ask of a cluster where the model answers with torch: train, evaluate, merge; a laptop ignores it.

    The export asks for the same devices where it measures a Hugging Face folder.
    """

    hours: float = Field(default=24, gt=0, le=168)
    accelerator: Accelerator | None = None
    """Given only to families that compute on one."""
    shm: Memory | None = None
    """Size of ``/dev/shm``, through which a machine's processes talk; it counts as memory. 64 MB without it."""
    nodes: int = Field(default=1, ge=1)
    """Machines that train together, each with what is asked for above."""
    shards: int = Field(default=1, ge=1, le=MOST_SHARDS)
    """Parts that ingest and preprocess read a source of several files in, at once; the result is the same."""
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    export: Compute = Compute()
    """What making, measuring and judging the served model takes."""


class Recipe(RecipeSection):
    """One system, from source to served."""

    name: str
    description: str
    model: str
    """Name in the registry; recipes that share it compete for the same champion."""
    source: Source
    preprocess: Preprocess = Preprocess()
    train: Training
    evaluate: EvaluateSettings = EvaluateSettings()
    export: Export = Export()
    gate: Gate
    resources: Resources = Resources()

    @field_validator("name", "model")
    @classmethod
    def _registry_name(cls, value: str) -> str:
        if not MODEL_NAME.fullmatch(value):
            raise ValueError("must be 1 to 63 lower-case letters, digits and inner hyphens")
        return value

    @model_validator(mode="after")
    def _can_be_spread(self) -> "Recipe":
        machines = self.resources.nodes
        if machines > 1 and not isinstance(self.train, FineTuning):
            raise ValueError(
                f"resources.nodes: only what is fine-tuned trains on several machines, not the family "
                f"{self.train.family}: leave it out"
            )
        devices = machines * (self.resources.accelerator.count if self.resources.accelerator else 1)
        if machines > 1 and isinstance(self.train, FineTuning) and self.train.batch_size % devices:
            raise ValueError(
                f"train.batch_size ({self.train.batch_size}) must be a multiple of the {devices} devices of the "
                f"{machines} machines that share it"
            )
        if self.resources.shards > 1 and (self.source.join or self.source.uri.startswith("hf://")):
            raise ValueError(
                "resources.shards: a folder of files can be read in parts, but no join and no data set of the hub: "
                "leave it out"
            )
        return self

    def with_sources(self, change: Callable[[Source], Source]) -> "Recipe":
        """The recipe with its data read from elsewhere: ``change`` makes each source, those out of domain too."""
        others = {name: change(source) for name, source in self.evaluate.out_of_domain.items()}
        evaluate = self.evaluate.model_copy(update={"out_of_domain": others})
        return self.model_copy(update={"source": change(self.source), "evaluate": evaluate})

    @classmethod
    def parse(cls, text: str, where: str, overrides: list[str] | None = None) -> "Recipe":
        """A recipe from YAML, with ``key.inner=value`` overrides applied before it is validated.

        Raises:
            InputError: not YAML, or a key is unknown, missing or wrong; it is named with what would be right.
        """
        try:
            data = _from_yaml(text)
        except _YAML_ERRORS as error:
            raise InputError(f"{where} is not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(data, dict):
            raise InputError(f"{where} is not a recipe: a mapping with {', '.join(cls.model_fields)} is expected")
        _rename_keys(data)
        for override in overrides or []:
            _override(data, override)
        try:
            _check_keys(cls, data)
            return cls.model_validate(data)
        except ValidationError as error:
            raise InputError(f"{where}: {_sentence(error, data)}") from error
        except ValueError as error:
            raise InputError(f"{where}: {error}") from error


def _rename_keys(data: dict[str, Any]) -> None:
    """Give the keys of ``data`` that were renamed their present names."""
    for old, new in _RENAMED_KEYS.items():
        section, _, key = old.partition(".")
        values = data.get(section)
        if isinstance(values, dict) and key in values:
            data[section] = {new.partition(".")[2] if name == key else name: value for name, value in values.items()}


def _override(data: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    keys = _RENAMED_KEYS.get(path.strip(), path.strip()).split(".")
    if not equals or not all(keys):
        raise InputError(f"--set takes key=value, such as train.learning_rate=3e-5, not {override!r}")
    section: Any = data
    for position, key in enumerate(keys[:-1]):
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise InputError(f"--set {path}: {'.'.join(keys[: position + 1])} is a value, not a section")
    try:
        section[keys[-1]] = _number(_from_yaml(value))
    except _YAML_ERRORS as error:
        raise InputError(f"--set {path}: {value!r} is not a YAML value") from error


def _number(value: Any) -> Any:
    """YAML 1.1 reads ``3e-5`` as text; a person means the number."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+", value):
        number = float(value)
        return number if math.isfinite(number) else value
    return value


def _check_keys(model: type[BaseModel], data: dict[str, Any], path: str = "") -> None:
    """Raise ValueError on the first key ``model`` does not know, naming the nearest one it does."""
    for key, value in data.items():
        if key not in model.model_fields:
            nearest = difflib.get_close_matches(str(key), list(model.model_fields), n=1, cutoff=0.0)[0]
            raise ValueError(f"unknown key {path}{key}; did you mean {path}{nearest}?")
        annotation = model.model_fields[key].annotation
        items = {key: value}
        if isinstance(value, list):
            items = {f"{key}.{number}": item for number, item in enumerate(value)}
        elif isinstance(value, dict) and get_origin(annotation) is dict:
            items = {f"{key}.{name}": item for name, item in value.items()}
        for name, item in items.items():
            section = _section(annotation, item)
            if section is not None:
                _check_keys(section, item, f"{path}{name}.")


def _section(annotation: Any, value: Any) -> type[BaseModel] | None:
    """The section class that ``value`` is meant for; of a union, the one that ``value`` names by its ``family``."""
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


def _sentence(error: ValidationError, data: Any) -> str:
    """The first fault as one sentence, by the key as it stands in the recipe."""
    first = error.errors()[0]
    path: list[str] = []
    for part in first["loc"]:
        # A union puts the tag into the location: train.transformer.learning_rate.
        if isinstance(data, dict) and part not in data and part in [data.get(tag) for tag in _TAGS]:
            continue
        path.append(str(part))
        data = data.get(part) if isinstance(data, dict) else None
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
