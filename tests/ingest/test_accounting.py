"""Every physical line of a file is in one row, kept or rejected, as an independent reader finds them."""

import csv
import io
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textgate.components.contracts import Dataset, InputError, Source
from textgate.components.contracts.source_file import SourceFile
from textgate.components.ingest.ingest import ingest_source
from textgate.components.ingest.local_source import read_local
from textgate.components.ingest.raw_rows import RawRow
from textgate.components.ingest.source_parts import ingest_part, join_parts

CASES = Path(__file__).parent / "cases"


def read(path: Path, **settings_: Any) -> tuple[list[RawRow], SourceFile]:
    files: list[SourceFile] = []
    source = Source.model_validate({"uri": str(path), **settings_})
    rows = list(read_local(path, source, [*source.text_columns, source.label], None, files))
    (file,) = files
    assert file.records == len(rows)
    return rows, file


def text_and_label(rows: list[RawRow]) -> list[tuple[str, str] | None]:
    return [(row.columns["text"], row.columns["label"]) if row.columns else None for row in rows]


# Small inputs that went wrong.


def test_tsv_has_no_quotes() -> None:
    rows, file = read(CASES / "quotes.tsv")
    assert text_and_label(rows) == [
        ('"Oh no, not this again', "negative"),
        ("a fine film", "positive"),
        ('"Oh yes, at last', "positive"),
        ("dull and slow", "negative"),
        ('"The End" was fine', "positive"),
    ]
    assert (file.lines, file.delimiter, file.quote) == (6, "\t", None)


def test_a_broken_quote_in_csv_rejects_its_line_only() -> None:
    rows, file = read(CASES / "quotes.csv")
    assert text_and_label(rows) == [None, ("a fine film", "positive"), None, ("dull", "negative")]
    assert [(row.line, row.column, row.text) for row in rows if row.columns is None] == [
        (2, 1, '"Oh no,negative'),
        (4, 1, '"Oh yes,positive'),
    ]
    assert {row.reason for row in rows if row.columns is None} == {"broken quote"}
    assert (file.lines, file.records) == (5, 4)


def test_a_quote_escaped_by_a_backslash_is_rejected_with_its_place() -> None:
    rows, _ = read(CASES / "backslash.csv")
    line = r'"he said \"no, never\" twice",negative'
    assert rows[0] == RawRow("backslash.csv:1", None, "broken quote", 2, line.index("no,") + 1, line)
    assert text_and_label(rows[1:]) == [("fine", "positive")]


def test_a_json_array_is_read_whatever_the_suffix(tmp_path: Path) -> None:
    rows, file = read(CASES / "array.jsonl")
    assert text_and_label(rows) == [("a", "x"), ("b", "y")]
    assert [row.line for row in rows] == [2, 3]
    assert (file.format, file.lines) == ("JSON array", 4 + 1)
    (tmp_path / "a.json").write_bytes((CASES / "array.jsonl").read_bytes())
    assert text_and_label(read(tmp_path / "a.json")[0]) == [("a", "x"), ("b", "y")]


def test_the_rest_of_a_broken_text_with_line_breaks_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        'text,label\n"He said "hi" to me\nand left, twice, for good\nfor home",x\n'
        'an odd 5" pipe,y\n"one\n""two""",y\n"three\nfour" five,x\nsix,y\n'
    )
    rows, _ = read(path)
    assert [(row.line, row.reason) for row in rows] == [
        (2, "broken quote"),
        (3, "not a record"),
        (4, "broken quote"),
        (5, "broken quote"),
        (6, ""),
        (8, "broken quote"),
        (9, "broken quote"),
        (10, ""),
    ]
    assert text_and_label(rows)[4] == ('one\n"two"', "y")


def test_rejected_rows_are_stored_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\nfine,x\n\n"bad" ly,x\n ,y\ndull,y\n')
    manifest = ingest_source(Source(uri=str(path)), tmp_path / "out", tmp_path)
    rejected = list(Dataset.open(tmp_path / "out").rejected())
    assert [(row.id, row.reason, row.text, row.line, row.column) for row in rejected] == [
        ("a.csv:2", "broken quote", '"bad" ly,x', 4, 6),
        ("a.csv:3", "empty text", " ", 5, None),
    ]
    assert [(file.name, file.lines, file.records) for file in manifest.files] == [("a.csv", 6, 4)]


