"""Labels of a source: one spelling in every format, their order, and what is said of labels that look alike."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgate.components.contracts import Dataset, InputError, Source
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.ingest.ingest import ingest_source
from textgate.components.ingest.labels import LabelNames, label_warnings, read_label, sort_labels

CASES = Path(__file__).parent / "cases"


def ingest(path: Path, folder: Path, **settings: Any) -> DatasetManifest:
    return ingest_source(Source(uri=str(path), **settings), folder / "out", folder / "downloads")


def write_labels(path: Path, labels: list[Any]) -> Path:
    rows = [{"text": f"text {number}", "label": label} for number, label in enumerate(labels)]
    if path.suffix == ".csv":
        path.write_text("text,label\n" + "".join(f'{row["text"]},"{row["label"]}"\n' for row in rows))
    elif path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_labels_that_differ_in_case_are_named_and_other_spellings_joined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = ingest(CASES / "case_labels.csv", tmp_path)
    # The file holds "SPAM " and, in NFC and in NFD, "café".
    assert manifest.counts["all"] == {"SPAM": 1, "Spam": 1, "café": 2, "ham": 1, "spam": 1}
    (warning,) = manifest.warnings
    assert "'SPAM' (1), 'Spam' (1), 'spam' (1); if they are one class, set source.labels=" in warning
    assert f"textgate warning: {warning}" in capsys.readouterr().out
    joining = json.loads(warning.rpartition("source.labels=")[2])
    (tmp_path / "out").rename(tmp_path / "first")
    joined = ingest(CASES / "case_labels.csv", tmp_path, labels=joining)
    assert (joined.counts["all"], joined.warnings) == ({"SPAM": 3, "café": 2, "ham": 1}, [])


def test_numbers_are_one_label_in_every_format(tmp_path: Path) -> None:
    manifest = ingest(CASES / "mixed_numbers.csv", tmp_path)
    assert manifest.counts["all"] == {"0": 2, "01": 1, "1": 3}
    assert manifest.labels == ["0", "01", "1"]
    (warning,) = manifest.warnings
    assert "notation of a number are classes of their own: '1' (3), '01' (1)" in warning
    values: dict[str, list[Any]] = {
        "a.csv": ["0", "1.0", "0.00", "1", "-3.0", "2.5"],
        "a.jsonl": [0, 1.0, 0.0, 1, -3.0, 2.5],
        "a.parquet": [0.0, 1.0, 0.0, 1.0, -3.0, 2.5],
    }
    for name, labels in values.items():
        (tmp_path / name).mkdir()
        assert ingest(write_labels(tmp_path / name / name, labels), tmp_path / name).counts["all"] == {
            "-3": 1,
            "0": 2,
            "1": 2,
            "2.5": 1,
        }


@pytest.mark.parametrize("label", ["01", "+1", "1e3", "1.", ".0", "2.50", "1,0", "--1.0", "1.0.0", "१.०"])
def test_what_is_no_plain_number_stays_text(label: str) -> None:
    assert read_label(label) == label


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (None, ""),
        (float("nan"), ""),
        (" a\u00a0", "a"),
        (True, "True"),
        (-0.0, "0"),
        ("-0.0", "0"),
        (b"caf\xc3\xa9 ", "café"),
    ],
)
def test_a_value_is_read_as_a_label(value: Any, label: str) -> None:
    assert read_label(value) == label


@given(st.text() | st.floats(allow_nan=False) | st.integers())
def test_reading_a_label_is_idempotent(value: Any) -> None:
    label = read_label(value)
    assert read_label(label) == label
    assert unicodedata.is_normalized("NFC", label)


def test_booleans_are_named_in_every_spelling(tmp_path: Path) -> None:
    labels = {True: "toxic", False: "fine"}
    for name, values in (("a.csv", ["true", "False", "TRUE"]), ("a.jsonl", [True, False, True])):
        (tmp_path / name).mkdir()
        manifest = ingest(write_labels(tmp_path / name / name, values), tmp_path / name, labels=labels)
        assert manifest.counts["all"] == {"toxic": 2, "fine": 1}
    assert LabelNames({"true": "a", "True": "b", "no": "c"}).name("TRUE") == "b"
    assert label_warnings({"True": 3, "true": 2, "False": 1}, {}, LabelNames(None))[0].startswith(
        "labels that differ in nothing but case, spaces, width or the notation of a number are classes of their own: "
        "'True' (3), 'true' (2);"
    )


def test_numeric_labels_are_in_the_order_of_their_values(tmp_path: Path) -> None:
    assert ingest(CASES / "eleven.csv", tmp_path).labels == [str(number) for number in range(11)]
    assert sort_labels(["10", "b", "-1", "2.5", "a", "9", "-10", "01", "1"]) == (
        ["-10", "-1", "01", "1", "2.5", "9", "10", "a", "b"]
    )
    assert sort_labels(["pos", "neg", "Neg"]) == ["Neg", "neg", "pos"]


def test_keys_of_the_recipe_are_read_as_labels_are() -> None:
    names = LabelNames({"1.0": "one", " cafe\u0301": "coffee", "0": "none"})
    assert [names.name(read_label(value)) for value in (1, "1", "caf\u00e9", "0.0", "2")] == (
        ["one", "one", "coffee", "none", None]
    )
    with pytest.raises(InputError, match=r"source\.labels names the label '1' twice, as 'a' and as 'b': leave out one"):
        LabelNames({"1": "a", "1.0": "b"})


def test_a_marker_of_a_missing_label_is_no_class_without_a_word(tmp_path: Path) -> None:
    path = write_labels(tmp_path / "a.csv", ["a", "b", "NaN", "N/A", "NaN", "null", "none"])
    (warning,) = ingest(path, tmp_path).warnings
    assert warning.startswith(
        "labels that usually mark a missing label are classes: 'NaN' (2), 'N/A' (1), 'null' (1); if they are none, set"
    )
    proposal = json.loads(warning.rpartition("source.labels=")[2])
    assert proposal == {"a": "a", "b": "b", "none": "none"}


def test_a_warning_about_many_labels_is_short() -> None:
    found = {spelling: 1 for n in range(400) for spelling in (f"class {n:03}", f"Class {n:03}")}
    (warning,) = label_warnings(found, {}, LabelNames(None))
    assert "'Class 009' (1), 'class 009' (1); and 390 more groups; if they are one class, set source.labels" in warning
    assert len(warning) < 2_500
    (single,) = label_warnings({"spam": 2, "Spam": 1}, {}, LabelNames(None))
    assert single.endswith("set source.labels; but then the source has fewer than two classes")


def test_unknown_labels_are_named_with_their_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as none_known:
        ingest(CASES / "zeros.csv", tmp_path, labels={"0": "no", "1": "yes"})
    assert (
        "can be used: 3 unknown label ('00' 2, '01' 1; such as zeros.csv:1 'a'); source.labels names '0', '1'"
    ) in str(none_known.value)
    labels = ["a", "b", *(f"label {number:02}" for number in range(12) for _ in range(number + 1))]
    manifest = ingest(write_labels(tmp_path / "a.csv", labels), tmp_path, labels={"a": "A", "b": "B"})
    frequent = ", ".join(f"'label {number:02}' {number + 1}" for number in range(11, 1, -1))
    assert f"78 unknown label ({frequent}, 2 more labels; such as a.csv:" in capsys.readouterr().out
    assert manifest.warnings == []
    with pytest.raises(InputError, match=r"has the label 'C' that source.labels names; it has 'label 11' \(12\)"):
        ingest(tmp_path / "a.csv", tmp_path / "c", labels={"a": "A", "b": "B", "c": "C"})


def test_a_label_that_the_recipe_spells_in_another_way_is_named(tmp_path: Path) -> None:
    path = write_labels(tmp_path / "a.csv", [*["deceptive"] * 9, "DECEPTIVE", "truthful", "Truth ful", "other"])
    (warning,) = ingest(path, tmp_path, labels={"deceptive": "bad", "truthful": "good"}).warnings
    assert warning == (
        "rows are rejected because source.labels does not name their labels 'DECEPTIVE' (1), 'Truth ful' (1), which "
        "differ from those that it names in nothing but case, spaces, width or the notation of a number: add "
        '{"DECEPTIVE": "bad", "Truth ful": "good"}'
    )


def test_a_record_with_backslashes_is_counted_and_shown(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"every row .* has the label 'positive' \(1 rejected: 1 broken quote \(such as backslash.csv:1",
    ):
        ingest(CASES / "backslash.csv", tmp_path)


def test_class_folders_are_named_as_labels_are(tmp_path: Path) -> None:
    for folder in ("cafe\u0301", "tea", "unsup"):
        (tmp_path / "classes" / folder).mkdir(parents=True)
        (tmp_path / "classes" / folder / "1.txt").write_text(f"text of {folder}")
    manifest = ingest(tmp_path / "classes", tmp_path, labels={"caf\u00e9": "a", "tea": "b"})
    assert manifest.counts["all"] == {"a": 1, "b": 1}
    assert [row.label for row in Dataset.open(tmp_path / "out").rejected()] == ["unsup"]
