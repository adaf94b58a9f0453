"""Recipe: one readable YAML file per system, validated once before a run starts.

A step receives its own section only, so a changed gate threshold never retrains a model.
"""

from collections.abc import Callable

from pydantic import ValidationError, field_validator, model_validator

from textgate.components.contracts.model_name import MODEL_NAME
from textgate.components.contracts.recipe.evaluate_settings import EvaluateSettings
from textgate.components.contracts.recipe.export import Export
from textgate.components.contracts.recipe.fine_tuning import FineTuning
from textgate.components.contracts.recipe.gate import Gate
from textgate.components.contracts.recipe.keys import check_keys, describe_error, rename_keys
from textgate.components.contracts.recipe.overrides import apply_override
from textgate.components.contracts.recipe.preprocess import Preprocess
from textgate.components.contracts.recipe.resources import Resources
from textgate.components.contracts.recipe.section import RecipeSection
from textgate.components.contracts.recipe.source import Source
from textgate.components.contracts.recipe.training import Training
from textgate.components.contracts.recipe.yaml_reader import YAML_ERRORS, read_yaml
from textgate.components.step import InputError


class Recipe(RecipeSection):
    """Complete description of one system, from its source data to the served model."""

    name: str
    """Name of the recipe: 1 to 63 lower-case letters, digits and inner hyphens."""
    description: str
    """One sentence on the system, shown in lists and in the model card."""
    model: str
    """Name of the model in the registry. Recipes with the same model name compete for the same champion."""
    source: Source
    """Location and layout of the labelled texts."""
    preprocess: Preprocess = Preprocess()
    """Cleaning of the texts and split into train, validation and test."""
    train: Training
    """Model family and its hyper-parameters; ``family`` decides which keys the section has."""
    evaluate: EvaluateSettings = EvaluateSettings()
    """Analyses for the report, such as robustness and explained errors."""
    export: Export = Export()
    """Formats to export the model to, and the accuracy that the served one may lose."""
    gate: Gate
    """Thresholds that the model must reach to be promoted."""
    resources: Resources = Resources()
    """CPU, memory, accelerators and machines to request from a cluster; ignored on a laptop."""

    @field_validator("name", "model")
    @classmethod
    def _registry_name(cls, value: str) -> str:
        if not MODEL_NAME.fullmatch(value):
            raise ValueError("must be 1 to 63 lower-case letters, digits and inner hyphens")
        return value

    @model_validator(mode="after")
    def _can_be_distributed(self) -> "Recipe":
        machines = self.resources.nodes
        if machines > 1 and not isinstance(self.train, FineTuning):
            raise ValueError(
                f"resources.nodes: only the families transformer and prompted train on several machines, not "
                f"{self.train.family}: leave it out"
            )
        devices = machines * (self.resources.accelerator.count if self.resources.accelerator else 1)
        if machines > 1 and isinstance(self.train, FineTuning) and self.train.batch_size % devices:
            raise ValueError(
                f"train.batch_size ({self.train.batch_size}) must be a multiple of the {devices} devices of the "
                f"{machines} machines that share it"
            )
        if self.resources.shards > 1 and any(
            source.join or source.parallel or source.uri.startswith("hf://") for source in self.source.sources.values()
        ):
            raise ValueError(
                "resources.shards: only a folder of files can be read in parallel, not a join, files that belong "
                "together line by line (source.parallel) or a data set of the hub: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _names_labels_of_the_source(self) -> "Recipe":
        sources = self.source.sources.values()
        labels = sorted({label for source in sources for label in (source.labels or {}).values()})
        if self.source.labels is None:
            labels = []
        named = {
            "preprocess.positive": [self.preprocess.positive] if self.preprocess.positive else [],
            "gate.min_recall": list(self.gate.min_recall),
            "gate.min_precision": list(self.gate.min_precision),
        }
        for key, names in named.items():
            for name in names:
                if labels and name not in labels:
                    raise ValueError(f"{key} names {name!r}, but the labels are {', '.join(labels)}")
        return self

    @model_validator(mode="after")
    def _cleaning_keeps_the_separator(self) -> "Recipe":
        for source in self.source.sources.values():
            separator = source.separator.strip()
            if separator and separator not in self.preprocess.normalizer(f"a{source.separator}b"):
                raise ValueError(
                    f"preprocess.normalizer removes or changes source.separator {separator!r}: leave out the option "
                    "that does, or choose another separator"
                )
        return self

    @model_validator(mode="after")
    def _measures_what_the_gate_judges(self) -> "Recipe":
        if self.gate.max_robustness_loss is not None and not self.evaluate.robustness:
            raise ValueError(
                "gate.max_robustness_loss needs perturbations, but evaluate.robustness is empty: name some there, or "
                "leave that key out to have all"
            )
        if self.gate.beats_baseline and not self.evaluate.baseline_texts:
            raise ValueError("gate.beats_baseline needs a baseline: set evaluate.baseline_texts above 0")
        if self.gate.max_label_issues is not None and not self.evaluate.label_check_texts:
            raise ValueError("gate.max_label_issues needs checked labels: set evaluate.label_check_texts above 0")
        return self

    @model_validator(mode="after")
    def _test_split_by_time_is_possible(self) -> "Recipe":
        column = self.preprocess.test_latest_by
        sources = self.source.sources.values()
        if column is not None and any(source.test is not None for source in sources):
            raise ValueError(
                "preprocess.test_latest_by cuts the test split, but source.test selects one: leave out one of the two"
            )
        if column is not None and any(source.validation is not None for source in sources):
            raise ValueError(
                "preprocess.test_latest_by wants validation texts from before the test split, but source.validation "
                "selects them without regard to time: leave out one of the two"
            )
        if column is not None and any(column not in source.metadata for source in sources):
            raise ValueError(
                f"preprocess.test_latest_by names {column!r}, which is not a column of source.metadata"
                f"{' of every source' if self.source.also else ''}: add it there"
            )
        return self

    @model_validator(mode="after")
    def _groups_are_possible(self) -> "Recipe":
        column = self.preprocess.group
        if column is not None and column not in self.source.metadata:
            raise ValueError(
                f"preprocess.group names {column!r}, which is not a column of source.metadata: add it there"
            )
        if column is not None and self.preprocess.test_latest_by is not None:
            raise ValueError(
                "preprocess.group keeps texts in one split that preprocess.test_latest_by separates by time: leave out "
                "one of the two"
            )
        return self

    def with_sources(self, change: Callable[[Source], Source]) -> "Recipe":
        """Return a copy in which ``change`` has replaced every source, further and out-of-domain ones included."""

        def changed(source: Source) -> Source:
            also = {name: change(further) for name, further in source.also.items()}
            return change(source).model_copy(update={"also": also})

        out_of_domain = {name: changed(source) for name, source in self.evaluate.out_of_domain.items()}
        evaluate = self.evaluate.model_copy(update={"out_of_domain": out_of_domain})
        return self.model_copy(update={"source": changed(self.source), "evaluate": evaluate})

    @classmethod
    def parse(cls, text: str, where: str, overrides: list[str] | None = None) -> "Recipe":
        """Parse and validate a recipe.

        Args:
            text: The recipe in YAML.
            where: Name of the recipe's file in error messages.
            overrides: Values to set before the validation, each as ``key.inner=value``.

        Raises:
            InputError: The text is not YAML, or a key is unknown, missing or has a wrong value. The message names the
                key and says what would be right.
        """
        try:
            data = read_yaml(text)
        except YAML_ERRORS as error:
            raise InputError(f"{where} is not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(data, dict):
            raise InputError(f"{where} is not a recipe: a mapping with {', '.join(cls.model_fields)} is expected")
        rename_keys(data)
        for override in overrides or []:
            apply_override(data, override)
        try:
            check_keys(cls, data)
            return cls.model_validate(data)
        except ValidationError as error:
            raise InputError(f"{where}: {describe_error(error, data)}") from error
        except ValueError as error:
            raise InputError(f"{where}: {error}") from error
