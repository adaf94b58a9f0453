"""Dataset: labelled texts on disk, the output of ingest and preprocess.

<folder>/dataset.json                        manifest (DatasetManifest)
<folder>/<split>/part-00000.parquet          id, text, label: strings; key: a string, if the dataset was preprocessed;
                                             metadata: a struct of strings, if there is any
<folder>/rejected.parquet                    id, reason, label, text (first 200 characters), split, line, column; those
                                             of version 0.1 have the first four
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import model_validator

from textgate.components.contracts.dataset_splits import NearDuplicateGroups, SplitChoice
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.label_counts import CopiesOfTest, CorrectionCounts
from textgate.components.contracts.losses import Loss
from textgate.components.contracts.normalizer import TextNormalizer
from textgate.components.contracts.parse import parse_json
from textgate.components.contracts.source_file import SourceFile
from textgate.components.contracts.text_keys import Keys, key_array
from textgate.components.step import InputError

MANIFEST = "dataset.json"
REJECTED = "rejected.parquet"
METADATA = "metadata"
KEY = "key"
LEFT_OUT = "left out to balance the classes"
"""Reason of preprocess to reject rows that ``preprocess.balance`` leaves out."""
NOT_IN_SHARE = "not in the share of the training texts"
DROPPED = "dropped by source.corrections"
REQUESTED = frozenset({LEFT_OUT, NOT_IN_SHARE, DROPPED})
"""Reasons of rejection that the recipe asks for."""
_EARLIER_REJECT_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "reason", "label", "text")])
REJECT_SCHEMA = pa.schema(
    [*_EARLIER_REJECT_SCHEMA, ("split", pa.string()), ("line", pa.int64()), ("column", pa.int64())]
)


class DatasetManifest(FrozenModel):
    """Content of ``dataset.json``. It validates only if rows in = rows out + rejected."""

    format_version: Literal[1] = 1
    """Version of the format of the manifest."""
    source: str
    """URI of the source."""
    source_version: str = ""
    """Version of the content that was read, of several sources one after the other; empty if it is not known, as in
    datasets of earlier versions."""
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
    losses: list[Loss] | None = None
    """The same by reason, label and split, with examples; None in datasets of earlier versions, where it is unknown."""
    warnings: list[str] = []
    """Sentences about the labels of the source, such as spellings that may be one label."""
    corrections: CorrectionCounts | None = None
    """Effect of ``source.corrections``; None without it."""
    test_copies: CopiesOfTest | None = None
    """Rows that are copies of given test texts; None without a given test split, or in datasets of earlier versions."""
    normalizer: TextNormalizer | None = None
    """Text cleaning that was applied; None before preprocessing."""
    metadata: list[str] = []
    """Names of the metadata columns of every row, in the order of the recipe."""
    near_duplicates: dict[str, int] | None = None
    """Split to number of rows whose key another row of the split has already, because they differ in case, punctuation,
    width, markup, addresses or mentions only; None before preprocessing, when rows have no key."""
    near_duplicate_groups: NearDuplicateGroups | None = None
    """Near duplicates beyond those that share a key; None if they were not looked for, or by an earlier version."""
    test_split: SplitChoice | None = None
    """How the test split was chosen; None before preprocessing, and unknown (by hash or by the source) in datasets of
    earlier versions."""
    files: list[SourceFile] = []
    """How each file of the source was read; empty if it is not known, as in datasets of earlier versions, and for data
    sets of the hub and folders of texts per class."""
    fingerprint: str
    """Hex sha256 over split, id, label, text, key and metadata of every row, in order."""

    @model_validator(mode="after")
    def _rows_add_up(self) -> "DatasetManifest":
        if self.rows_in != self.rows_out + sum(self.rejected.values()):
            raise ValueError(
                f"rows in ({self.rows_in}) must equal rows out ({self.rows_out}) + rejected ({self.rejected})"
            )
        if self.losses is not None:
            by_reason: Counter[str] = Counter()
            for loss in self.losses:
                by_reason[loss.reason] += loss.rows
            if by_reason != Counter(self.rejected):
                raise ValueError(f"the losses ({dict(by_reason)}) must add up to rejected ({self.rejected})")
        return self

    @property
    def rows_out(self) -> int:
        """Number of rows in all splits."""
        return sum(sum(labels.values()) for labels in self.counts.values())

    @property
    def unusable(self) -> dict[str, int]:
        """Reason of rejection to number of rows, without the reasons in ``REQUESTED``."""
        return {reason: rows for reason, rows in self.rejected.items() if reason not in REQUESTED}

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
    """The text."""
    label: str
    """Label name."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Column in ``source.metadata`` to value; an empty string if the source has no value."""
    key: str = ""
    """Key of the raw text (see ``text_keys.text_key``); empty before preprocessing."""


