"""The recipe's section ``source``: location and layout of the labelled texts."""

import codecs
import re
from pathlib import PurePosixPath
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


def _are_parallel_names(value: dict[str, str]) -> dict[str, str]:
    for name in value.values():
        parts = PurePosixPath(name)
        if not parts.parts or parts.is_absolute() or ".." in parts.parts or name.count("*") > 1:
            raise ValueError(f"{name!r} is not the name of a file in the folder, with one * at most")
    if len(value) < 2 or len({"*" in name for name in value.values()}) > 1 or len(set(value.values())) < len(value):
        raise ValueError("must name a different file for each of two or more columns, all with * or all without")
    return value


ParallelFiles = Annotated[dict[str, str], AfterValidator(_are_parallel_names)]
"""Column to name of the file with its values, one a line."""


def _is_line_pattern(value: str) -> str:
    try:
        expression = re.compile(value)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    if not expression.groupindex:
        raise ValueError("has no named group, such as (?P<text>.*), for a column")
    return value


_DELIMITER_NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "space": " "}


def _delimiter(value: str) -> str:
    character = _DELIMITER_NAMES.get(value, value)
    if len(character) != 1 or character in '\r\n\0"':
        raise ValueError(f"must be one character, or one of {', '.join(n for n in _DELIMITER_NAMES if n.isalpha())}")
    return character


def _quote(value: str) -> str:
    if value not in ("", "none") and (len(value) != 1 or value.isspace() or value == "\0"):
        raise ValueError("must be one character, or none if quotes have no meaning")
    return "" if value == "none" else value


def _encoding(value: str) -> str:
    try:
        "a".encode(value)
        codecs.getincrementaldecoder(value)
    except LookupError as error:
        raise ValueError("must name a text encoding of Python's codecs, such as utf-8, cp1252 or shift_jis") from error
    return codecs.lookup(value).name


def _is_path(value: str) -> str:
    keys = value.split(".")
    if not all(keys) or keys.count("*") > 1:
        raise ValueError("must be keys separated by dots, one of which may be *")
    return value


class FileFormat(RecipeSection):
    """Format of the source's files, as far as it cannot be taken from a file's name and content."""

    delimiter: Annotated[str, AfterValidator(_delimiter)] | None = None
    """Character between fields, or its name: comma, semicolon, tab, pipe or space. It applies to all files that are
    neither JSON nor Parquet by their names, whatever their suffix. By default a tab in ``.tsv`` files, and in ``.csv``
    files a comma, or what else separates the columns of the header and of the first rows."""
    quote: Annotated[str, AfterValidator(_quote)] | None = None
    """Character around fields that hold a delimiter, a line break or the character itself, which is then doubled;
    ``none`` if quotes have no meaning. By default ``"``, and none if the delimiter is a tab."""
    encoding: Annotated[str, AfterValidator(_encoding)] | None = None
    """Encoding of the text, such as ``cp1252``. By default that of a byte order mark, or UTF-8, or, if a file is not
    UTF-8, one that is guessed from the whole file."""
    header: bool | None = None
    """Whether the first row names the columns. By default it does unless ``source.columns`` is set; with both, the row
    is skipped."""
    pattern: Annotated[str, AfterValidator(_is_line_pattern)] | None = None
    """Regular expression of a line of a text file, such as ``(?P<label>[A-Z]+):(?P<sub>\\w+) (?P<text>.*)``; its named
    groups are the columns. A line for which it takes over 10 s ends the run: avoid nested repetitions such as
    ``(a+)+``, or write them as an atomic group ``(?>…)``."""
    records: Annotated[str, AfterValidator(_is_path)] | None = None
    """Path of the rows in a JSON file that is one object: keys separated by dots, such as ``data.rows``. ``*`` stands
    for every key, which is then the column ``split``."""
    sheet: str | None = None
    """Name of the sheet of a workbook (``.xlsx``, ``.ods``). By default the first one."""

    @model_validator(mode="after")
    def _quote_is_no_delimiter(self) -> "FileFormat":
        if self.quote and self.quote == self.delimiter:
            raise ValueError("delimiter and quote must be different characters")
        return self

    @model_validator(mode="after")
    def _pattern_is_alone(self) -> "FileFormat":
        others = self.keys_besides("pattern", "encoding")
        if self.pattern is not None and others:
            raise ValueError(f"pattern takes lines apart by itself: leave out {', '.join(others)}")
        return self

    def keys_besides(self, *names: str) -> list[str]:
        """Return the keys that are set, without some."""
        return [key for key, value in self if value is not None and key not in names]


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
    """Name of the text column, or several names whose texts are joined by ``source.separator``."""
    label: str | None = None
    """Name of the label column."""
    labels: Labels | None = None
    """Label in the file to label name, in class order."""


