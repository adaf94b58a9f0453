"""Metadata columns from every kind of source."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import Dataset, InputError, Source
from textgate.components.ingest.hub_source import read_split
from textgate.components.ingest.ingest import ingest_source
from textgate.components.ingest.source_parts import ingest_part, join_parts

ROWS = [
    {"text": "fine film", "label": "pos", "genre": " comedy ", "year": "1999"},
    {"text": "dull, long film", "label": "neg", "genre": "", "year": "2001"},
    {"text": "odd film", "label": "neg", "genre": "comédie", "year": "1999"},
]
KEPT = [{"genre": row["genre"].strip(), "year": row["year"]} for row in ROWS]


def ingest(path: Path, out: Path, **settings_: Any) -> Dataset:
    source = Source.model_validate({"uri": str(path), "metadata": ["genre", "year"], **settings_})
    ingest_source(source, out / "out", out / "downloads")
    return Dataset.open(out / "out")


def kept(dataset: Dataset, split: str = "all") -> list[dict[str, str]]:
    return [row.metadata for row in dataset.rows(split)]


def write(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_every_format_keeps_the_metadata_columns(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif name.endswith("jsonl"):
        write(path, ROWS)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(ROWS[0]), delimiter="\t" if name.endswith("tsv") else ",")
            writer.writeheader()
            writer.writerows(ROWS)
    dataset = ingest(path, tmp_path)
    assert dataset.manifest.metadata == ["genre", "year"]
    assert kept(dataset) == dataset.metadata("all") == KEPT
    with pytest.raises(InputError, match=rf"no column 'studio' in {name}; .* It has text, label, genre, year$"):
        ingest(path, tmp_path / "other", metadata=["genre", "studio"])
    assert not (tmp_path / "other" / "out").exists()


def test_values_become_text_and_missing_ones_are_empty(tmp_path: Path) -> None:
    values = [1999, 2.5, 3.0, True, None, ["a", "b"], {"a": 1}, "  plain  ", ""]
    rows = [{"text": f"film {n}", "label": n % 2, "genre": value, "year": n} for n, value in enumerate(values)]
    write(tmp_path / "a.jsonl", [*rows, {"text": "film", "label": 1, "year": 9}])
    assert [row["genre"] for row in kept(ingest(tmp_path / "a.jsonl", tmp_path))] == [
        *("1999", "2.5", "3", "True", "", "a b", "{'a': 1}", "plain", "", "")
    ]
    table = pa.table({"text": ["x", "y"], "label": ["a", "b"], "genre": pa.array([None, 7.0]), "year": [True, None]})
    pq.write_table(table, tmp_path / "b.parquet")
    typed = ingest(tmp_path / "b.parquet", tmp_path / "typed")
    assert kept(typed) == [{"genre": "", "year": "True"}, {"genre": "7", "year": ""}]


def test_label_and_split_can_be_metadata(tmp_path: Path) -> None:
    for split, labels in {"train": "ab", "test": "ba"}.items():
        write(tmp_path / "set" / f"{split}.jsonl", [{"text": f"{split} {n}", "label": n} for n in labels])
    dataset = ingest(
        tmp_path / "set", tmp_path, metadata=["split", "label"], test="split == test", labels={"a": "A", "b": "B"}
    )
    assert kept(dataset) == [{"split": "train", "label": label} for label in "ab"]
    assert kept(dataset, "test") == [{"split": "test", "label": label} for label in "ba"]


def test_a_tree_of_class_folders_has_only_the_split_column(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("pos", "neg"):
            (tmp_path / "tree" / split / label).mkdir(parents=True)
            (tmp_path / "tree" / split / label / "1.txt").write_text(f"{split} {label}")
    dataset = ingest(tmp_path / "tree", tmp_path, metadata=["split"])
    assert [row["split"] for row in kept(dataset)] == ["test", "test", "train", "train"]
    with pytest.raises(InputError, match=r"no column 'genre' in tree; .* It has text, label, split"):
        ingest(tmp_path / "tree", tmp_path / "other")


def test_metadata_may_come_from_either_joined_file(tmp_path: Path) -> None:
    write(tmp_path / "set" / "posts.jsonl", [{"id": n, "text": f"film {n}", "year": 1990 + n} for n in range(4)])
    truth = [{"id": n, "label": "ab"[n % 2], "genre": f"genre {n}"} for n in range(3)]
    write(tmp_path / "set" / "truth.jsonl", [*truth, {"id": 2, "label": "a", "genre": "another"}])
    join = {"left": "posts.jsonl", "right": "truth.jsonl", "on": "id"}
    dataset = ingest(tmp_path / "set", tmp_path, join=join)
    assert kept(dataset) == [{"genre": f"genre {n}", "year": str(1990 + n)} for n in range(2)]
    # Lines that differ in metadata only are several matches too.
    assert dataset.manifest.rejected == {"no match in the joined file": 1, "several matches in the joined file": 1}
    with pytest.raises(InputError, match=r"no column 'studio' in posts\.jsonl or truth\.jsonl"):
        ingest(tmp_path / "set", tmp_path / "other", join=join, metadata=["studio"])


def test_class_numbers_of_the_hub_become_names(tmp_path: Path) -> None:
    import datasets

    genre = datasets.ClassLabel(names=["comedy", "drama"])
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.Value("int64"),
            "genre": genre,
            "year": datasets.Value("int64"),
        }
    )
    rows = {"text": ["a", "b", "c"], "label": [1, 0, 1], "genre": [0, 1, -1], "year": [1999, 2000, 2001]}
    data = datasets.Dataset.from_dict(rows, features=features).to_iterable_dataset()
    source = Source(uri="hf://org/name", metadata=["genre", "year"])
    records = read_split(data, "train", source, ["text", "label", "genre", "year"])
    assert [record.columns and (record.columns["genre"], record.columns["year"]) for record in records] == [
        ("comedy", 1999),
        ("drama", 2000),
        (None, 2001),
    ]


def test_a_hub_data_set_keeps_its_metadata(tmp_path: Path) -> None:
    write(tmp_path / "set" / "train.jsonl", ROWS)
    source = Source(uri=f"hf://{tmp_path / 'set'}", metadata=["genre", "split"])
    ingest_source(source, tmp_path / "out", tmp_path)
    dataset = Dataset.open(tmp_path / "out")
    assert kept(dataset) == [{"genre": row["genre"], "split": "train"} for row in KEPT]
    with pytest.raises(InputError, match=r"^no column 'studio' in hf://.* It has text, label, genre, year, split"):
        ingest_source(source.model_copy(update={"metadata": ["studio"]}), tmp_path / "other", tmp_path)


def test_undecodable_or_over_long_metadata_rejects_the_row(tmp_path: Path) -> None:
    rows = [{**row, "id": n} for n, row in enumerate(ROWS)]
    rows[0] |= {"genre": "half a pair \ud800"}
    long = [{**ROWS[0], "genre": "x" * 400}, ROWS[1]]
    write(tmp_path / "a.jsonl", [*rows, {**ROWS[0], "text": "kept"}])
    assert ingest(tmp_path / "a.jsonl", tmp_path).manifest.rejected == {"undecodable bytes": 1}
    pq.write_table(pa.Table.from_pylist([*long, {**ROWS[0], "text": "kept"}]), tmp_path / "b.parquet")
    dataset = ingest(tmp_path / "b.parquet", tmp_path / "long", max_line_bytes=300)
    assert dataset.manifest.rejected == {"over-long line": 1}
    assert kept(dataset) == [KEPT[1], KEPT[0]]


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.text(max_size=3))


@settings(deadline=None, max_examples=40)
@given(
    values=st.lists(st.dictionaries(st.sampled_from(["genre", "year"]), VALUES), max_size=12), parts=st.integers(1, 4)
)
def test_any_values_are_kept_or_rejected_equally_in_parts(
    values: list[dict[str, Any]], parts: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("metadata")
    sure = {"genre": "x", "year": 1}
    for file in range(4):
        rows = [{"text": f"{file} {n}", "label": n % 2, **row} for n, row in enumerate([sure, sure, *values[file::4]])]
        write(folder / "set" / f"{file}.jsonl", rows)
    source = Source(uri=str(folder / "set"), metadata=["genre", "year"])
    whole = ingest_source(source, folder / "whole", folder)
    assert whole.rows_in == 8 + len(values)
    for part in range(parts):
        ingest_part(source, part, parts, folder / f"part-{part}", folder)
    joined = join_parts(source, [folder / f"part-{part}" for part in range(parts)][::-1], folder / "joined", folder)
    assert joined == whole
    rows_ = list(Dataset.open(folder / "whole").rows("all"))
    assert list(Dataset.open(folder / "joined").rows("all")) == rows_
    assert Dataset.open(folder / "joined").metadata("all") == [row.metadata for row in rows_]
    assert all(list(row.metadata) == ["genre", "year"] for row in rows_)


def test_a_missing_metadata_column_in_one_part_is_an_input_error(tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.jsonl", ROWS)
    write(tmp_path / "set" / "b.jsonl", [{"text": "x", "label": "pos", "year": 1}])
    source = Source(uri=str(tmp_path / "set"), metadata=["genre"])
    with pytest.raises(InputError, match=r"no column 'genre' in b\.jsonl; .* It has text, label, year"):
        ingest_part(source, 1, 2, tmp_path / "part", tmp_path)
    with pytest.raises(InputError, match=r"no column 'genre' in b\.jsonl"):
        ingest_source(source, tmp_path / "whole", tmp_path)
    assert not (tmp_path / "part").exists()
    assert not (tmp_path / "whole").exists()