def test_rejected_rows_of_earlier_versions_are_readable(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nfine,x\n,y\ndull,y\n")
    ingest_source(Source(uri=str(tmp_path / "a.csv")), tmp_path / "out", tmp_path)
    file = tmp_path / "out" / "rejected.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["split", "line", "column"]), file)
    (row,) = Dataset.open(tmp_path / "out").rejected()
    assert (row.id, row.line, row.column) == ("a.csv:2", None, None)


# Any bytes.

PIECES = [
    b'"',
    b'""',
    b'"a"',
    b",",
    b"\t",
    b";",
    b"\n",
    b"\r\n",
    b"\r",
    b"\x00",
    b"a",
    b"b,c\n",
    b"\xff",
    "ä€".encode(),
]
BYTES = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join))


def physical_lines(path: Path, file: SourceFile) -> list[str]:
    """Return the decoded lines with their ends; ``wc -l`` counts the same, and a last line without an end is a line."""
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    text = content.decode(file.encoding or "", "surrogateescape" if file.encoding == "utf-8" else "strict")
    lines = text.split("\n")
    ended = [f"{line}\n" for line in lines[:-1]]
    return ended + lines[-1:] if lines[-1] else ended


def strict_records(lines: list[str]) -> list[list[str]]:
    return [fields for fields in csv.reader(lines, strict=True) if fields]


@settings(deadline=None, max_examples=500)
@given(content=BYTES, start=st.sampled_from([b"", b"\xef\xbb\xbf"]), limit=st.sampled_from([30, 1 << 20]))
@example(content=b'"\r\r', start=b"", limit=30)
def test_any_csv_is_accounted_for_line_by_line(
    content: bytes, start: bytes, limit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(start + b"text,label\n" + content)
    try:
        rows, file = read(path, max_line_bytes=limit)
    except InputError as error:
        message = str(error)
        assert "limit" in message or "cannot be read" in message
        return
    assert (rows, file) == read(path, max_line_bytes=limit)
    lines = physical_lines(path, file)
    assert file.lines == len(lines)
    contents = [number for number, line in enumerate(lines, 1) if line.strip("\r\n") and number > 1]
    starts = [row.line or 0 for row in rows]
    assert starts == sorted(set(starts))
    assert starts[:1] == contents[:1]
    for row, following in zip(rows, [*starts, len(lines) + 1][1:], strict=True):
        own = lines[(row.line or 0) - 1 : following - 1]
        if row.columns is not None:
            # The lines of a kept row are exactly one record, so no text spans two records.
            assert strict_records(own) == [[row.columns["text"], row.columns["label"]]]
        elif row.reason == "broken quote":
            assert [line for line in own if line.strip()][1:] == []
            assert row.text == own[0].removesuffix("\n").removesuffix("\r")
        elif row.reason == "not a record" and "\r" not in "".join(own).replace("\r\n", ""):
            (fields,) = strict_records(own)
            assert len(fields) != 2


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8)


@settings(deadline=None, max_examples=100)
@given(
    table=st.lists(st.lists(CELL, min_size=1, max_size=3), max_size=12),
    delimiter=st.sampled_from([",", ";", "|", "\t"]),
    quote=st.sampled_from(['"', "'"]),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-32"]),
)
def test_a_valid_csv_has_the_records_of_pythons_strict_reader(
    table: list[list[str]], delimiter: str, quote: str, encoding: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, quotechar=quote).writerows([("text", "label"), *table])
    path.write_bytes(buffer.getvalue().encode(encoding))
    rows, file = read(path, format={"delimiter": delimiter, "quote": quote})
    buffer.seek(0)
    expected = [fields for fields in csv.reader(buffer, delimiter=delimiter, quotechar=quote, strict=True) if fields][
        1:
    ]
    assert text_and_label(rows) == [(fields[0], fields[1]) if len(fields) == 2 else None for fields in expected]
    assert Counter(row.reason for row in rows if row.reason) == Counter(
        "not a record" for fields in expected if len(fields) != 2
    )
    assert file.lines == buffer.getvalue().count("\n")


