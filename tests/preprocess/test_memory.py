"""Memory per row, from which follows what ten million rows take beside the modules and one shard (some 250 MiB)."""

import tracemalloc
from importlib import import_module
from pathlib import Path

import numpy as np

from textgate.components.contracts import Preprocess
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.preprocess.near_duplicates import group_texts
from textgate.components.preprocess.outcomes import CODE
from textgate.components.preprocess.preprocess import _near_duplicate_groups, _split
from textgate.components.preprocess.signatures import Signatures
from textgate.components.preprocess.texts import RowTable, distinct_texts

ROWS = 200_000
MAX_BYTES_PER_ROW = 85


def test_a_row_takes_at_most_85_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(13)
    import_module("scipy.sparse.csgraph")
    tracemalloc.start()
    try:
        rows = RowTable(["a", "b"])
        rows.digests += rng.bytes(16 * ROWS)
        rows.keys.frombytes(rng.bytes(8 * ROWS))
        rows.labels.frombytes(rng.integers(0, 2, ROWS, dtype=np.uint16).tobytes())
        rows.parts.frombytes(bytes(ROWS))
        rows.foreign += bytes(ROWS)
        with Signatures(tmp_path) as signatures:
            signatures.add("a text of more than twenty characters")
            signatures.flush()
            # All rows have the signature of short texts except the first one, so that no file of 24 MB is written.
            signatures._long_enough += bytes(ROWS - 1)
            texts = distinct_texts(rows)
            groups = group_texts(texts, signatures, 0.65)
        manifest = DatasetManifest(source="f", labels=["a", "b"], counts={}, rows_in=0, rejected={}, fingerprint="")
        _split(texts, groups, ["all"], manifest, Preprocess(), None)
        _near_duplicate_groups(texts, groups, 0.65, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert abs((texts.outcome == CODE["test"]).mean() - 0.15) < 0.01
    assert peak / ROWS < MAX_BYTES_PER_ROW
