"""The recipe's section ``source``: location and layout of the labelled texts."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from textgate.components.contracts.model_name import MODEL_NAME
from textgate.components.contracts.recipe.section import RecipeSection

MAIN = "main"
"""Name of the source that the section itself describes, beside those of ``source.also``."""
ORIGIN = "source"
"""Metadata column with the name of each row's source, if there are several."""


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
"""Label in the source to label name, in class order; the last one is the positive class of a binary task."""


class Join(RecipeSection):
    """Two files of one folder, joined row by row on a key column."""

    left: str
    """Name of the file whose rows are read, one after the other."""
    right: str
    """Name of the file that provides the other columns. The columns that the recipe uses are held in memory."""
    on: str
    """Join key: name of the column whose value identifies the same row in both files."""


class Layout(RecipeSection):
    """Column layout of the CSV or TSV files of a source that is also published in another format."""

    columns: Columns | None = None
    """Column names of a file without a header row."""
    text: TextColumns | None = None
    """Name of the text column, or several names whose texts are joined by a space."""
    label: str | None = None
    """Name of the label column."""
    labels: Labels | None = None
    """Label in the file to label name, in class order."""


class Source(RecipeSection):
    """Location of the labelled texts, and how to read them."""

    uri: str = Field(min_length=1)
    """Local file or folder, ``s3://bucket/prefix``, ``https://…``, ``hf://org/name[/subset][@revision]``,
    ``pypi://name/version/path#sha256=…``, or ``feedback://MODEL[?days=N]`` for the feedback on a served model."""
    text: TextColumns = "text"
    """Name of the text column, or several names whose texts are joined by a space."""
    label: str = "label"
    """Name of the label column. If the source has a folder per class, the folder's name is the label."""
    labels: Labels | None = None
    """Label in the source to label name, in class order; of two labels the last one is the positive class that F1 is
    computed for. By default the labels found in the source, sorted."""
    metadata: Metadata = []
    """Names of further columns to keep with each row, such as a topic; the report gives the scores for each value."""
    columns: Columns | None = None
    """Column names of a CSV or TSV file without a header row."""
    csv: Layout | None = None
    """Replacements of the keys above for CSV and TSV files, for a source that is also published in another format."""
    join: Join | None = None
    """Join of two files, for a source that keeps texts and labels apart."""
    where: str | None = None
    """Filter that selects the rows to use, over the source's columns, such as ``rating >= 3``."""
    test: str | None = None
    """Filter that selects the source's own test split, such as ``split == test``. Without it, preprocess makes a test
    split."""
    validation: str | None = None
    """Filter that selects the source's own validation split, such as ``split == validation``; no row may be in both.
    Without it, preprocess makes a validation split."""
    also: dict[str, "Source"] = {}
    """Further sources, by name, whose rows are added to those of this one, such as the feedback of a served model. Each
    row keeps the name of its source (``main`` for this one) in the metadata column ``source``."""
    corrections: str | None = None
    """CSV file, or URI of one, with corrected labels: ``label_issues.csv`` of the step check-labels with an edited
    column ``corrected_label``, or a file with the columns ``text``, ``label`` and ``corrected_label``. An empty
    ``corrected_label`` drops the text."""
    max_line_bytes: int = Field(default=1_048_576, gt=0)
    """Longest line to read, in bytes; a longer one is rejected, which bounds the memory that a row can take."""

    @model_validator(mode="after")
    def _join_is_possible(self) -> "Source":
        if self.join and self.uri.startswith("hf://"):
            raise ValueError("source.join takes two files of a folder, not a data set of the hub: leave it out")
        if self.join and (self.columns or self.csv):
            raise ValueError(
                "source.join takes files that name their columns: leave out source.columns and source.csv, or the join"
            )
        return self

    @model_validator(mode="after")
    def _has_names_for_further_sources(self) -> "Source":
        for name, source in self.also.items():
            if not MODEL_NAME.fullmatch(name) or name == MAIN:
                raise ValueError(
                    f"source.also has a source {name!r}: its name must be 1 to 63 lower-case letters, digits and inner "
                    f"hyphens, and not {MAIN}, which is the source itself"
                )
            if source.corrections:
                raise ValueError(f"source.also.{name} has corrections: name those of all sources in source.corrections")
            if source.also:
                raise ValueError(f"source.also.{name} has further sources itself: list all of them in source.also")
        if self.also and any(ORIGIN in source.metadata for source in self.sources.values()):
            raise ValueError(
                f"source.metadata has the column {ORIGIN!r}, in which each row keeps the name of its source if there "
                "are several: rename the column, or leave it out"
            )
        return self

    @property
    def sources(self) -> dict[str, "Source"]:
        """This source under the name ``main``, and those of ``also``."""
        return {MAIN: self, **self.also}

    @property
    def address(self) -> str:
        """URI; of several sources all URIs, separated by commas."""
        return ", ".join(source.uri for source in self.sources.values())

    @property
    def metadata_columns(self) -> list[str]:
        """Names of the metadata columns of every row, of all sources; of several sources also ``source``."""
        columns = dict.fromkeys(column for source in self.sources.values() for column in source.metadata)
        return [*columns, *([ORIGIN] if self.also else [])]

    @property
    def text_columns(self) -> list[str]:
        """Names of the columns whose texts are joined."""
        return [self.text] if isinstance(self.text, str) else self.text
