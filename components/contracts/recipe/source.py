"""The recipe's sections ``source`` and ``preprocess``: where labelled text lies, and how it is cleaned and split."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from textgate.components.contracts.normalizer import TextNormalizer
from textgate.components.contracts.recipe.section import RecipeSection


def _keys_are_text(value: Any) -> Any:
    return {str(key): name for key, name in value.items()} if isinstance(value, dict) else value


def _two_different(value: dict[str, str]) -> dict[str, str]:
    if len(set(value.values())) < 2:
        raise ValueError("a classifier needs at least two different labels")
    return value


def _are_columns(value: Any) -> Any:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError("must name a column, or several different ones in a list")
    return value


Columns = Annotated[list[str], BeforeValidator(_are_columns)]
TextColumns = Annotated[str | list[str], BeforeValidator(_are_columns)]
Metadata = Annotated[list[str], BeforeValidator(lambda value: _are_columns(value) if value else [])]
Labels = Annotated[dict[str, str], BeforeValidator(_keys_are_text), AfterValidator(_two_different)]
"""Label as the source spells it to label name, in class order; the last one is the positive class of a binary task."""


class Join(RecipeSection):
    """Two files of one folder, joined row by row."""

    left: str
    """Name of the file whose rows are read."""
    right: str
    """Name of the file that has the other columns; those the recipe names are held in memory, by key."""
    on: str
    """Name of the column by which a row of one file is told in the other."""


class Layout(RecipeSection):
    """How a CSV or TSV is laid out where that differs from the source's other forms."""

    columns: Columns | None = None
    text: TextColumns | None = None
    label: str | None = None
    labels: Labels | None = None


class Source(RecipeSection):
    """Where the labelled text comes from, and how to read it."""

    uri: str = Field(min_length=1)
    """A local file or folder, ``s3://``, ``https://``, ``hf://org/name[@revision]`` or ``pypi://name/version/path#sha256=``."""
    text: TextColumns = "text"
    """Name of the text column, or of several whose texts are joined by a space."""
    label: str = "label"
    """Name of the label column; for a class-per-folder source the folder's name is the label."""
    labels: Labels | None = None
    """Without it the labels found are used, sorted."""
    metadata: Metadata = []
    """Names of further columns that are kept with each row, so that the scores can be told apart by them."""
    columns: Columns | None = None
    """Names of the columns of a CSV or TSV that has no header row."""
    csv: Layout | None = None
    """What replaces the keys above when a CSV or TSV is read."""
    join: Join | None = None
    where: str | None = None
    """Row filter over the source's columns, such as ``source == rotten_tomatoes``."""
    test: str | None = None
    """Row filter that selects the given test split, such as ``split == test``; without it preprocess cuts one."""
    max_line_bytes: int = Field(default=1_048_576, gt=0)
    """A longer line is rejected, which bounds the memory a row can take."""

    @model_validator(mode="after")
    def _joins_what_can_be_joined(self) -> "Source":
        if self.join and self.uri.startswith("hf://"):
            raise ValueError("source.join takes two files of a folder, not a data set of the hub: leave it out")
        if self.join and (self.columns or self.csv):
            raise ValueError(
                "source.join takes files that name their columns: leave out source.columns and source.csv, or the join"
            )
        return self

    @property
    def text_columns(self) -> list[str]:
        """Names of the columns whose texts are joined."""
        return [self.text] if isinstance(self.text, str) else self.text


class Preprocess(RecipeSection):
    """Cleaning and splitting."""

    normalizer: TextNormalizer = TextNormalizer()
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share of the texts for choosing during training."""
    test: float = Field(default=0.15, gt=0, lt=1)
    """Share of the texts the gates judge on; unused where the source gives a test split."""
    language: str | None = None
    """Keep only texts in this language (ISO 639-1), as far as py3langid can tell."""
    balance: bool = False
    """Leave out texts of the larger classes until all are as small as the smallest, but none of a given test split."""
    train_share: float = Field(default=1, gt=0, le=1)
    """Share of the training texts of each class that is used; a smaller one's texts are among a larger one's, so that a
    sweep over it is a learning curve."""
    seed: int = 13

    @field_validator("language")
    @classmethod
    def _two_letters(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[a-z]{2}", value):
            raise ValueError("a language is its two letters in ISO 639-1, such as en")
        return value

    @model_validator(mode="after")
    def _something_is_left(self) -> "Preprocess":
        if self.validation + self.test >= 1:
            raise ValueError(f"validation ({self.validation}) + test ({self.test}) must leave texts to train on")
        return self
