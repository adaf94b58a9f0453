"""Parallel ingest of a source of several files."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textgate.components.contracts import Dataset, InputError, Source
from textgate.components.ingest.ingest import ingest_source
from textgate.components.ingest.source_parts import ingest_part, join_parts
from textgate.components.storage import Store


def ingest_in_parts(source: Source, parts: int, out: Path) -> Dataset:
    folders = [out / f"part-{number}" for number in range(parts)]
    for number, folder in enumerate(folders):
        ingest_part(source, number, parts, folder, out / f"downloads-{number}")
    random.Random(7).shuffle(folders)
    join_parts(source, folders, out / "joined", out / "downloads")
    return Dataset.open(out / "joined")


def ingest_at_once(source: Source, out: Path) -> Dataset:
    ingest_source(source, out / "whole", out / "downloads")
    return Dataset.open(out / "whole")


def assert_equal(one: Dataset, other: Dataset) -> None:
    assert one.manifest == other.manifest
    for split in one.manifest.counts:
        assert list(one.rows(split)) == list(other.rows(split))
    assert list(one.rejected()) == list(other.rejected())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of seven Parquet files with rows to accept, reject and filter, next to files without data."""
    path = tmp_path_factory.mktemp("source")
    rng = random.Random(13)
    for file in range(7):
        rows = range(rng.randint(1, 40))
        columns: dict[str, list[Any]] = {
            "body": [rng.choice(["", f"text {file}", f"text {rng.random()}"]) for _ in rows],
            "stars": [rng.choice(["1", "5", "3", None]) for _ in rows],
            "fold": [str(rng.randrange(4)) for _ in rows],
        }
        pq.write_table(pa.table(columns), path / f"part-{file:05d}.parquet")
    (path / "README.md").write_text("rows")
    (path / "_SUCCESS").write_text("")
    return path


STARS = {"text": "body", "label": "stars", "max_rejected": 1}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"where": "fold != 3"},
    {"test": "fold == 0"},
    {"test": "fold == 0", "validation": "fold == 1"},
    {"labels": {"1": "bad", "5": "good"}, "where": "stars != 3", "test": "fold == 2"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("parts", [2, 7, 10])
def test_ingest_in_parts_gives_the_same_dataset(
    parts: int, settings: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    source = Source.model_validate({**STARS, "uri": str(folder), **settings})
    whole = ingest_at_once(source, tmp_path)
    assert whole.manifest.rejected
    assert_equal(ingest_in_parts(source, parts, tmp_path), whole)


def test_each_part_downloads_only_its_own_files_from_s3(folder: Path, store: Store, tmp_path: Path) -> None:
    store.upload_folder(folder, "films/rows")
    store.put("films/rows/older/part-00000.parquet", b"no data of this folder")
    source = Source.model_validate({**STARS, "uri": f"s3://{store.bucket}/films/rows/"})
    joined = ingest_in_parts(source, 3, tmp_path)
    assert (
        joined.manifest.fingerprint
        == ingest_at_once(Source.model_validate({**STARS, "uri": str(folder)}), tmp_path).manifest.fingerprint
    )
    fetched = [{path.name for path in (tmp_path / f"downloads-{part}").rglob("*.parquet")} for part in range(3)]
    assert [len(names) for names in fetched] == [2, 2, 3]
    assert len(set.union(*fetched)) == 7


def test_the_csv_layout_applies_to_parts(tmp_path: Path) -> None:
    source_folder = tmp_path / "source"
    source_folder.mkdir()
    for file in range(3):
        (source_folder / f"{file}.csv").write_text(f"bad text {file},1\ngood text {file},2\n")
    source = Source.model_validate(
        {
            "uri": str(source_folder),
            "csv": {
                "columns": ["body", "class"],
                "text": "body",
                "label": "class",
                "labels": {"2": "good", "1": "bad"},
            },
        }
    )
    joined = ingest_in_parts(source, 2, tmp_path)
    assert_equal(joined, ingest_at_once(source, tmp_path))
    assert joined.manifest.labels == ["good", "bad"]


def test_the_classes_are_checked_over_all_parts(tmp_path: Path) -> None:
    source_folder = tmp_path / "source"
    source_folder.mkdir()
    for file in range(2):
        (source_folder / f"{file}.jsonl").write_text(json.dumps({"text": f"text {file}", "label": "same"}) + "\n")
    source = Source.model_validate({"uri": str(source_folder)})
    with pytest.raises(InputError, match=r"every row of .* has the label 'same'"):
        ingest_in_parts(source, 2, tmp_path)
    assert not (tmp_path / "joined").exists()


def test_a_row_in_both_given_splits_is_an_input_error_in_its_part(folder: Path, tmp_path: Path) -> None:
    settings = {"uri": str(folder), "text": "body", "label": "stars", "test": "fold == 0", "validation": "fold != 3"}
    with pytest.raises(InputError, match=r"select the row part-0000\d\.parquet:\d+: change one of them"):
        ingest_part(Source.model_validate(settings), 1, 2, tmp_path / "out", tmp_path)


def test_a_source_without_parts_is_an_input_error(tmp_path: Path, store: Store) -> None:
    for label in ("a", "b"):
        (tmp_path / "classes" / label).mkdir(parents=True)
        (tmp_path / "classes" / label / "1.txt").write_text("text")
    with pytest.raises(InputError, match="holds one folder a class, which is not read in parts"):
        ingest_part(Source(uri=str(tmp_path / "classes")), 0, 2, tmp_path / "out", tmp_path)
    with pytest.raises(InputError, match=r"there is nothing at s3://.*films/"):
        ingest_part(Source(uri=f"s3://{store.bucket}/films/"), 0, 2, tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()
