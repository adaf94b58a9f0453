"""Dataset: labelled texts on disk, the output of ingest and preprocess.

<folder>/dataset.json                        manifest (DatasetManifest)
<folder>/<split>/part-00000.parquet          id, text, label: strings; metadata: a struct of strings, if there is any
<folder>/rejected.parquet                    id, reason, label, text (first 200 characters)
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import model_validator

from textgate.components.contracts.files import new_folder
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.normalizer import TextNormalizer
from textgate.components.contracts.parse import parse_json
from textgate.components.step import InputError

MANIFEST = "dataset.json"
REJECTED = "rejected.parquet"
ROWS_PER_SHARD = 50_000
_CHARACTERS_PER_SHARD = 32_000_000
"""Limit on the characters of a shard, because the writer holds one shard in memory."""
_METADATA = "metadata"
REJECT_SCHEMA = pa.schema([("id", pa.string()), ("reason", pa.string()), ("label", pa.string()), ("text", pa.string())])
_REJECTED_TEXT_CHARACTERS = 200


class DatasetManifest(FrozenModel):
    """Content of ``dataset.json``. It validates only if rows in = rows out + rejected."""

    format_version: Literal[1] = 1
    source: str
    """URI of the source."""
    labels: list[str]
    """Label names in class order; the last one is the positive class of a binary task."""
    counts: dict[str, dict[str, int]]
    """Split to label to number of rows."""
    rows_in: int
    """Rows read from the source that the row filter selected."""
    rows_filtered: int = 0
    """Rows of the source that the row filter did not select; not part of ``rows_in``."""
    rejected: dict[str, int]
    """Reason of rejection to number of rows."""
    normalizer: TextNormalizer | None = None
    """Text cleaning that was applied; None before preprocessing."""
    metadata: list[str] = []
    """Names of the metadata columns of every row, in the order of the recipe."""
    fingerprint: str
    """Hex sha256 over split, id, label, text and metadata of every row, in order."""

    @model_validator(mode="after")
    def _rows_add_up(self) -> "DatasetManifest":
        if self.rows_in != self.rows_out + sum(self.rejected.values()):
            raise ValueError(
                f"rows in ({self.rows_in}) must equal rows out ({self.rows_out}) + rejected ({self.rejected})"
            )
        return self

    @property
    def rows_out(self) -> int:
        """Number of rows in all splits."""
        return sum(sum(labels.values()) for labels in self.counts.values())

    @property
    def summary(self) -> dict[str, int | str]:
        """Row counts and fingerprint, as metadata of the pipeline's artifact."""
        return {
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "rejected": sum(self.rejected.values()),
            "fingerprint": self.fingerprint,
        }


@dataclass(frozen=True)
class Row:
    """One labelled text."""

    id: str
    """Origin of the row as ``file:row``."""
    text: str
    label: str
    metadata: dict[str, str] = field(default_factory=dict)
    """Column in ``source.metadata`` to value; an empty string if the source has no value."""


@dataclass(frozen=True)
class Rejected:
    """One rejected row with the reason."""

    id: str
    reason: str
    label: str | None
    text: str | None


