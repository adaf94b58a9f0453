"""Join of two files by a key."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import Dataset, InputError, Source
from textgate.components.contracts.recipe.source import Join
from textgate.components.ingest.ingest import ingest_source

JOIN = Join(left="posts.jsonl", right="truth.jsonl", on="id")


def write(path: Path, records: list[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))


def ingest(folder: Path, out: Path, **settings_: Any) -> Dataset:
    source = Source.model_validate({"uri": str(folder), "join": JOIN, "max_rejected": 1, **settings_})
    ingest_source(source, out / "dataset", out / "downloads")
    return Dataset.open(out / "dataset")


def rows(dataset: Dataset, split: str = "all") -> list[tuple[str, str, str]]:
    return [(row.id, row.text, row.label) for row in dataset.rows(split)]


def test_left_rows_get_the_columns_of_the_right_file_and_keep_their_own(tmp_path: Path) -> None:
    write(
        tmp_path / "posts.jsonl",
        [
            {"id": "1", "text": "one", "label": None},
            {"id": 2, "text": "two", "kind": "own"},
            {"id": "3", "text": "three", "label": "own"},
            {"text": "no key"},
            {"id": "9", "text": "no match"},
            {"id": "4", "text": "disputed"},
            {"id": "2", "text": "twice", "kind": "own"},
            "no object",
            {"id": 7, "text": "seven"},
        ],
    )
    write(
        tmp_path / "truth.jsonl",
        [
            {"id": "3", "label": "a", "kind": "x"},
            {"id": "2", "label": "b", "kind": "x", "mean": 0.1},
            {"id": "2.0", "label": "c"},
            {"id": 2.0, "label": "b", "kind": "x", "mean": 0.2},
            {"id": "4", "label": "a"},
            {"id": "4", "label": "b"},
            {"id": None, "label": "a"},
            {"id": 7.0, "label": "a", "kind": "x"},
            {"id": "1", "label": "a", "kind": "x"},
            "no object",
        ],
    )
    dataset = ingest(tmp_path, tmp_path / "out", where="kind in [own, x]")
    # A null in the left file takes precedence over the value of the right file.
    assert rows(dataset) == [
        ("posts.jsonl:2", "two", "b"),
        ("posts.jsonl:3", "three", "own"),
        ("posts.jsonl:7", "twice", "b"),
        ("posts.jsonl:9", "seven", "a"),
    ]
    assert {row.id: row.reason for row in dataset.rejected()} == {
        "posts.jsonl:1": "missing label",
        "posts.jsonl:4": "no match in the joined file",
        "posts.jsonl:5": "no match in the joined file",
        "posts.jsonl:6": "several matches in the joined file",
        "posts.jsonl:8": "not a record",
    }
    assert (dataset.manifest.rows_in, dataset.manifest.rows_filtered) == (9, 0)


def test_files_in_several_folders_are_joined_per_folder(tmp_path: Path) -> None:
    source = tmp_path / "corpus"
    source.mkdir()
    (source / "readme.txt").write_text("Webis")
    for part, label in (("part-test", "b"), ("part-train", "a")):
        write(source / part / "posts.jsonl", [{"id": "1", "text": f"first of {part}"}, {"id": "2", "text": "second"}])
        write(source / part / "truth.jsonl", [{"id": "1", "label": label}, {"id": "2", "label": "ab"[label == "a"]}])
    write(source / "unlabelled" / "posts.jsonl", [{"id": "1", "text": "not judged"}])
    dataset = ingest(source, tmp_path, test="split == 'part-test'")
    assert rows(dataset) == [
        ("part-train/posts.jsonl:1", "first of part-train", "a"),
        ("part-train/posts.jsonl:2", "second", "b"),
    ]
    assert rows(dataset, "test") == [
        ("part-test/posts.jsonl:1", "first of part-test", "b"),
        ("part-test/posts.jsonl:2", "second", "a"),
    ]


def test_files_of_any_format_are_joined(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "posts.csv").write_text("key,text,unused\n1,one,x\n2,two,x\n")
    pq.write_table(pa.table({"key": [2, 1], "class": ["b", "a"], "unused": [1.5, 2.5]}), folder / "truth.parquet")
    join = {"left": "posts.csv", "right": "truth.parquet", "on": "key"}
    assert rows(ingest(folder, tmp_path, join=join, label="class")) == [
        ("posts.csv:1", "one", "a"),
        ("posts.csv:2", "two", "b"),
    ]


@pytest.mark.parametrize(
    ("settings_", "sentence"),
    [
        (
            {"join": {**JOIN.model_dump(), "left": "instances.jsonl"}},
            "holds no instances.jsonl, which source.join names",
        ),
        ({"join": {**JOIN.model_dump(), "right": "labels.jsonl"}}, "holds no labels.jsonl, which source.join names"),
        ({"join": {**JOIN.model_dump(), "on": "ident"}}, "no column 'ident' in truth.jsonl; did you mean 'id'"),
        (
            {"label": "lable"},
            "no column 'lable' in posts.jsonl or truth.jsonl; did you mean 'label'\\? It has id, label, text",
        ),
        ({"where": "split == train"}, "no column 'split' in posts.jsonl or truth.jsonl"),
    ],
)
def test_a_wrong_join_is_an_input_error(settings_: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    write(tmp_path / "posts.jsonl", [{"id": "1", "text": "one"}, {"id": "2", "text": "two"}])
    write(tmp_path / "truth.jsonl", [{"id": "1", "label": "a"}, {"id": "2", "label": "b"}])
    with pytest.raises(InputError, match=sentence) as error:
        ingest(tmp_path, tmp_path / "out", **settings_)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out" / "dataset").exists()


def test_a_file_instead_of_a_folder_is_an_input_error(tmp_path: Path) -> None:
    write(tmp_path / "posts.jsonl", [{"id": "1", "text": "one"}])
    with pytest.raises(InputError, match=r"is one file, but source\.join reads posts\.jsonl and truth"):
        ingest(tmp_path / "posts.jsonl", tmp_path)


def test_keys_without_any_match_are_an_input_error(tmp_path: Path) -> None:
    write(tmp_path / "posts.jsonl", [{"id": "1", "text": "one"}, {"id": "2", "text": "two"}])
    write(tmp_path / "truth.jsonl", [{"id": "x1", "label": "a"}, {"id": "x2", "label": "b"}])
    with pytest.raises(InputError, match=r"no row of .* can be used: 2 no match in the joined file"):
        ingest(tmp_path, tmp_path / "out")


KEYS = st.integers(0, 5)


@settings(deadline=None, max_examples=60)
@given(left=st.lists(KEYS, max_size=12), right=st.lists(st.tuples(KEYS, st.sampled_from("ab")), max_size=12))
def test_every_left_row_has_one_label_or_is_rejected(
    left: list[int], right: list[tuple[int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("join")
    # Two rows that match for certain give two classes.
    left, right = [*left, 98, 99], [*right, (98, "a"), (99, "b")]
    write(folder / "posts.jsonl", [{"id": key, "text": f"text of {key}"} for key in left])
    write(folder / "truth.jsonl", [{"id": str(key), "label": label} for key, label in right])
    dataset = ingest(folder, folder / "out")
    labels = {key: {label for other, label in right if other == key} for key in left}
    assert [(row.id, row.label) for row in dataset.rows("all")] == [
        (f"posts.jsonl:{number}", *labels[key]) for number, key in enumerate(left, 1) if len(labels[key]) == 1
    ]
    assert {row.id: row.reason for row in dataset.rejected()} == {
        f"posts.jsonl:{number}": ["no match in the joined file", "several matches in the joined file"][
            bool(labels[key])
        ]
        for number, key in enumerate(left, 1)
        if len(labels[key]) != 1
    }
    assert dataset.manifest.rows_in == len(left)
