"""Malformed and oversized files: which rows they lose, and how much time and memory they take."""

import csv
import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import Dataset, InputError, Source
from textgate.components.ingest.delimited import _QuotedLines
from textgate.components.ingest.ingest import ingest_source
from textgate.components.ingest.local_source import read_local
from textgate.components.ingest.raw_rows import RawRow


def read_all(path: Path, **settings_: Any) -> list[RawRow]:
    source = Source.model_validate({"uri": str(path), **settings_})
    return list(read_local(path, source, ["text", "label"]))


def texts(path: Path, **settings_: Any) -> dict[str, str]:
    """Return the text, or the reason of rejection, by row id; ids are unique."""
    all_rows = read_all(path, **settings_)
    by_id = {row.id: row.columns["text"] if row.columns else row.reason for row in all_rows}
    assert len(by_id) == len(all_rows)
    return by_id


def test_an_over_long_line_in_a_quoted_field_rejects_the_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    long = b"x" * 3_000
    path.write_bytes(b'text,label\na,p\n"start\n' + long + b'\nend",p\nb,n\n"' + long + b'\nmore, of it",p\nc,n\n')
    assert texts(path, max_line_bytes=1_000) == {
        "a.csv:1": "a",
        "a.csv:2": "over-long line",
        "a.csv:3": "b",
        "a.csv:4": "over-long line",
        "a.csv:5": "c",
    }


def test_an_unclosed_quote_rejects_one_row_only(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [f"film {number},neg" for number in range(300)]
    path.write_text("\n".join(["text,label", '"never closed,pos', *rows]))
    short = texts(path)
    assert Counter(short.values())["broken quote"] == 1
    assert len(short) == 301
    bounded = texts(path, max_line_bytes=500)
    assert bounded.pop("a.csv:1") == "over-long line"
    assert list(bounded.values()) == [f"film {number}" for number in range(300)]


def test_rereading_of_a_file_full_of_stray_quotes_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    # From any line on, a quote stays open until the end of the file; each line is accounted for all the same.
    path.write_text("text,label\n" + 'a","b\n' * 2_000)
    calls = Counter[str]()
    next_line = _QuotedLines.__next__

    def counted(lines: _QuotedLines) -> str:
        calls["lines"] += 1
        return next_line(lines)

    monkeypatch.setattr(_QuotedLines, "__next__", counted)
    assert Counter(row.reason for row in read_all(path)) == {"broken quote": 2_000}
    assert calls["lines"] < 2_000 * 15


def test_line_ends_nul_bytes_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\r\n\r\na\x00b,p\r\n\r\nbare\rreturn,p\nlast,n")
    assert texts(path) == {"a.csv:1": "a\x00b", "a.csv:2": "not a record", "a.csv:3": "last"}
    lines = tmp_path / "a.jsonl"
    lines.write_bytes(b'\xef\xbb\xbf{"text": "a", "label": "p"}\r\n\n{"text": "b\x00"}\n{"text": "c"}')
    assert texts(lines) == {"a.jsonl:1": "a", "a.jsonl:2": "not a record", "a.jsonl:3": "c"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("täxt,läbel\n".encode() + b"\xff,b\n", "no column 'text' in a.csv; did you mean 'täxt'"),
        ("täxt,läbel\xff\n".encode("latin-1") + "äöü,ß\n".encode(), "header of a.csv .* .undecodable bytes.: .* UTF-8"),
        (b"text," + b"x" * 2_000 + b"\n", "header of a.csv cannot be read .over-long line.: .*max_line_bytes=1,000"),
        (b'text,"label\n' + b"a,b\n" * 500, "header of a.csv cannot be read .over-long line."),
        (b'text,"label\na,b\n', "header of a.csv cannot be read .broken quote."),
        (b"text,label\ra,b\r", "header of a.csv cannot be read .not a record."),
        (b",".join(b"c%d" % n for n in range(100)), "did you mean 'c.*'\\? It has c0, c1, .*, c19, 80 more$"),
        (b",".join([b"same"] * 100), "names 'same' more than once"),
    ],
)
def test_an_unusable_header_is_an_input_error(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence) as error:
        read_all(path, max_line_bytes=1_000)
    assert "\n" not in str(error.value)
    str(error.value).encode("utf-8")


def test_a_column_must_exist_in_at_least_one_json_object(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "no label yet"}\n' * 1_500 + '{"text": "a", "label": "x"}\n')
    assert len(read_all(path)) == 1_501
    wide = {f"column {number}": number for number in range(1_100)}
    path.write_text("\n".join(map(json.dumps, [wide, {"text": "a", "label": "x"}])))
    assert len(read_all(path)) == 2
    for content, sentence in [
        ('{"text": "a"}', "no column 'label' in a.jsonl; did you mean 'text'\\? It has text"),
        ('{"\\ud800": 1, "label": "x"}', r"no column 'text' in a.jsonl.* It has \\ud800, label"),
        ("{}", "no column 'text' in a.jsonl: it has no columns"),
    ]:
        path.write_text(content)
        with pytest.raises(InputError, match=sentence) as error:
            read_all(path)
        str(error.value).encode("utf-8")


def test_every_file_of_a_folder_must_have_the_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,x\nb,y\n")
    (tmp_path / "b.csv").write_text("txt,label\nc,x\n")
    (tmp_path / ".hidden").write_text("not data")
    with pytest.raises(InputError, match=r"no column 'text' in b\.csv; did you mean 'txt'"):
        read_all(tmp_path)


