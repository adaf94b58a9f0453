"""Lines that a regular expression takes apart."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from textgate.components.contracts import Dataset, InputError, Source
from textgate.components.ingest import line_pattern
from textgate.components.ingest.ingest import ingest_source

PATTERN = r"(?P<label>[A-Z]+):(?P<sub>\w+) (?P<text>.*)"


def ingest(path: Path, out: Path, **settings: Any) -> Dataset:
    source = Source.model_validate({"uri": str(path), "max_rejected": 1, "max_undecodable": 1, **settings})
    ingest_source(source, out / "dataset", out / "downloads")
    return Dataset.open(out / "dataset")


@pytest.fixture
def trec(tmp_path: Path) -> Path:
    folder = tmp_path / "trec"
    folder.mkdir()
    (folder / "train_5500.label").write_bytes(
        b"DESC:manner How did serfdom develop ?\nENTY:animal What is a p\xf1ata ?\r\n\nNUM How many ?\n"
        b"HUM:ind Who\x0bis \x85 he ?\nLOC:city \n"
    )
    (folder / "TREC_10.label").write_bytes(b"NUM:dist How far is it ?\nDESC:def What is pH ?")
    (folder / "README.md").write_text("# The corpus\n")
    return folder


def test_named_groups_are_columns_and_other_lines_are_rejected(trec: Path, tmp_path: Path) -> None:
    dataset = ingest(
        trec,
        tmp_path,
        format={"pattern": PATTERN, "encoding": "latin-1"},
        test="split == TREC_10",
        metadata=["sub"],
    )
    assert [(row.id, row.text, row.label, row.metadata["sub"]) for row in dataset.rows("all")] == [
        ("train_5500.label:1", "How did serfdom develop ?", "DESC", "manner"),
        ("train_5500.label:2", "What is a pñata ?", "ENTY", "animal"),
        ("train_5500.label:4", "Who\x0bis \x85 he ?", "HUM", "ind"),
    ]
    assert [(row.text, row.label) for row in dataset.rows("test")] == [
        ("How far is it ?", "NUM"),
        ("What is pH ?", "DESC"),
    ]
    assert [(row.id, row.line, row.reason, row.text) for row in dataset.rejected()] == [
        ("train_5500.label:3", 4, "not a record", "NUM How many ?"),
        ("train_5500.label:5", 6, "empty text", None),
    ]
    assert [(file.records, file.lines) for file in dataset.manifest.files] == [(2, 2), (5, 6)]
    # The settings reach the step as JSON.
    assert Source.model_validate_json(Source(uri="x", format={"pattern": PATTERN}).model_dump_json()).format.pattern


def test_a_line_that_cannot_be_decoded_or_is_too_long_is_rejected(trec: Path, tmp_path: Path) -> None:
    dataset = ingest(trec, tmp_path, format={"pattern": PATTERN, "encoding": "utf-8"}, max_line_bytes=31)
    rejected = {row.id: row.reason for row in dataset.rejected()}
    assert rejected["train_5500.label:1"] == "over-long line"
    assert rejected["train_5500.label:2"] == "undecodable bytes"
    assert dataset.manifest.rows_in == 7


def test_text_files_are_read_by_a_pattern_whatever_their_suffix(tmp_path: Path) -> None:
    folder = tmp_path / "sms"
    folder.mkdir()
    (folder / "SMSSpamCollection").write_text('ham\tOk lar\nspam\tWin "now\n')
    dataset = ingest(folder / "SMSSpamCollection", tmp_path, format={"pattern": r"(?P<label>ham|spam)\t(?P<text>.*)"})
    assert [(row.text, row.label) for row in dataset.rows("all")] == [("Ok lar", "ham"), ('Win "now', "spam")]


def test_a_pattern_matches_from_the_first_to_the_last_character(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one a\ntwo b\nthree a and more\nand four b\n")
    dataset = ingest(tmp_path / "a.txt", tmp_path, format={"pattern": r"(?P<text>\w+) (?P<label>a|b)"})
    assert [row.text for row in dataset.rows("all")] == ["one", "two"]
    assert dataset.manifest.rejected == {"not a record": 2}


def test_a_pattern_that_takes_forever_for_a_line_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_pattern, "_LINE_SECONDS", 0.1)
    (tmp_path / "a.txt").write_text("x fine\nx " + "a" * 60 + "!\n")
    with pytest.raises(InputError, match=r"pattern takes over 0\.1 s for line 2 of a\.txt: avoid nested"):
        ingest(tmp_path / "a.txt", tmp_path, format={"pattern": r"(?P<label>x) (?P<text>(a|aa|[a-z])+)"})


def test_a_pattern_without_the_columns_is_an_input_error(trec: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no column 'text' in source\.format\.pattern; did you mean 'label'"):
        ingest(trec, tmp_path, format={"pattern": "(?P<label>.*)"})


@pytest.mark.parametrize(
    ("format_", "sentence"),
    [
        ({"pattern": "(?P<label>"}, "is not a regular expression: missing ), unterminated subpattern at position 0"),
        ({"pattern": "(.*) (.*)"}, "has no named group, such as (?P<text>.*)"),
        ({"pattern": PATTERN, "sheet": "1"}, "pattern takes lines apart by itself"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(format_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as error:
        Source.model_validate({"uri": "folder", "format": format_})
    assert sentence in str(error.value)