@dataclass(frozen=True)
class Rejected:
    """One rejected row with the reason."""

    id: str
    """Origin of the row as ``file:row``."""
    reason: str
    """Reason of the rejection."""
    label: str | None
    """Name of the class, or the label in the source if it is no class; None if it could not be read."""
    text: str | None
    """Beginning of the text; None if it could not be read."""
    split: str | None = None
    """Split of the ingested rows that it would be in; None if it is not known."""
    line: int | None = None
    """First line of the row in its file, from 1; None if it is not known."""
    column: int | None = None
    """Position in the line, from 1, of what could not be read; None if it is not known."""


@dataclass(frozen=True)
class Dataset:
    """Dataset folder, opened for reading."""

    path: Path
    """The folder."""
    manifest: DatasetManifest
    """Its manifest."""

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
        for values in _read_parquet(self.path / REJECTED, REJECT_SCHEMA, earlier=_EARLIER_REJECT_SCHEMA):
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
        return [values.get(METADATA, {}) for values in self._row_values(split, ["label", METADATA])]

    def keys(self, split: str) -> Keys | None:
        """Return the keys of a split's rows, (n,) uint64 in the order of ``columns``; None if rows have none.

        Raises:
            InputError: See ``rows``; or a key is not valid.
        """
        if self.manifest.near_duplicates is None:
            return None
        keys = [values[KEY] for values in self._row_values(split, ["label", KEY])]
        try:
            return key_array(keys)
        except ValueError as error:
            raise InputError(f"{self.path / split} has a row with an invalid key: {error}") from error

    def _row_values(self, split: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows of one split with all columns, or with some that include the label; check their counts."""
        if split not in self.manifest.counts:
            raise InputError(f"{self.path} has no split {split!r}; it has {', '.join(self.manifest.counts)}")
        schema = row_schema(self.manifest.metadata, keyed=self.manifest.near_duplicates is not None)
        counts: Counter[str] = Counter()
        for shard in sorted((self.path / split).glob("*.parquet")):
            for values in _read_parquet(shard, schema, columns):
                if None in (*values.values(), *(values.get(METADATA) or {}).values()):
                    raise InputError(f"{shard} has a row without id, text, label or key, or with half of its metadata")
                counts[values["label"]] += 1
                yield values
        if counts != Counter(self.manifest.counts[split]):
            raise InputError(
                f"{self.path / split} holds other rows than {MANIFEST} counts: {dict(counts)}, "
                f"not {self.manifest.counts[split]}"
            )


def row_schema(metadata: Sequence[str], keyed: bool) -> pa.Schema:
    """Return the Parquet schema of rows with these metadata columns, and with keys or without."""
    strings = [(name, pa.string()) for name in ("id", "text", "label", *([KEY] if keyed else []))]
    struct = [(METADATA, pa.struct([(name, pa.string()) for name in metadata]))] if metadata else []
    return pa.schema([*strings, *struct])


def _read_parquet(
    path: Path, schema: pa.Schema, columns: list[str] | None = None, earlier: pa.Schema | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file with this schema or the earlier one, with one batch in memory at a time."""
    try:
        with pq.ParquetFile(path) as file:
            if file.schema_arrow not in (schema, earlier):
                raise ValueError(f"its columns are not {', '.join(schema.names)}, each of its type")
            for batch in file.iter_batches(columns=columns):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable Parquet shard of a dataset ({error})") from error
