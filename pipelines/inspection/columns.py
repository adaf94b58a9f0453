"""Columns of a data source, guessed from the first rows: text, label, split, date, and groups such as authors."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from textgate.components.contracts import InputError, Row, Source
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.ingest.file_formats import file_errors, is_delimited
from textgate.components.ingest.hub_source import read_hub
from textgate.components.ingest.local_source import find_class_folders, list_data_files, read_local
from textgate.components.ingest.raw_rows import SPLIT_COLUMN, RawRow, require_columns, to_text
from textgate.components.preprocess.time_split import TimeColumn
from textgate.components.sources import default_downloads, fetch
from textgate.pipelines.inspection.splits import split_role

MAX_LABELS = 1_000
_SAMPLE_ROWS = 10_000
_LONGEST_LABEL = 60
_LONGEST_COLUMN_NAME = 60
_LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "intent", "topic", "tag", "y")
_SPLIT_NAMES = (SPLIT_COLUMN, "set", "subset", "partition", "fold")
_MAX_SPLITS = 20
_TIME_NAME = re.compile(r"date|time|created|published|year", re.IGNORECASE)
_GROUP_NAME = re.compile(
    r"(author|user|username|screen_?name|speaker|customer|reviewer|account|patient|session|thread|conversation)(_?id)?",
    re.IGNORECASE,
)
_MAX_DATES = 100
"""Values of a column that are read as dates."""

Role = Literal["text", "label", "split", "date", "group", ""]
"""Use of a column. The rows of one group, such as an author's, are alike."""


class ColumnGuess(FrozenModel):
    """Column of a source as the first rows show it."""

    name: str
    role: Role
    filled: float
    """Share of the first rows that have a value."""
    distinct: int | None
    """Number of different values in the first rows; None if there are more than 1,000."""


@dataclass(frozen=True)
class SourceColumns:
    """Source settings with the columns of text and label, and a reader of its rows."""

    path: Path | None
    """Local file or folder; None for a data set of the hub."""
    source: Source
    columns: list[ColumnGuess]
    split: str | None
    """Column with the names of the given splits."""

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        return [column.name for column in self.columns]

    def rows(self) -> Iterator[RawRow]:
        """Yield the rows of the source with text, label and split."""
        names = [*self.source.text_columns, self.source.label, *([self.split] if self.split else [])]
        return _rows(self.path, self.source, names)


@dataclass
class _Column:
    """Statistics of one column in a sample of the rows."""

    filled: int = 0
    characters: int = 0
    numbers: int = 0
    values: Counter[str] = field(default_factory=Counter)

    def add(self, value: Any) -> None:
        text = to_text(value).strip()
        if not text:
            return
        self.filled += 1
        self.characters += len(text)
        self.numbers += isinstance(value, int | float) or _is_number(text)
        if text in self.values or len(self.values) <= MAX_LABELS:
            self.values[text] += 1

    @property
    def mean_length(self) -> float:
        return self.characters / self.filled if self.filled else 0.0

    @property
    def may_be_text(self) -> bool:
        return self.numbers < self.filled

    @property
    def may_be_label(self) -> bool:
        return 2 <= len(self.values) <= min(MAX_LABELS, self.filled / 2) and self.mean_length <= _LONGEST_LABEL

    @property
    def repeats(self) -> bool:
        return 1 < len(self.values) < self.values.total()


def find_columns(uri: str, text: str | None = None, label: str | None = None) -> SourceColumns:
    """Read the first rows of a source, and find its columns of text, label, split, date and group.

    Args:
        uri: File, folder, ``s3://``, ``https://``, ``hf://`` or ``pypi://``.
        text: Name of the text column, instead of a guess.
        label: Name of the label column, instead of a guess.

    Raises:
        InputError: The source cannot be read, a named column does not exist, or no column looks like a text or a label.
    """
    path = None if uri.startswith("hf://") else fetch(uri, default_downloads())
    source = Source(uri=uri, text=text or "text", label=label or "label")
    rows, columns = _sample(path, source)
    if not _has_class_folders(path):
        has_no_header = any(map(_looks_like_data, filter(str.strip, columns))) or not any(map(str.strip, columns))
        if path is not None and has_no_header and all(map(is_delimited, list_data_files(path))):
            source = source.model_copy(update={"columns": [f"column{index}" for index in range(1, len(columns) + 1)]})
            rows, columns = _sample(path, source)
        require_columns([name for name in (text, label) if name], list(columns), uri)
    # The reader of a folder of files adds the column ``split``, the name of the file.
    adds_split = path is not None and path.is_dir() and not _has_class_folders(path)
    split = SPLIT_COLUMN if adds_split else _guess_split(columns)
    dates = {name for name, column in columns.items() if _holds_dates(name, column)}
    if not _has_class_folders(path):
        free = {name: column for name, column in columns.items() if name != split}
        label = label or _guess_label({name: column for name, column in free.items() if name != text}, uri)
        undated = {name: column for name, column in free.items() if name != label and name not in dates}
        text = text or _guess_text(undated, uri)
        source = source.model_copy(update={"text": text, "label": label})

    def role(name: str, column: _Column) -> Role:
        if name in (source.label, *source.text_columns):
            return "label" if name == source.label else "text"
        if name == split:
            return "split"
        if name in dates:
            return "date"
        return "group" if _GROUP_NAME.fullmatch(name) and column.repeats else ""

    guesses = [
        ColumnGuess(
            name=name,
            role=role(name, column),
            filled=column.filled / rows,
            distinct=len(column.values) if len(column.values) <= MAX_LABELS else None,
        )
        for name, column in columns.items()
        if name
    ]
    return SourceColumns(path, source, guesses, split)