@settings(deadline=None, max_examples=200)
@given(content=BYTES)
def test_any_tsv_has_one_row_per_line_that_is_not_blank(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("tsv") / "a.tsv"
    path.write_bytes(b"text\tlabel\n" + content)
    rows, file = read(path)
    lines = dict(enumerate(physical_lines(path, file), 1))
    del lines[1]
    expected = {number: line.removesuffix("\n").removesuffix("\r") for number, line in lines.items()}
    expected = {number: line for number, line in expected.items() if line}
    assert [row.line for row in rows] == list(expected)
    for row, line in zip(rows, expected.values(), strict=True):
        fields = line.split("\t")
        is_usable = len(fields) == 2 and "\r" not in line and not any("\udc80" <= c <= "\udcff" for c in line)
        assert (row.columns and list(row.columns.values())) == (fields if is_usable else None)
        assert is_usable or row.text == line


JSON_PIECES = [
    b'{"text":"a","label":"b"}',
    b"\n",
    b"\r\n",
    b"{}",
    b'"',
    b"[",
    b"]",
    b",",
    b"\xff",
    b" ",
    b"1",
    b"null",
    b"{",
]


@settings(deadline=None, max_examples=200)
@given(content=st.one_of(st.binary(max_size=100), st.lists(st.sampled_from(JSON_PIECES), max_size=30).map(b"".join)))
def test_any_json_lines_have_one_row_per_line_that_is_not_blank(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    path.write_bytes(b'{"text":"a","label":"b"}\n' + content)
    rows, file = read(path)
    lines = physical_lines(path, file)
    assert file.lines == len(lines)
    assert [row.line for row in rows] == [number for number, line in enumerate(lines, 1) if line.strip()]
    for row in rows:
        try:
            value = json.loads(lines[(row.line or 0) - 1])
        except ValueError:
            value = None
        if row.columns is not None:
            assert row.columns == value
        else:
            assert row.reason == "undecodable bytes" or not isinstance(value, dict)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=200)
@given(
    elements=st.lists(JSON, max_size=8),
    indent=st.sampled_from([None, 1]),
    is_ascii=st.booleans(),
    cut=st.none() | st.integers(0, 200),
    chunk=st.sampled_from([1, 7, 1 << 16]),
)
def test_a_json_array_has_one_row_per_element_or_is_named_as_broken(
    elements: list[Any],
    indent: int | None,
    is_ascii: bool,
    cut: int | None,
    chunk: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    elements = [{"text": "a", "label": "b"}, *elements]
    content = json.dumps(elements, indent=indent, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_bytes(content[:cut] if cut and cut < len(content) else content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textgate.components.ingest.json_records._CHUNK_BYTES", chunk)
        if cut and cut < len(content):
            with pytest.raises(InputError, match=r"a\.json is not valid JSON after line \d+: "):
                read(path)
            return
        rows, file = read(path)
    assert file.lines == content.count(b"\n") + 1
    assert len(rows) == len(elements)
    for row, element in zip(rows, elements, strict=True):
        is_usable = isinstance(element, dict) and not any("\ud800" <= c <= "\udfff" for c in repr(element))
        if is_usable or row.columns is not None:
            assert row.columns == element
        else:
            assert row.reason == ("undecodable bytes" if isinstance(element, dict) else row.reason)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
@settings(deadline=None, max_examples=10)
@given(contents=st.lists(BYTES, min_size=2, max_size=4), parts=st.integers(1, 5))
def test_reading_in_parts_gives_the_same_as_reading_at_once(
    suffix: str, contents: list[bytes], parts: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    (folder / "in").mkdir()
    for number, content in enumerate(contents):
        path = folder / "in" / f"{number}.{suffix}"
        if suffix == "parquet":
            values = content.decode("utf-8", "replace").split("\n")
            pq.write_table(pa.table({"text": [*values, "a", "b"], "label": [*values, "x", "y"]}), path)
        else:
            header = {"csv": b"text,label\na,x\nb,y\n", "tsv": b"text\tlabel\na\tx\nb\ty\n"}
            objects = b'{"text":"a","label":"x"}\n{"text":"b","label":"y"}\n'
            path.write_bytes(header.get(suffix, objects) + content)
    source = Source(uri=str(folder / "in"), max_rejected=1, max_undecodable=1)
    whole = ingest_source(source, folder / "whole", folder)
    assert whole == ingest_source(source, folder / "again", folder)
    for part in range(parts):
        ingest_part(source, part, parts, folder / f"part-{part}", folder)
    folders = [folder / f"part-{part}" for part in range(parts)]
    random.Random(parts).shuffle(folders)
    assert join_parts(source, folders, folder / "joined", folder) == whole
    one, other = Dataset.open(folder / "whole"), Dataset.open(folder / "joined")
    assert list(one.rejected()) == list(other.rejected())
    assert list(one.rows("all")) == list(other.rows("all"))
