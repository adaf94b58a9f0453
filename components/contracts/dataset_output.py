"""Writer of datasets: Parquet shards per split, rejected rows and the manifest."""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from textgate.components.contracts.dataset import (
    KEY,
    MANIFEST,
    METADATA,
    REJECT_SCHEMA,
    REJECTED,
    DatasetManifest,
    Rejected,
    Row,
    row_schema,
)
from textgate.components.contracts.dataset_splits import NearDuplicateGroups, SplitChoice
from textgate.components.contracts.files import new_folder
from textgate.components.contracts.label_counts import CopiesOfTest, CorrectionCounts
from textgate.components.contracts.losses import LossCounter
from textgate.components.contracts.normalizer import TextNormalizer
from textgate.components.contracts.source_file import SourceFile
from textgate.components.redaction import redact

ROWS_PER_SHARD = 50_000
_CHARACTERS_PER_SHARD = 32_000_000
"""Limit on the characters of a shard, because the writer holds one shard in memory."""
_REJECTED_TEXT_CHARACTERS = 200


class _ShardWriter:
    """Writer of rows to numbered Parquet files in one folder, with one shard in memory."""

    def __init__(self, folder: Path, schema: pa.Schema, rows_per_shard: int) -> None:
        self.folder, self.schema, self.rows_per_shard = folder, schema, rows_per_shard
        self.rows: list[dict[str, Any]] = []
        self.characters = self.shards = 0
        folder.mkdir()

    def add(self, row: Row) -> None:
        """Add a row; write a shard if it is full."""
        self.rows.append({"id": row.id, "text": row.text, "label": row.label, KEY: row.key, METADATA: row.metadata})
        self.characters += len(row.text) + sum(map(len, row.metadata.values()))
        if len(self.rows) == self.rows_per_shard or self.characters >= _CHARACTERS_PER_SHARD:
            self.flush()

    def flush(self) -> None:
        """Write the pending rows as a shard; write an empty one if there is none yet."""
        if self.rows or not self.shards:
            table = pa.Table.from_pylist(self.rows, schema=self.schema)
            pq.write_table(table, self.folder / f"part-{self.shards:05d}.parquet", compression="zstd")
            self.rows, self.characters, self.shards = [], 0, self.shards + 1


