"""Profile of a data source for ``textgate init``: its columns, which of them hold text and label, and the labels."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from textgate.components.contracts import InputError, Source
from textgate.components.ingest.file_formats import file_errors, is_delimited
from textgate.components.ingest.hub_source import read_hub
from textgate.components.ingest.local_source import find_class_folders, list_data_files, read_local
from textgate.components.ingest.raw_rows import SPLIT_COLUMN, RawRow, has_surrogate, require_columns, to_text
from textgate.components.sources import default_downloads, fetch

MAX_LABELS = 1_000
_SAMPLE_ROWS = 10_000
_MAX_ROWS = 200_000
_LONGEST_LABEL = 60
_LONGEST_COLUMN_NAME = 60
_LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "intent", "topic", "tag", "y")
_TEST = "test"


@dataclass(frozen=True)
class DataProfile:
    """Source of a recipe, and the labels counted in its rows."""

    source: Source
    columns: list[str]
    """Names of all columns."""
    labels: dict[str, int]
    """Label in the source to number of rows, sorted by label."""
    rows: int
    """Rows that were read."""
    unusable: int
    """Rows without a text or a label."""
    complete: bool
    """Whether all rows were read; of a large source only the first are."""


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


def profile(uri: str, text: str | None = None, label: str | None = None) -> DataProfile:
    """Read a data source and find its text column, its label column and its labels.

    Args:
        uri: File, folder, ``s3://``, ``https://``, ``hf://`` or ``pypi://``.
        text: Name of the text column, instead of a guess.
        label: Name of the label column, instead of a guess.

    Raises:
        InputError: If the source cannot be read, a named column does not exist, no column looks like a text or a label,
            or the label column has fewer than 2 or more than 1,000 values.
    """
    path = None if uri.startswith("hf://") else fetch(uri, default_downloads())
    source = Source(uri=uri, text=text or "text", label=label or "label")
    columns = _sample(path, source)
    if not _has_class_folders(path):
        if path is not None and all(map(is_delimited, list_data_files(path))) and any(map(_looks_like_data, columns)):
            source = source.model_copy(update={"columns": [f"column{index}" for index in range(1, len(columns) + 1)]})
            columns = _sample(path, source)
        require_columns([name for name in (text, label) if name], list(columns), uri)
        label = label or _guess_label({name: column for name, column in columns.items() if name != text}, uri)
        text = text or _guess_text({name: column for name, column in columns.items() if name != label}, uri)
        source = source.model_copy(update={"text": text, "label": label})
    return _count_labels(path, source, list(columns))


def _rows(path: Path | None, source: Source, columns: Sequence[str]) -> Iterator[RawRow]:
    return read_hub(source, columns) if path is None else read_local(path, source, columns)


def _has_class_folders(path: Path | None) -> bool:
    return path is not None and path.is_dir() and bool(find_class_folders(path))


def _sample(path: Path | None, source: Source) -> dict[str, _Column]:
    """Return the statistics of every column in the first rows.

    Raises:
        InputError: If no row can be read.
    """
    columns: dict[str, _Column] = {}
    for row in islice(_rows(path, source, _parquet_columns(path)), _SAMPLE_ROWS):
        for name, value in (row.columns or {}).items():
            columns.setdefault(name, _Column()).add(value)
    if not columns:
        raise InputError(f"{source.uri} has no row that can be read")
    return columns


def _parquet_columns(path: Path | None) -> list[str]:
    """Return the column names of a Parquet source, whose reader yields only the columns that are asked for."""
    files = [] if path is None or _has_class_folders(path) else list_data_files(path)
    if not files or files[0].suffix.lower() != ".parquet":
        return []
    with file_errors(files[0]):
        names: list[str] = pq.read_schema(files[0]).names
        return names


def _count_labels(path: Path | None, source: Source, columns: list[str]) -> DataProfile:
    """Count the labels, and use the source's own test split if it has one.

    Raises:
        InputError: If there are fewer than 2 or more than 1,000 labels.
    """
    # The reader of a folder of files adds the column ``split``, the name of the file.
    has_splits = SPLIT_COLUMN in columns or (path is not None and path.is_dir() and not _has_class_folders(path))
    read_columns = [*source.text_columns, source.label, *([SPLIT_COLUMN] if has_splits else [])]
    splits: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    rows = 0
    for row in islice(_rows(path, source, read_columns), _MAX_ROWS):
        rows += 1
        values = row.columns or {}
        value = to_text(values.get(source.label)).strip()
        if value and not has_surrogate(value) and to_text(values.get(source.text_columns[0])).strip():
            labels[value] += 1
            splits[to_text(values.get(SPLIT_COLUMN))] += 1
        if len(labels) > MAX_LABELS:
            raise InputError(
                f"the column {source.label!r} of {source.uri} has over {MAX_LABELS:,} values: name the column that "
                "holds the labels with --label"
            )
    if len(labels) < 2:
        values_found = f"the value {min(labels)!r} only" if labels else "no value"
        raise InputError(
            f"the column {source.label!r} of {source.uri} has {values_found}: a classifier needs at least two labels; "
            "name the column that holds them with --label"
        )
    if 0 < splits[_TEST] < splits.total():
        source = source.model_copy(update={"test": f"{SPLIT_COLUMN} == {_TEST}"})
    return DataProfile(source, columns, dict(sorted(labels.items())), rows, rows - labels.total(), rows < _MAX_ROWS)


def _guess_label(columns: dict[str, _Column], uri: str) -> str:
    named = [name for name in columns if name.lower() in _LABEL_NAMES]
    if named:
        return min(named, key=lambda name: _LABEL_NAMES.index(name.lower()))
    candidates = [name for name, column in columns.items() if column.may_be_label and name != SPLIT_COLUMN]
    if not candidates:
        raise InputError(_not_found("labels", "--label", columns, uri))
    return min(candidates, key=lambda name: (not _ends_like_label(name), len(columns[name].values)))


def _ends_like_label(name: str) -> bool:
    return name.lower().endswith(("label", "class", "category", "target"))


def _guess_text(columns: dict[str, _Column], uri: str) -> str:
    candidates = [name for name, column in columns.items() if column.may_be_text and name != SPLIT_COLUMN]
    if not candidates:
        raise InputError(_not_found("texts", "--text", columns, uri))
    return max(candidates, key=lambda name: (name.lower() == "text", columns[name].mean_length))


def _not_found(content: str, option: str, columns: dict[str, _Column], uri: str) -> str:
    names = ", ".join(map(repr, columns)) or "no other columns"
    return f"no column of {uri} looks like one of {content}: name it with {option}; there are {names}"


def _looks_like_data(name: str) -> bool:
    return not name.strip() or len(name) > _LONGEST_COLUMN_NAME or _is_number(name)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