class Source(RecipeSection):
    """Location of the labelled texts, and how to read them."""

    uri: str = Field(min_length=1)
    """Local file or folder, ``s3://bucket/prefix``, ``https://…``, ``hf://org/name[/subset][@revision]``,
    ``pypi://name/version/path#sha256=…``, or ``feedback://MODEL[?days=N]`` for the feedback on a served model. The
    query and the user information of a URL are stored nowhere."""
    text: TextColumns = "text"
    """Name of the text column, or several names whose texts are joined by ``separator``."""
    separator: str = Field(default=" ", min_length=1)
    """Text between the texts of several columns. For pairs of texts it is the separator of the base model's tokenizer
    between spaces, such as ``[SEP]`` of BERT. Clients of the served model join the texts of a pair in the same way."""
    label: str = "label"
    """Name of the label column. If the source has a folder per class, the folder's name is the label."""
    labels: Labels | None = None
    """Label in the source to label name, in class order; of two labels the last one is the positive class that F1 is
    computed for. By default the labels found in the source, sorted."""
    metadata: Metadata = []
    """Names of further columns to keep with each row, such as a topic; the report gives the scores for each value."""
    columns: Columns | None = None
    """Column names of a CSV or TSV file without a header row, or of rows in JSON that are arrays."""
    format: FileFormat = FileFormat()
    """Format of the files: delimiter, quote, encoding, header, pattern of a line, sheet of a workbook."""
    csv: Layout | None = None
    """Replacements of the keys above for CSV and TSV files, for a source that is also published in another format."""
    join: Join | None = None
    """Join of two files, for a source that keeps texts and labels apart."""
    parallel: ParallelFiles | None = None
    """Column to file of a folder in which line n of each file belongs to row n, such as
    ``{text: "*_text.txt", label: "*_labels.txt"}``; what ``*`` stands for is the column ``split``."""
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
    max_rejected: float = Field(default=0.2, ge=0, le=1)
    """Largest share of the rows that ingest may reject; with more the run stops. Rows that ``source.where`` or
    ``source.labels`` leave out do not count. ``gate.max_rejected`` also counts what preprocess rejects."""
    max_undecodable: float = Field(default=0.05, ge=0, le=1)
    """Largest share of the rows of any label that may be undecodable; with more the run stops, because a wrong encoding
    loses some labels more than others."""

    @model_validator(mode="after")
    def _format_is_possible(self) -> "Source":
        if self.format != FileFormat() and self.uri.startswith("hf://"):
            raise ValueError("source.format says how files are read, not a data set of the hub: leave it out")
        columns = self.columns or (self.csv and self.csv.columns)
        if self.format.header is False and not columns:
            raise ValueError("source.format.header is false: name the columns with source.columns")
        return self

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
            for limit in ("max_rejected", "max_undecodable"):
                # A recipe that was written as JSON has every default.
                if getattr(source, limit) != type(self).model_fields[limit].default:
                    raise ValueError(
                        f"source.also.{name} has {limit}: set it in source, where it holds for all sources"
                    )
            if source.also:
                raise ValueError(f"source.also.{name} has further sources itself: list all of them in source.also")
        if self.also and any(ORIGIN in source.metadata for source in self.sources.values()):
            raise ValueError(
                f"source.metadata has the column {ORIGIN!r}, in which each row keeps the name of its source if there "
                "are several: rename the column, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _parallel_is_possible(self) -> "Source":
        if self.parallel and (self.join or self.columns or self.csv or self.uri.startswith("hf://")):
            raise ValueError(
                "source.parallel names files of a folder and their columns: leave out source.columns, source.csv and "
                "source.join, or source.parallel; a data set of the hub has no such files"
            )
        if self.parallel and (others := self.format.keys_besides("encoding")):
            raise ValueError(
                f"source.parallel takes a whole line as a value: leave out {', '.join(others)} of source.format"
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
