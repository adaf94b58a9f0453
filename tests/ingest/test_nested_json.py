"""JSON documents whose rows are somewhere inside, and columns inside rows."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from textgate.components.contracts import Dataset, InputError, Source
from textgate.components.ingest.ingest import ingest_source

CLINC = {
    "oos_train": [["is it out of scope", "oos"]],
    "val": [["wie sagt man fly", "translate"]],
    "about": {"train": [["no", "row"]], "text": 'a ] in a " text }', "empty": [{}, [], ""]},
    "train": [["say fly in italian", "translate"], ["send money", "transfer"], ["too", "many", "cells"], "no row"],
    "version": 1.5,
    "test": [["say hello", "translate"], ["  ", "transfer"]],
}
PAIRS = {"columns": ["text", "label"]}
ROWS = [{"text": "fine film", "label": "pos"}, {"text": "dull film", "label": "neg"}]


def ingest(path: Path, out: Path, **settings_: Any) -> Dataset:
    source = Source.model_validate({"uri": str(path), "max_rejected": 1, "max_undecodable": 1, **settings_})
    ingest_source(source, out / "dataset", out / "downloads")
    return Dataset.open(out / "dataset")


def rows(dataset: Dataset, split: str = "all") -> list[tuple[str, str]]:
    return [(row.text, row.label) for row in dataset.rows(split)]


@pytest.mark.parametrize("indent", [None, 4])
def test_each_key_is_a_split_and_rows_may_be_arrays(indent: int | None, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(CLINC, indent=indent))
    where = "split in [train, val, test]"
    dataset = ingest(tmp_path / "a.json", tmp_path, format={"records": "*"}, where=where, test="split == test", **PAIRS)
    assert rows(dataset) == [
        ("wie sagt man fly", "translate"),
        ("say fly in italian", "translate"),
        ("send money", "transfer"),
    ]
    assert rows(dataset, "test") == [("say hello", "translate")]
    assert [(row.id, row.reason) for row in dataset.rejected()] == [
        ("a.json:5", "not a record"),
        ("a.json:6", "not a record"),
        ("a.json:8", "empty text"),
    ]
    assert (dataset.manifest.rows_in, dataset.manifest.rows_filtered) == (7, 1)
    (file,) = dataset.manifest.files
    assert (file.format, file.records) == ("nested JSON", 8)
    if indent:
        numbers = [row.line for row in dataset.rejected()]
        lines = (tmp_path / "a.json").read_text().splitlines()
        assert [lines[number - 1].strip(" ,") for number in numbers if number] == ["[", '"no row"', "["]


def test_a_path_leads_to_the_rows(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"meta": {"rows": [1]}, "data": {"rows": ROWS, "more": [2]}}))
    assert rows(ingest(tmp_path / "a.json", tmp_path, format={"records": "data.rows"})) == [
        ("fine film", "pos"),
        ("dull film", "neg"),
    ]
    (tmp_path / "b.json").write_text(json.dumps({"train": {"rows": ROWS}, "test": {"rows": ROWS[:1]}, "n": {"no": 1}}))
    with pytest.raises(InputError, match=r"b\.json has no key 'rows' where source\.format\.records says so, but the"):
        ingest(tmp_path / "b.json", tmp_path / "1", format={"records": "*.rows"})
    (tmp_path / "b.json").write_text(json.dumps({"train": {"rows": ROWS}, "test": {"rows": ROWS[:1]}, "n": 1}))
    dataset = ingest(tmp_path / "b.json", tmp_path / "2", format={"records": "*.rows"}, test="split == test")
    assert rows(dataset) == [("fine film", "pos"), ("dull film", "neg")]
    assert rows(dataset, "test") == [("fine film", "pos")]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_columns_may_be_members_of_members(name: str, tmp_path: Path) -> None:
    values: list[Any] = [
        {"meta": {"body": "one", "by": {"age": 7}}, "label": "x"},
        {"meta": {"body": "no"}, "meta.body": "two", "label": "y"},
        {"meta": "no object", "label": "y"},
        {"meta": {"body": None}, "label": "y"},
    ]
    text = json.dumps(values) if name == "a.json" else "\n".join(map(json.dumps, values))
    (tmp_path / name).write_text(text)
    dataset = ingest(tmp_path / name, tmp_path, text="meta.body", metadata=["meta.by.age"])
    assert [(row.text, row.metadata) for row in dataset.rows("all")] == [
        ("one", {"meta.by.age": "7"}),
        ("two", {"meta.by.age": ""}),
    ]
    assert [row.reason for row in dataset.rejected()] == ["empty text", "empty text"]
    with pytest.raises(InputError, match=r"no column 'meta\.bdy' in a\.json"):
        ingest(tmp_path / name, tmp_path / "2", text="meta.bdy")


def test_lines_may_be_arrays(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('["one", "x"]\n["two", "y"]\n["three"]\n')
    dataset = ingest(tmp_path / "a.jsonl", tmp_path, **PAIRS)
    assert rows(dataset) == [("one", "x"), ("two", "y")]
    assert dataset.manifest.rejected == {"not a record": 1}


def test_json_lines_may_end_in_json(tmp_path: Path) -> None:
    for number, lines in enumerate([ROWS, [{"text": "broken"}, *ROWS]]):
        (tmp_path / f"{number}.json").write_text("\n".join(map(json.dumps, lines)).replace(' "broken"', ' "bro'))
        assert rows(ingest(tmp_path / f"{number}.json", tmp_path / str(number))) == [
            ("fine film", "pos"),
            ("dull film", "neg"),
        ]


@pytest.mark.parametrize(
    ("content", "settings_", "sentence"),
    [
        (CLINC, {}, "a.json holds one JSON object, neither rows in an array nor one a line: source.format.records"),
        (CLINC, {"format": {"records": "*"}}, "the rows of a.json are arrays: name their columns with source.columns"),
        (CLINC, {"format": {"records": "data"}}, "a.json has no key 'data' where source.format.records says so, but"),
        (CLINC, {"format": {"records": "version"}}, "the key 'version' of a.json holds no array, as the path of"),
        (CLINC, {"format": {"records": "train.rows"}}, "the key 'train' of a.json holds no object"),
        ({"a": 1}, {"format": {"records": "*"}}, "a.json has no array where source.format.records says so, but the"),
        ([1], {"format": {"records": "*"}}, "a.json is not valid JSON after line 1: '{' is missing"),
        ({"a": ROWS}, {"format": {"records": "a"}, "text": "body"}, "no column 'body' in a.json"),
    ],
)
def test_a_path_that_does_not_fit_is_an_input_error(
    content: Any, settings_: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        ingest(tmp_path / "a.json", tmp_path, **settings_)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("end", ["", "]", "]} {", '], "b": ', '], "b"}', "], 5: 1}", '], "b": [[[' + "[" * 5_000])
def test_a_damaged_document_is_an_input_error(end: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [["one", "x"], ["two", "y"]' + end)
    with pytest.raises(InputError, match=r"a\.json is not valid JSON after line 1: "):
        ingest(tmp_path / "a.json", tmp_path, format={"records": "a"}, **PAIRS)


@pytest.mark.parametrize("path", ["", "a..b", "*.*", "."])
def test_a_path_without_keys_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match=r"must be keys separated by dots, one of which may be \*"):
        Source.model_validate({"uri": "a.json", "format": {"records": path}})


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@settings(deadline=None, max_examples=50)
@given(values=VALUES, indent=st.sampled_from([None, 1]), is_ascii=st.booleans())
def test_whatever_is_around_the_rows_is_passed_over(
    values: Any, indent: int | None, is_ascii: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("t")
    document = {"before": values, "data": {"x": values, "rows": ROWS, "y": values}, "after": values}
    text = json.dumps(document, indent=indent, ensure_ascii=is_ascii)
    (folder / "a.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    dataset = ingest(folder / "a.json", folder, format={"records": "data.rows"})
    assert rows(dataset) == [("fine film", "pos"), ("dull film", "neg")]
