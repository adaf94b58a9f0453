"""Dataset: labelled text on disk, as ingest and preprocess hand it on.

<folder>/dataset.json                        what it is (DatasetManifest)
<folder>/<split>/part-00000.parquet          id, text, label: strings; metadata: a struct of strings, where there is any
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
"""A shard of long texts ends before its rows are many: the writer holds one shard in memory."""
_METADATA = "metadata"
REJECT_SCHEMA = pa.schema([("id", pa.string()), ("reason", pa.string()), ("label", pa.string()), ("text", pa.string())])
_REJECTED_TEXT_CHARACTERS = 200


class DatasetManifest(FrozenModel):
    """``dataset.json``. Rows in = rows out + rejected, or it does not validate."""

    format_version: Literal[1] = 1
    source: str
    labels: list[str]
    """Label names in class order; the last one is the positive class of a binary task."""
    counts: dict[str, dict[str, int]]
    """Rows per split and label."""
    rows_in: int
    rows_filtered: int = 0
    """Rows the source had but the row filter did not select; not part of ``rows_in``."""
    rejected: dict[str, int]
    """Rows per reason of rejection."""
    normalizer: TextNormalizer | None = None
    """How the texts were cleaned; None before preprocessing."""
    metadata: list[str] = []
    """Names of the further columns that every row has, in the order of the recipe."""
    fingerprint: str
    """sha256 over split, id, label, text and metadata of every row, in order."""

    @model_validator(mode="after")
    def _rows_add_up(self) -> "DatasetManifest":
        if self.rows_in != self.rows_out + sum(self.rejected.values()):
            raise ValueError(
                f"rows in ({self.rows_in}) must equal rows out ({self.rows_out}) + rejected ({self.rejected})"
            )
        return self

    @property
    def rows_out(self) -> int:
        """Rows kept, all splits together."""
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
    """One labelled text; ``id`` says where it came from (``file:row``)."""

    id: str
    text: str
    label: str
    metadata: dict[str, str] = field(default_factory=dict)
    """Column to value, of the columns that ``source.metadata`` names; empty where the source has no value."""


@dataclass(frozen=True)
class Rejected:
    """One row that was left out, and why."""

    id: str
    reason: str
    label: str | None
    text: str | None


@dataclass(frozen=True)
class Dataset:
    """A dataset folder opened for reading."""

    path: Path
    manifest: DatasetManifest

    @classmethod
    def open(cls, path: str | Path) -> "Dataset":
        """Read and check the manifest.

        Raises:
            InputError: there is no dataset at ``path``, or its manifest is not valid.
        """
        folder = Path(path)
        try:
            text = (folder / MANIFEST).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{folder} is not a dataset: {MANIFEST} cannot be read ({error})") from error
        return cls(folder, parse_json(DatasetManifest, text, str(folder / MANIFEST), "a dataset manifest"))

    @property
    def normalizer(self) -> TextNormalizer:
        """How the texts were cleaned.

        Raises:
            InputError: the dataset comes from ingest and has not been cleaned yet.
        """
        if self.manifest.normalizer is None:
            raise InputError(f"the dataset {self.path} has not been preprocessed: it carries no normaliser")
        return self.manifest.normalizer

    def rows(self, split: str) -> Iterator[Row]:
        """The rows of one split in stored order, a shard's batch at a time.

        Raises:
            InputError: no such split, or a shard is damaged or missing.
        """
        for record in self._records(split):
            yield Row(**record)

    def rejected(self) -> Iterator[Rejected]:
        """The rows left out so far, in the order they were met.

        Raises:
            InputError: their file is missing or damaged.
        """
        for row in _records(self.path / REJECTED, REJECT_SCHEMA):
            yield Rejected(**row)

    def columns(self, split: str) -> tuple[list[str], list[str], npt.NDArray[np.int64]]:
        """A whole split in memory: ids, texts, and class numbers (n,) int64 in the order of ``manifest.labels``."""
        class_of = {label: number for number, label in enumerate(self.manifest.labels)}
        rows = list(self.rows(split))
        classes = np.array([class_of[row.label] for row in rows], dtype=np.int64)
        return [row.id for row in rows], [row.text for row in rows], classes

    def metadata(self, split: str) -> list[dict[str, str]]:
        """The further columns of a whole split's rows, in the order of ``columns``; nothing else is read.

        Raises:
            InputError: see ``rows``.
        """
        return [record.get(_METADATA, {}) for record in self._records(split, ["label", _METADATA])]

    def _records(self, split: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """The rows of one split with all their columns, or with some, the label among them."""
        if split not in self.manifest.counts:
            raise InputError(f"{self.path} has no split {split!r}; it has {', '.join(self.manifest.counts)}")
        schema = _row_schema(self.manifest.metadata)
        counts: Counter[str] = Counter()
        for shard in sorted((self.path / split).glob("*.parquet")):
            for record in _records(shard, schema, columns):
                if None in (*record.values(), *(record.get(_METADATA) or {}).values()):
                    raise InputError(f"{shard} has a row without id, text or label, or with half of its metadata")
                counts[record["label"]] += 1
                yield record
        if counts != Counter(self.manifest.counts[split]):
            raise InputError(
                f"{self.path / split} holds other rows than {MANIFEST} counts: {dict(counts)}, "
                f"not {self.manifest.counts[split]}"
            )


def _row_schema(metadata: Sequence[str]) -> pa.Schema:
    strings = [(name, pa.string()) for name in ("id", "text", "label")]
    further = [(_METADATA, pa.struct([(name, pa.string()) for name in metadata]))] if metadata else []
    return pa.schema([*strings, *further])


def _records(path: Path, schema: pa.Schema, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file of exactly this schema, a batch in memory at a time."""
    try:
        with pq.ParquetFile(path) as file:
            if file.schema_arrow != schema:
                raise ValueError(f"its columns are not {', '.join(schema.names)}, all text")
            for batch in file.iter_batches(columns=columns):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable Parquet shard of a dataset ({error})") from error


class _ShardWriter:
    """Rows to numbered Parquet files in one folder, in memory for one shard at most."""

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
    """Collects rows and rejections; ``dataset_writer`` makes one."""

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
        """Keep a row.

        Raises:
            ValueError: it has other further columns than the writer was told.
        """
        if row.metadata.keys() != set(self._metadata):
            raise ValueError(f"row {row.id} has the further columns {list(row.metadata)}, not {self._metadata}")
        self._shards[split].add(row)
        for value in (row.id, row.label, row.text, *(row.metadata[name] for name in self._metadata)):
            encoded = value.encode("utf-8")
            self._digests[split].update(len(encoded).to_bytes(8, "little") + encoded)
        self.counts[split][row.label] += 1

    def reject(self, row: Rejected) -> None:
        """Leave a row out, with its reason; text and label are kept as far as they can be stored."""
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
        """Write what is pending and the manifest; to be called once, last.

        Raises:
            ValueError: more or fewer rows were counted than written, or a row has a label not in ``labels``.
        """
        for shard in self._shards.values():
            shard.flush()
        self._flush_rejects()
        self._rejects.close()
        strangers = {label for counts in self.counts.values() for label in counts} - set(labels)
        if strangers:
            raise ValueError(f"rows carry labels that are not among {labels}: {sorted(strangers)}")
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
    """Write a dataset folder that appears whole when the body ends well, and not at all when it raises.

    Every row has the further columns ``metadata``.
    """
    with new_folder(Path(path)) as folder:
        yield DatasetWriter(folder, splits, metadata, rows_per_shard)


def _storable(text: str | None) -> str | None:
    if text is None:
        return None
    return text[:_REJECTED_TEXT_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
