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
from textgate.components.ingest.file_formats import damage_explained, is_table
from textgate.components.ingest.hub_source import read_hub
from textgate.components.ingest.local_source import class_folders, data_files, read
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

    def add(self, cell: Any) -> None:
        text = to_text(cell).strip()
        if not text:
            return
        self.filled += 1
        self.characters += len(text)
        self.numbers += isinstance(cell, int | float) or _is_number(text)
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
    if path is None or not (path.is_dir() and class_folders(path)):
        source = _with_columns(source, path, text, label)
    columns = _column_names(path, source)
    wanted = [*source.text_columns, source.label, *([SPLIT_COLUMN] if _has_splits(path, columns) else [])]
    splits: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    rows = unusable = 0
    for row in islice(_rows(path, source, wanted), _MAX_ROWS):
        rows += 1
        cells = row.columns or {}
        value = to_text(cells.get(source.label)).strip()
        if not value or has_surrogate(value) or not to_text(cells.get(source.text_columns[0])).strip():
            unusable += 1
            continue
        labels[value] += 1
        splits[to_text(cells.get(SPLIT_COLUMN))] += 1
        if len(labels) > MAX_LABELS:
            raise InputError(
                f"the column {source.label!r} of {uri} has over {MAX_LABELS:,} different values: name the column that "
                "holds the labels with --label"
            )
    if len(labels) < 2:
        values = f"the value {min(labels)!r} only" if labels else "no value"
        raise InputError(
            f"the column {source.label!r} of {uri} has {values}: a classifier needs at least two; name the column "
            "that holds them with --label"
        )
    if 0 < splits[_TEST] < splits.total():
        source = source.model_copy(update={"test": f"{SPLIT_COLUMN} == {_TEST}"})
    return DataProfile(source, columns, dict(sorted(labels.items())), rows, unusable, rows < _MAX_ROWS)


def _rows(path: Path | None, source: Source, wanted: Sequence[str]) -> Iterator[RawRow]:
    return read_hub(source, wanted) if path is None else read(path, source, wanted)


def _with_columns(source: Source, path: Path | None, text: str | None, label: str | None) -> Source:
    """Return the source with its text and label column, and with column names if a CSV has no header row."""
    columns = _sample(path, source)
    if path is not None and all(map(is_table, data_files(path))) and any(map(_looks_like_data, columns)):
        source = source.model_copy(update={"columns": [f"column{index}" for index in range(1, len(columns) + 1)]})
        columns = _sample(path, source)
    require_columns([name for name in (text, label) if name], list(columns), source.uri)
    label = label or _guess_label({name: column for name, column in columns.items() if name != text}, source.uri)
    text = text or _guess_text({name: column for name, column in columns.items() if name != label}, source.uri)
    return source.model_copy(update={"text": text, "label": label})


def _sample(path: Path | None, source: Source) -> dict[str, _Column]:
    columns: dict[str, _Column] = {}
    wanted = _parquet_columns(path) if path is not None else []
    for row in islice(_rows(path, source, wanted), _SAMPLE_ROWS):
        for name, cell in (row.columns or {}).items():
            columns.setdefault(name, _Column()).add(cell)
    if not columns:
        raise InputError(f"{source.uri} has no row that can be read")
    return columns


def _column_names(path: Path | None, source: Source) -> list[str]:
    wanted = _parquet_columns(path) if path is not None else []
    return next((list(row.columns) for row in _rows(path, source, wanted) if row.columns is not None), [])


def _parquet_columns(path: Path) -> list[str]:
    """Return the column names of a Parquet source, whose reader yields only the columns that are asked for."""
    files = [] if path.is_dir() and class_folders(path) else data_files(path)
    if not files or files[0].suffix.lower() != ".parquet":
        return []
    with damage_explained(files[0]):
        names: list[str] = pq.read_schema(files[0]).names
        return names


def _has_splits(path: Path | None, columns: Sequence[str]) -> bool:
    """Whether rows have a column ``split``: their own, the name of the file in a folder, or of the upper folder."""
    if SPLIT_COLUMN in columns:
        return True
    return path is not None and path.is_dir() and not class_folders(path)


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