def test_class_folders_skip_hidden_entries_and_limit_file_size(tmp_path: Path) -> None:
    for folder, file, content in [
        ("pos", "1.txt", b"fine"),
        ("neg", "1.txt", b"\xef\xbb\xbfdull"),
        ("neg", "2.txt", b"x" * 2_000),
        ("neg", "._3.txt", b"resource fork"),
        (".ipynb_checkpoints", "1.txt", b"old"),
    ]:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / file).write_bytes(content)
    expected = {"neg/1.txt": "dull", "neg/2.txt": "over-long line", "pos/1.txt": "fine"}
    assert texts(tmp_path, max_line_bytes=1_000) == expected


def test_file_names_that_are_not_utf8_reject_their_rows_only(tmp_path: Path) -> None:
    for folder in (b"bad", b"good", b"n\xffne"):
        path = os.path.join(os.fsencode(tmp_path), b"c", folder)
        os.makedirs(path)
        with open(os.path.join(path, b"\xfe.txt"), "w") as file:
            file.write("text")
    ingest_source(Source(uri=str(tmp_path / "c")), tmp_path / "out", tmp_path / "downloads")
    assert [row.reason for row in Dataset.open(tmp_path / "out").rejected()] == ["undecodable bytes"]


def test_parquet_values_of_any_type_are_text_or_rejected(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": pa.array([b"fine", b"bad \xff", b"x" * 2_000, None, b"dull"], pa.binary()),
            "label": pa.array([1.0, 1.0, 1.0, 0.0, 0.0]),
            "unused": pa.array([[1.5] * 3] * 5),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    assert set(read_all(tmp_path / "a.parquet")[0].columns or {}) == {"text", "label"}
    source = Source(uri=str(tmp_path / "a.parquet"), labels={"0": "no", "1": "yes"}, max_line_bytes=1_000)
    ingest_source(source, tmp_path / "out", tmp_path / "downloads")
    dataset = Dataset.open(tmp_path / "out")
    assert [(row.text, row.label) for row in dataset.rows("all")] == [("fine", "yes"), ("dull", "no")]
    assert [row.reason for row in dataset.rejected()] == ["undecodable bytes", "over-long line", "empty text"]


def test_parquet_headers_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"txt": ["a"], "label": ["b"]}), path)
    with pytest.raises(InputError, match=r"no column 'text' in a\.parquet; did you mean 'txt'"):
        read_all(path)
    column = pa.array(["a"])
    pq.write_table(pa.Table.from_arrays([column, column, column], names=["text", "text", "label"]), path)
    with pytest.raises(InputError, match="names 'text' more than once"):
        read_all(path)


def test_structured_json_values_are_rejected(tmp_path: Path) -> None:
    lines = [
        {"text": ["a", 1], "label": "x"},
        {"text": [["a"]], "label": "x"},
        {"text": {"a": "b"}, "label": "x"},
        {"text": "b", "label": {"c": 1}},
        {"text": "b", "label": ["x"]},
        {"text": 5, "label": "x"},
        {"text": "d", "label": True},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    ingest_source(Source(uri=str(tmp_path / "a.jsonl")), tmp_path / "out", tmp_path / "downloads")
    dataset = Dataset.open(tmp_path / "out")
    assert [(row.text, row.label) for row in dataset.rows("all")] == [("5", "x"), ("d", "True")]
    assert dataset.manifest.rejected == {"not a record": 5}


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(st.tuples(CELL, CELL), max_size=15),
    suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_well_formed_tables_are_read_unchanged(
    rows: list[tuple[str, str]], suffix: str, end: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("t") / f"a{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table({"text": [row[0] for row in rows], "label": [row[1] for row in rows]}), path)
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text, "label": label}) + end for text, label in rows), newline="")
    else:
        buffer = io.StringIO()
        writer = csv.writer(
            buffer, delimiter="\t" if suffix == ".tsv" else ",", quoting=csv.QUOTE_ALL, lineterminator=end
        )
        writer.writerows([("text", "label"), *rows])
        path.write_bytes(buffer.getvalue().encode("utf-8"))
    expected = [(f"a{suffix}:{number}", {"text": t, "label": lab}) for number, (t, lab) in enumerate(rows, 1)]
    quoted = {} if suffix == ".csv" else {"format": {"quote": '"'}}
    assert [(row.id, row.columns) for row in read_all(path, **quoted)] == expected


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_memory_is_limited_for_huge_lines_and_row_groups(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        # One incompressible row group of 100 MB, which pyarrow would hold in memory by default.
        count = 50_000
        noise = [os.urandom(1_000).hex() for _ in range(count)]
        pq.write_table(
            pa.table({"text": noise, "label": ["a", "b"] * (count // 2)}),
            path,
            row_group_size=count,
            use_dictionary=False,
            compression="none",
        )
        del noise
    else:
        count = 3
        head, row = (b"text,label\n", b"a,b\n") if kind == "csv" else (b"", b'{"text": "a", "label": "b"}\n')
        with path.open("wb") as file:
            file.write(head + row)
            for _ in range(100):
                file.write(b"x" * 1_000_000)
            file.write(b"\n" + row)
    script = f"""
from pathlib import Path
from textgate.components.contracts import Source
from textgate.components.ingest.local_source import read_local
def peak() -> int:
    # Not ru_maxrss: it is inherited from the parent process, whose peak would hide any growth.
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
before = peak()
count = sum(1 for _ in read_local(Path({str(path)!r}), Source(uri="x"), ["text", "label"]))
print(count, peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    read_rows, grown_kilobytes = map(int, done.stdout.split())
    assert read_rows == count
    assert grown_kilobytes < 60_000