class DatasetWriter:
    """Writer of the rows and rejected rows of a dataset; ``dataset_writer`` returns one."""

    def __init__(
        self, folder: Path, splits: Iterable[str], metadata: Sequence[str], rows_per_shard: int, keyed: bool
    ) -> None:
        self._folder, self._metadata, self._keyed = folder, list(metadata), keyed
        schema = row_schema(metadata, keyed)
        self._shards = {split: _ShardWriter(folder / split, schema, rows_per_shard) for split in splits}
        self._digests = {split: hashlib.sha256() for split in self._shards}
        self._keys = {split: array("Q") for split in self._shards}
        self._rejects = pq.ParquetWriter(folder / REJECTED, REJECT_SCHEMA, compression="zstd")
        self._pending_rejects: list[dict[str, str | int | None]] = []
        self.counts: dict[str, Counter[str]] = {split: Counter() for split in self._shards}
        self.rejected: Counter[str] = Counter()
        self.losses = LossCounter()

    def add(self, split: str, row: Row) -> None:
        """Add a row to a split.

        Raises:
            ValueError: The row has other metadata columns than the writer, or has a key where the others have none.
        """
        if row.metadata.keys() != set(self._metadata):
            raise ValueError(f"row {row.id} has the metadata columns {list(row.metadata)}, not {self._metadata}")
        if bool(row.key) != self._keyed:
            raise ValueError(f"row {row.id} has {'a' if row.key else 'no'} key, unlike the other rows")
        self._shards[split].add(row)
        if self._keyed:
            self._keys[split].append(int(row.key, 16))
        key = [row.key] if self._keyed else []
        for value in (row.id, row.label, row.text, *key, *(row.metadata[name] for name in self._metadata)):
            encoded = value.encode("utf-8")
            self._digests[split].update(len(encoded).to_bytes(8, "little") + encoded)
        self.counts[split][row.label] += 1

    def reject(self, row: Rejected) -> None:
        """Add a rejected row with its reason; shorten its text, and replace characters that cannot be stored."""
        text, label = _storable(row.text), _storable(row.label)
        self._pending_rejects.append(vars(row) | {"label": label, "text": text})
        self.rejected[row.reason] += 1
        self.losses.add(row.reason, label, row.split, row.id, text)
        if len(self._pending_rejects) == ROWS_PER_SHARD:
            self._flush_rejects()

    def _flush_rejects(self) -> None:
        self._rejects.write_table(pa.Table.from_pylist(self._pending_rejects, schema=REJECT_SCHEMA))
        self._pending_rejects = []

    def finish(
        self,
        source: str,
        labels: list[str],
        rows_filtered: int = 0,
        normalizer: TextNormalizer | None = None,
        test_split: SplitChoice | None = None,
        near_duplicate_groups: NearDuplicateGroups | None = None,
        warnings: Sequence[str] = (),
        files: Sequence[SourceFile] = (),
        corrections: CorrectionCounts | None = None,
        test_copies: CopiesOfTest | None = None,
        source_version: str = "",
    ) -> DatasetManifest:
        """Write the pending rows and the manifest. Call it once, after all rows.

        Args:
            source: URI of the source.
            labels: Label names in class order.
            rows_filtered: Rows of the source that the row filter did not select.
            normalizer: Text cleaning that was applied; None before preprocessing.
            test_split: How the test split was chosen; None before preprocessing.
            near_duplicate_groups: Near duplicates that were found; None if they were not looked for.
            warnings: Sentences about the labels.
            files: How each file of the source was read.
            corrections: Effect of the corrections of labels; None if there are none.
            test_copies: Rows that are copies of given test texts; None without a given test split.
            source_version: Version of the source that was read; empty if it is not known.

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
            source=redact(source),
            source_version=source_version,
            labels=labels,
            counts={
                split: {label: counts[label] for label in labels if counts[label]}
                for split, counts in self.counts.items()
            },
            rows_in=sum(counts.total() for counts in self.counts.values()) + self.rejected.total(),
            rows_filtered=rows_filtered,
            rejected=dict(sorted(self.rejected.items())),
            losses=self.losses.losses(),
            warnings=list(warnings),
            normalizer=normalizer,
            metadata=self._metadata,
            near_duplicates=self._near_duplicates() if self._keyed else None,
            near_duplicate_groups=near_duplicate_groups,
            corrections=corrections,
            test_copies=test_copies,
            test_split=test_split,
            files=list(files),
            fingerprint=digest.hexdigest(),
        )
        (self._folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
        return manifest

    def _near_duplicates(self) -> dict[str, int]:
        ordered = {split: np.sort(np.frombuffer(keys, np.uint64)) for split, keys in self._keys.items()}
        return {split: int((keys[1:] == keys[:-1]).sum()) for split, keys in ordered.items()}


@contextmanager
def dataset_writer(
    path: str | Path,
    splits: Iterable[str],
    metadata: Sequence[str] = (),
    rows_per_shard: int = ROWS_PER_SHARD,
    keyed: bool = False,
) -> Iterator[DatasetWriter]:
    """Write a dataset folder atomically: it appears if the body succeeds, and not at all if it raises.

    Args:
        path: Folder to create.
        splits: Names of the splits.
        metadata: Names of the metadata columns that every row has.
        rows_per_shard: Largest number of rows of a Parquet file.
        keyed: Whether every row has a key.
    """
    with new_folder(Path(path)) as folder:
        yield DatasetWriter(folder, splits, metadata, rows_per_shard, keyed)


def _storable(text: str | None) -> str | None:
    """Shorten a text and replace unpaired surrogates, which UTF-8 cannot encode."""
    if text is None:
        return None
    return text[:_REJECTED_TEXT_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