@dataclass(frozen=True)
class Dataset:
    """Dataset folder, opened for reading."""

    path: Path
    manifest: DatasetManifest

    @classmethod
    def open(cls, path: str | Path) -> "Dataset":
        """Open a dataset folder: read and check its manifest.

        Raises:
            InputError: There is no dataset at ``path``, or its manifest is not valid.
        """
        folder = Path(path)
        try:
            text = (folder / MANIFEST).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{folder} is not a dataset: {MANIFEST} cannot be read ({error})") from error
        return cls(folder, parse_json(DatasetManifest, text, str(folder / MANIFEST), "a dataset manifest"))

    @property
    def normalizer(self) -> TextNormalizer:
        """Text cleaning that was applied.

        Raises:
            InputError: The dataset comes from ingest and has not been preprocessed.
        """
        if self.manifest.normalizer is None:
            raise InputError(f"the dataset {self.path} has not been preprocessed: it carries no normaliser")
        return self.manifest.normalizer

    def rows(self, split: str) -> Iterator[Row]:
        """Yield the rows of one split in stored order, with one Parquet batch in memory at a time.

        Raises:
            InputError: There is no such split, or a shard is damaged or missing.
        """
        for values in self._row_values(split):
            yield Row(**values)

    def rejected(self) -> Iterator[Rejected]:
        """Yield the rejected rows, in the order of the source.

        Raises:
            InputError: Their file is missing or damaged.
        """
        for values in _read_parquet(self.path / REJECTED, REJECT_SCHEMA):
            yield Rejected(**values)

    def columns(self, split: str) -> tuple[list[str], list[str], npt.NDArray[np.int64]]:
        """Return a split in memory: ids, texts and classes, (n,) int64 indices into ``manifest.labels``.

        Raises:
            InputError: See ``rows``.
        """
        class_of = {label: index for index, label in enumerate(self.manifest.labels)}
        rows = list(self.rows(split))
        classes = np.array([class_of[row.label] for row in rows], dtype=np.int64)
        return [row.id for row in rows], [row.text for row in rows], classes

    def metadata(self, split: str) -> list[dict[str, str]]:
        """Return the metadata of a split's rows, in the order of ``columns``. Texts are not read.

        Raises:
            InputError: See ``rows``.
        """
        return [values.get(_METADATA, {}) for values in self._row_values(split, ["label", _METADATA])]

    def _row_values(self, split: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows of one split with all columns, or with some that include the label; check their counts."""
        if split not in self.manifest.counts:
            raise InputError(f"{self.path} has no split {split!r}; it has {', '.join(self.manifest.counts)}")
        schema = _row_schema(self.manifest.metadata)
        counts: Counter[str] = Counter()
        for shard in sorted((self.path / split).glob("*.parquet")):
            for values in _read_parquet(shard, schema, columns):
                if None in (*values.values(), *(values.get(_METADATA) or {}).values()):
                    raise InputError(f"{shard} has a row without id, text or label, or with half of its metadata")
                counts[values["label"]] += 1
                yield values
        if counts != Counter(self.manifest.counts[split]):
            raise InputError(
                f"{self.path / split} holds other rows than {MANIFEST} counts: {dict(counts)}, "
                f"not {self.manifest.counts[split]}"
            )


def _row_schema(metadata: Sequence[str]) -> pa.Schema:
    strings = [(name, pa.string()) for name in ("id", "text", "label")]
    struct = [(_METADATA, pa.struct([(name, pa.string()) for name in metadata]))] if metadata else []
    return pa.schema([*strings, *struct])


def _read_parquet(path: Path, schema: pa.Schema, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file with exactly this schema, with one batch in memory at a time."""
    try:
        with pq.ParquetFile(path) as file:
            if file.schema_arrow != schema:
                raise ValueError(f"its columns are not {', '.join(schema.names)}, all text")
            for batch in file.iter_batches(columns=columns):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable Parquet shard of a dataset ({error})") from error


class _ShardWriter:
    """Writer of rows to numbered Parquet files in one folder, with one shard in memory."""

    def __init__(self, folder: Path, schema: pa.Schema, rows_per_shard: int) -> None:
        self.folder, self.schema, self.rows_per_shard = folder, schema, rows_per_shard
        self.rows: list[dict[str, Any]] = []
        self.characters = self.shards = 0
        folder.mkdir()

    def add(self, row: Row) -> None:
        self.rows.append({"id": row.id, "text": row.text, "label": row.label, _METADATA: row.metadata})
        self.characters += len(row.text) + sum(map(len, row.metadata.values()))
        if len(self.rows) == self.rows_per_shard or self.characters >= _CHARACTERS_PER_SHARD:
            self.flush()

    def flush(self) -> None:
        if self.rows or not self.shards:
            table = pa.Table.from_pylist(self.rows, schema=self.schema)
            pq.write_table(table, self.folder / f"part-{self.shards:05d}.parquet", compression="zstd")
            self.rows, self.characters, self.shards = [], 0, self.shards + 1


class DatasetWriter:
    """Writer of the rows and rejected rows of a dataset; ``dataset_writer`` returns one."""

    def __init__(self, folder: Path, splits: Iterable[str], metadata: Sequence[str], rows_per_shard: int) -> None:
        self._folder, self._metadata = folder, list(metadata)
        schema = _row_schema(metadata)
        self._shards = {split: _ShardWriter(folder / split, schema, rows_per_shard) for split in splits}
        self._digests = {split: hashlib.sha256() for split in self._shards}
        self._rejects = pq.ParquetWriter(folder / REJECTED, REJECT_SCHEMA, compression="zstd")
        self._pending_rejects: list[dict[str, str | None]] = []
        self.counts: dict[str, Counter[str]] = {split: Counter() for split in self._shards}
        self.rejected: Counter[str] = Counter()

    def add(self, split: str, row: Row) -> None:
        """Add a row to a split.

        Raises:
            ValueError: The row has other metadata columns than the writer.
        """
        if row.metadata.keys() != set(self._metadata):
            raise ValueError(f"row {row.id} has the metadata columns {list(row.metadata)}, not {self._metadata}")
        self._shards[split].add(row)
        for value in (row.id, row.label, row.text, *(row.metadata[name] for name in self._metadata)):
            encoded = value.encode("utf-8")
            self._digests[split].update(len(encoded).to_bytes(8, "little") + encoded)
        self.counts[split][row.label] += 1

    def reject(self, row: Rejected) -> None:
        """Add a rejected row with its reason; shorten its text, and replace characters that cannot be stored."""
        text, label = _storable(row.text), _storable(row.label)
        self._pending_rejects.append({"id": row.id, "reason": row.reason, "label": label, "text": text})
        self.rejected[row.reason] += 1
        if len(self._pending_rejects) == ROWS_PER_SHARD:
            self._flush_rejects()

    def _flush_rejects(self) -> None:
        self._rejects.write_table(pa.Table.from_pylist(self._pending_rejects, schema=REJECT_SCHEMA))
        self._pending_rejects = []

    def finish(
        self, source: str, labels: list[str], rows_filtered: int = 0, normalizer: TextNormalizer | None = None
    ) -> DatasetManifest:
        """Write the pending rows and the manifest. Call it once, after all rows.

        Args:
            source: URI of the source.
            labels: Label names in class order.
            rows_filtered: Rows of the source that the row filter did not select.
            normalizer: Text cleaning that was applied; None before preprocessing.

        Raises:
            ValueError: A row has a label that is not in ``labels``.
        """
        for shard in self._shards.values():
            shard.flush()
        self._flush_rejects()
        self._rejects.close()
        unknown = {label for counts in self.counts.values() for label in counts} - set(labels)
        if unknown:
            raise ValueError(f"rows carry labels that are not among {labels}: {sorted(unknown)}")
        digest = hashlib.sha256(json.dumps(self._metadata).encode() if self._metadata else b"")
        for split in sorted(self._digests):
            digest.update(split.encode() + b"\0" + self._digests[split].digest())
        manifest = DatasetManifest(
            source=source,
            labels=labels,
            counts={
                split: {label: counts[label] for label in labels if counts[label]}
                for split, counts in self.counts.items()
            },
            rows_in=sum(counts.total() for counts in self.counts.values()) + self.rejected.total(),
            rows_filtered=rows_filtered,
            rejected=dict(sorted(self.rejected.items())),
            normalizer=normalizer,
            metadata=self._metadata,
            fingerprint=digest.hexdigest(),
        )
        (self._folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
        return manifest


@contextmanager
def dataset_writer(
    path: str | Path, splits: Iterable[str], metadata: Sequence[str] = (), rows_per_shard: int = ROWS_PER_SHARD
) -> Iterator[DatasetWriter]:
    """Write a dataset folder atomically: it appears if the body succeeds, and not at all if it raises.

    Args:
        path: Folder to create.
        splits: Names of the splits.
        metadata: Names of the metadata columns that every row has.
        rows_per_shard: Largest number of rows of a Parquet file.
    """
    with new_folder(Path(path)) as folder:
        yield DatasetWriter(folder, splits, metadata, rows_per_shard)


def _storable(text: str | None) -> str | None:
    """Shorten a text and replace unpaired surrogates, which UTF-8 cannot encode."""
    if text is None:
        return None
    return text[:_REJECTED_TEXT_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