def split_of(found: SourceColumns, row: RawRow) -> str:
    """Return the name of a row's given split; empty if the source has no splits."""
    return to_text(row.columns.get(found.split)) if found.split and row.columns else ""


def _rows(path: Path | None, source: Source, columns: Sequence[str]) -> Iterator[RawRow]:
    return read_hub(source, columns) if path is None else read_local(path, source, columns)


def _has_class_folders(path: Path | None) -> bool:
    return path is not None and path.is_dir() and bool(find_class_folders(path))


def _sample(path: Path | None, source: Source) -> tuple[int, dict[str, _Column]]:
    """Return the number of the first rows that can be read, and the statistics of every column in them.

    Raises:
        InputError: No row can be read.
    """
    columns: dict[str, _Column] = {}
    rejected: Counter[str] = Counter()
    count = 0
    for row in islice(_rows(path, source, _parquet_columns(path)), _SAMPLE_ROWS):
        if row.columns is None:
            rejected[row.reason] += 1
            continue
        count += 1
        for name, value in row.columns.items():
            columns.setdefault(name, _Column()).add(value)
    if not columns:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in rejected.most_common())
        raise InputError(f"{source.uri} has no row that can be read{f': {reasons}' if reasons else ''}")
    return count, columns


def _parquet_columns(path: Path | None) -> list[str]:
    """Return the column names of a Parquet source, whose reader yields only the columns that are asked for."""
    files = [] if path is None or _has_class_folders(path) else list_data_files(path)
    if not files or files[0].suffix.lower() != ".parquet":
        return []
    with file_errors(files[0]):
        names: list[str] = pq.read_schema(files[0]).names
        return names


def _guess_split(columns: dict[str, _Column]) -> str | None:
    if SPLIT_COLUMN in columns:
        return SPLIT_COLUMN
    for name, column in columns.items():
        values = column.values
        if name.lower() in _SPLIT_NAMES and len(values) <= _MAX_SPLITS and any(map(split_role, values)):
            return name
    return None


def _holds_dates(name: str, column: _Column) -> bool:
    """Whether ``preprocess.test_latest_by`` can read the column; numbers are dates only where the name says so."""
    values = list(islice(column.values, _MAX_DATES))
    if not values or (column.numbers and not _TIME_NAME.search(name)):
        return False
    times = TimeColumn(name)
    try:
        for value in values:
            times.time(Row("", "", "", {name: value}))
    except InputError:
        return False
    return True


def _guess_label(columns: dict[str, _Column], uri: str) -> str:
    named = [name for name in columns if name.lower() in _LABEL_NAMES]
    if named:
        return min(named, key=lambda name: _LABEL_NAMES.index(name.lower()))
    candidates = [name for name, column in columns.items() if column.may_be_label]
    if not candidates:
        raise InputError(_not_found("labels", "--label", columns, uri))
    return min(candidates, key=lambda name: (not _ends_like_label(name), len(columns[name].values)))


def _ends_like_label(name: str) -> bool:
    return name.lower().endswith(("label", "class", "category", "target"))


def _guess_text(columns: dict[str, _Column], uri: str) -> str:
    candidates = [name for name, column in columns.items() if column.may_be_text]
    if not candidates:
        raise InputError(_not_found("texts", "--text", columns, uri))
    return max(candidates, key=lambda name: (name.lower() == "text", columns[name].mean_length))


def _not_found(content: str, option: str, columns: dict[str, _Column], uri: str) -> str:
    names = ", ".join(map(repr, columns)) or "no other columns"
    return f"no column of {uri} looks like one of {content}: name it with {option}; there are {names}"


def _looks_like_data(name: str) -> bool:
    return len(name) > _LONGEST_COLUMN_NAME or _is_number(name)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
