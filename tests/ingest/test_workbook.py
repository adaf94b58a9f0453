"""Workbooks: a sheet is read as a table, within a limit of memory."""

import datetime
import random
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ingest.workbook_files import write_ods, write_xlsx, write_xlsx_xml

from textgate.components.contracts import Dataset, InputError, Source
from textgate.components.ingest.ingest import ingest_source

TABLE = [["text", "label"], ["fine film", "pos"], ["dull film", "neg"]]


def ingest(path: Path, out: Path, **settings: Any) -> Dataset:
    source = Source.model_validate({"uri": str(path), **settings})
    ingest_source(source, out / "dataset", out / "downloads")
    return Dataset.open(out / "dataset")


def rows(dataset: Dataset) -> list[tuple[str, str, str]]:
    return [(row.id, row.text, row.label) for row in dataset.rows("all")]


def test_cells_are_text_by_the_rules_of_every_format(tmp_path: Path) -> None:
    sheet = [
        [],
        ["label", "text", None, "day", "hour", "is it"],
        [1, "fine  film\nof <1999> & 'more' ", "note", datetime.date(2024, 2, 29), None, True],
        [None, None, None, None],
        [0.5, 7, None, "2024", datetime.datetime(2024, 2, 29, 12, 30), False],
        [1, "", None, None],
        [None, "no label"],
        [0, "#N/A is text"],
    ]
    write_xlsx(tmp_path / "a.xlsx", {"Reviews": sheet, "Notes": [["text"], ["other"]]})
    dataset = ingest(tmp_path / "a.xlsx", tmp_path, metadata=["day", "hour", "is it"])
    assert rows(dataset) == [
        ("a.xlsx:3", "fine  film\nof <1999> & 'more' ", "1"),
        ("a.xlsx:5", "7", "0.5"),
        ("a.xlsx:8", "#N/A is text", "0"),
    ]
    assert [row.metadata for row in dataset.rows("all")] == [
        {"day": "2024-02-29", "hour": "", "is it": "True"},
        {"day": "2024", "hour": "2024-02-29T12:30:00", "is it": "False"},
        {"day": "", "hour": "", "is it": ""},
    ]
    assert {row.id: row.reason for row in dataset.rejected()} == {
        "a.xlsx:6": "empty text",
        "a.xlsx:7": "missing label",
    }


def test_the_sheet_is_the_first_one_or_the_named_one(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "a.xlsx", {"Notes": [["note"], ["x"]], "-R Tests": TABLE, "Empty": []})
    with pytest.raises(InputError, match=r"no column 'text' in a\.xlsx; did you mean 'note'"):
        ingest(tmp_path / "a.xlsx", tmp_path)
    dataset = ingest(tmp_path / "a.xlsx", tmp_path, format={"sheet": "-R Tests"})
    assert rows(dataset) == [("a.xlsx:2", "fine film", "pos"), ("a.xlsx:3", "dull film", "neg")]
    with pytest.raises(
        InputError, match=r"a\.xlsx has no sheet 'Tests': source\.format\.sheet can be Notes or -R Tests or"
    ):
        ingest(tmp_path / "a.xlsx", tmp_path / "2", format={"sheet": "Tests"})
    with pytest.raises(InputError, match=r"no column 'text' in a\.xlsx: it has no columns"):
        ingest(tmp_path / "a.xlsx", tmp_path / "3", format={"sheet": "Empty"})


def test_columns_name_those_of_a_sheet_without_a_header(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "a.xlsx", {"1": [*TABLE[1:], ["too", "many", "cells"]]})
    dataset = ingest(tmp_path / "a.xlsx", tmp_path, columns=["text", "label"])
    assert rows(dataset) == [("a.xlsx:1", "fine film", "pos"), ("a.xlsx:2", "dull film", "neg")]
    (rejected,) = dataset.rejected()
    assert (rejected.id, rejected.line, rejected.reason, rejected.text) == (
        "a.xlsx:3",
        3,
        "not a record",
        "too many cells",
    )
    (file,) = dataset.manifest.files
    assert (file.format, file.records, file.lines, file.encoding) == ("workbook", 3, None, None)
    with_header = ingest(tmp_path / "a.xlsx", tmp_path / "2", columns=["text", "label", "x"], format={"header": True})
    assert [row[0] for row in rows(with_header)] == ["a.xlsx:2", "a.xlsx:3"]


def test_a_folder_may_hold_workbooks_of_both_formats(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    write_xlsx(tmp_path / "films" / "train.xlsx", {"1": TABLE})
    write_ods(tmp_path / "films" / "test.ods", TABLE)
    dataset = ingest(tmp_path / "films", tmp_path, test="split == test")
    assert [row.id for row in dataset.rows("test")] == ["test.ods:2", "test.ods:3"]
    assert rows(dataset) == [("train.xlsx:2", "fine film", "pos"), ("train.xlsx:3", "dull film", "neg")]


def test_a_repeated_column_is_an_input_error(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "a.xlsx", {"1": [["text", "label", " text "], ["a", "b", "c"]]})
    with pytest.raises(InputError, match=r"the header of a\.xlsx names 'text' more than once"):
        ingest(tmp_path / "a.xlsx", tmp_path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(2):
            with archive.open(f"{number}.xml", "w", force_zip64=True) as part:
                for _ in range(600):
                    part.write(bytes(1 << 20))
    with pytest.raises(InputError, match=r"a\.xlsx unpacks to 1,258,291,200 bytes, but only 1,073,741,824 of a work"):
        ingest(tmp_path / "a.xlsx", tmp_path)


@pytest.mark.parametrize(
    ("sheet", "shared"),
    [
        ('<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>', ""),
        (
            "".join(f'<row r="{number}"><c r="A{number}" t="s"><v>0</v></c></row>' for number in range(1, 90_000)),
            f"<si><t>{'x' * 32_000}</t></si>",
        ),
    ],
    ids=["a distant cell", "a long text in many cells"],
)
def test_memory_is_limited_for_a_small_file_that_needs_much(sheet: str, shared: str, tmp_path: Path) -> None:
    write_xlsx_xml(tmp_path / "a.xlsx", {"1": f'<row r="1"><c r="A1"><v>1</v></c></row>{sheet}'}, shared)
    with pytest.raises(InputError, match=r"a\.xlsx needs over 2 GiB of memory, by many or") as error:
        ingest(tmp_path / "a.xlsx", tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "dataset").exists()


def test_a_damaged_workbook_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InputError, match=r"a\.xlsx is damaged, or has a password: it is not readable as a workbook"):
        ingest(tmp_path / "a.xlsx", tmp_path)
    write_ods(tmp_path / "b.xlsx", TABLE)
    with pytest.raises(InputError, match=r"b\.xlsx is damaged: it is not readable as a workbook \(.+\)"):
        ingest(tmp_path / "b.xlsx", tmp_path)
    write_xlsx_xml(tmp_path / "c.xlsx", {"1": "<row><c></row>"})
    with pytest.raises(InputError, match=r"c\.xlsx is damaged: it is not readable as a workbook \(.+\)") as error:
        ingest(tmp_path / "c.xlsx", tmp_path)
    assert "\n" not in str(error.value)


def test_any_bytes_are_rows_or_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    write_xlsx(path, {"1": TABLE})
    whole, chance = path.read_bytes(), random.Random(7)
    for number in range(20):
        changed = bytearray(whole)
        for _ in range(3):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        path.write_bytes(changed)
        with suppress(InputError):
            assert ingest(path, tmp_path / str(number)).manifest.rows_in == 2
