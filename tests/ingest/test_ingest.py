import gzip
import json
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
from textgate.components.ingest.ingest import ingest_source

NO_LIMITS = {"max_rejected": 1, "max_undecodable": 1}
"""test_loss_limits.py tests the limits."""
GOOD = [{"text": "fine film", "label": "pos"}, {"text": "dull, long film", "label": "neg"}]


def ingest(path: Path, tmp_path: Path, **settings_: Any) -> Dataset:
    source = Source.model_validate({"uri": str(path), **NO_LIMITS, **settings_})
    ingest_source(source, tmp_path / "out", tmp_path / "downloads")
    return Dataset.open(tmp_path / "out")


def rows(dataset: Dataset) -> list[tuple[str, str]]:
    return [(row.text, row.label) for row in dataset.rows("all")]


def reasons(dataset: Dataset) -> dict[str, str]:
    return {row.id: row.reason for row in dataset.rejected()}


def write_csv(path: Path, records: list[dict[str, str]], delimiter: str = ",") -> None:
    quoted = [[f'"{value}"' for value in record.values()] for record in records]
    path.write_text("\n".join(delimiter.join(line) for line in [list(records[0]), *quoted]) + "\n")


@pytest.mark.parametrize(
    "name", ["a.csv", "a.tsv", "a.jsonl", "a.ndjson", "a.parquet", "a.csv.gz", "a.tsv.gz", "a.jsonl.gz"]
)
def test_every_format_reads_the_same_rows(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    plain = tmp_path / name.removesuffix(".gz")
    quote: dict[str, Any] = {}
    if ".parquet" in name:
        pq.write_table(pa.Table.from_pylist(GOOD), path)
    elif "json" in name:
        plain.write_text("\n".join(map(json.dumps, GOOD)))
    else:
        write_csv(plain, GOOD, "\t" if ".tsv" in name else ",")
        quote = {"format": {"quote": '"'}}
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(plain.read_bytes()))
    dataset = ingest(path, tmp_path, **quote)
    assert rows(dataset) == [("fine film", "pos"), ("dull, long film", "neg")]
    assert dataset.manifest.labels == ["neg", "pos"]
    assert [row.id for row in dataset.rows("all")] == [f"{name}:1", f"{name}:2"]


def test_a_folder_of_files_and_a_folder_of_classes(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    write_csv(files / "b.csv", [GOOD[1]])
    (files / "a.jsonl").write_text(json.dumps(GOOD[0]))
    assert rows(ingest(files, tmp_path)) == [("fine film", "pos"), ("dull, long film", "neg")]

    classes = tmp_path / "classes"
    for label, text in (("pos", b"fine\nfilm"), ("neg", b"dull film"), ("neg", b"\xff\xfe"), ("pos", b" ")):
        (classes / label).mkdir(parents=True, exist_ok=True)
        (classes / label / f"{len(list((classes / label).iterdir()))}.txt").write_bytes(text)
    (tmp_path / "out").rename(tmp_path / "first")
    dataset = ingest(classes, tmp_path, format={"encoding": "utf-8"})
    assert rows(dataset) == [("dull film", "neg"), ("fine\nfilm", "pos")]
    assert reasons(dataset) == {"neg/1.txt": "undecodable bytes", "pos/1.txt": "empty text"}


CSV = b"""\xef\xbb\xbftext,label,extra
fine film,pos,\r
"a ""quoted"" film,
on two lines",neg,x
,pos,x
   ,pos,x
no label,,x
whose label?,maybe,x
bad \xff bytes,pos,x
too,few
one,too,many,fields
"""


def test_every_reason_of_rejection_in_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(CSV + b"x" * 3_000 + b",pos,x\nlast film,neg,x\n")
    dataset = ingest(tmp_path / "a.csv", tmp_path, labels={"neg": "bad", "pos": "good"}, max_line_bytes=1_000)
    assert rows(dataset) == [
        ("fine film", "good"),
        ('a "quoted" film,\non two lines', "bad"),
        ("last film", "bad"),
    ]
    assert Counter(reasons(dataset).values()) == {
        "empty text": 2,
        "missing label": 1,
        "unknown label": 1,
        "undecodable bytes": 1,
        "not a record": 2,
        "over-long line": 1,
    }
    manifest = dataset.manifest
    assert manifest.rows_in == 11 == manifest.rows_out + sum(manifest.rejected.values())
    assert manifest.labels == ["bad", "good"]


def test_every_reason_of_rejection_in_json_lines(tmp_path: Path) -> None:
    lines = [
        b'{"text": "fine", "label": 1}',
        b'{"text": "dull", "label": 0.0}',
        b'{"text": null, "label": 1}',
        b'{"label": 1}',
        b'{"text": "no label"}',
        b'{"text": "unknown \xc3\xbc\xc3\xbc", "label": 7}',
        b'{"text": "half a pair \\ud800", "label": 1}',
        b'{"text": "bad \xff", "label": 1}',
        b"[1, 2]",
        b"{not json",
        b"",
        b'{"text": "' + b"x" * 2_000 + b'", "label": 1}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    dataset = ingest(tmp_path / "a.jsonl", tmp_path, labels={0: "no", 1: "yes"}, max_line_bytes=1_000)
    assert rows(dataset) == [("fine", "yes"), ("dull", "no")]
    assert dataset.manifest.rejected == {
        "empty text": 2,
        "missing label": 1,
        "not a record": 2,
        "over-long line": 1,
        "undecodable bytes": 2,
        "unknown label": 1,
    }
    assert dataset.manifest.rows_in == 11


def test_undecodable_bytes_in_parquet_reject_one_row_only(tmp_path: Path) -> None:
    text = pa.array([b"fine", b"bad \xff", b"dull"], pa.binary()).view(pa.binary())
    table = pa.table({"text": pa.Array.from_buffers(pa.string(), 3, text.buffers()), "label": ["a", "a", "b"]})
    pq.write_table(table, tmp_path / "a.parquet")
    dataset = ingest(tmp_path / "a.parquet", tmp_path)
    assert rows(dataset) == [("fine", "a"), ("dull", "b")]
    assert reasons(dataset) == {"a.parquet:2": "undecodable bytes"}


def test_an_unclosed_quote_rejects_one_row_only(tmp_path: Path) -> None:
    lines = ["text,label", "fine,pos", '"never closed,pos', *(f"filler {number:04d},neg" for number in range(200))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    dataset = ingest(tmp_path / "a.csv", tmp_path, max_line_bytes=500)
    assert dataset.manifest.rejected["over-long line"] == 1
    assert rows(dataset)[0] == ("fine", "pos")
    assert len(rows(dataset)) > 150


def test_filtered_rows_are_counted_separately(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [{**row, "year": str(1990 + n)} for n, row in enumerate([*GOOD, *GOOD])])
    dataset = ingest(tmp_path / "a.csv", tmp_path, where="year >= 1992")
    assert (dataset.manifest.rows_in, dataset.manifest.rows_filtered) == (2, 2)


@pytest.mark.parametrize(
    ("content", "settings_", "sentence"),
    [
        ("text,label\n", {}, "a.csv has no rows"),
        ("", {}, "has no header row"),
        ("text,text,label\nx,y,z\n", {}, "names 'text' more than once"),
        ("text,label\nx,a\ny,b\n", {"text": "txt"}, "no column 'txt' in .*; did you mean 'text'\\? It has text, label"),
        ("text,label\nx,a\ny,b\n", {"label": "class"}, "no column 'class'"),
        ("text,label\nx,a\ny,b\n", {"where": "yeer > 3"}, "no column 'yeer'"),
        ("text,label\nx,a\ny,b\n", {"where": "label == c"}, "the row filter 'label == c' selects none of the 2 rows"),
        ("text,label\nx,a\ny,b\n", {"where": "import os"}, "is not a comparison of columns with values, such as"),
        ("text,label\nx,a\ny,a\n", {}, "every row of .* has the label 'a': a classifier needs at least two classes"),
        ("text,label\n,a\n ,b\n", {}, "no row of .* can be used: 2 empty text"),
        ("text,label\nx,a\ny,b\n", {"labels": {"a": "A", "b": "B", "c": "C"}}, "no row of .* has the label 'C'"),
        ("text,label\n" + "".join(f"t,{n}\n" for n in range(1_001)), {}, "over 1,000 different values"),
    ],
)
def test_an_unusable_source_is_an_input_error_and_leaves_no_files(
    content: str, settings_: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InputError, match=sentence) as error:
        ingest(tmp_path / "a.csv", tmp_path, **settings_)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_an_unreadable_file_is_an_input_error(tmp_path: Path) -> None:
    packed = gzip.compress(b"text,label\n" + b"x,a\ny,b\n" * 1_000)
    for name, content, sentence in [
        ("cut.csv.gz", packed[:-20], "cut.csv.gz is damaged"),
        ("not.csv.gz", b"text,label\nx,a", "not.csv.gz is damaged"),
        ("bad.parquet", b"PAR1 this is not", "bad.parquet is damaged"),
        ("data.docx", b"PK", "the format of .*data.docx is not known by its name: CSV, TSV, JSONL"),
        ("data", b"", "the format of .*data is not known"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=sentence):
            ingest(tmp_path / name, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no file"):
        ingest(tmp_path / "empty", tmp_path)
    with pytest.raises(InputError, match="there is no file or folder"):
        ingest(tmp_path / "absent.csv", tmp_path)
    assert not (tmp_path / "out").exists()


@settings(deadline=None, max_examples=60)
@given(
    content=st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from(
                [
                    b'"',
                    b",",
                    b"\n",
                    b"\r",
                    b"\x00",
                    b"a",
                    b"\xff",
                    b"{",
                    b"}",
                    b"[",
                    b"]",
                    b'{"text":"a","label":"b"}\n',
                ]
            )
        ).map(b"".join),
    ),
    suffix=st.sampled_from([".csv", ".tsv", ".jsonl"]),
)
def test_random_bytes_give_rows_that_add_up_or_an_input_error(
    content: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("random")
    path = folder / f"a{suffix}"
    path.write_bytes(
        (b"" if suffix == ".jsonl" else b"text" + (b"\t" if suffix == ".tsv" else b",") + b"label\n") + content
    )
    try:
        manifest = ingest(path, folder, max_line_bytes=50).manifest
    except InputError:
        assert not (folder / "out").exists()
    else:
        assert manifest.rows_in == manifest.rows_out + sum(manifest.rejected.values())


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(rows_: int, name: str) -> int:
        path = tmp_path / f"{name}.csv"
        with path.open("w") as file:
            file.write("text,label\n")
            for number in range(rows_):
                file.write(f"{'word ' * 100}{number},{number % 2}\n")
            file.write("x" * (rows_ * 500) + ",1\n")
        script = f"""
from pathlib import Path
from textgate.components.contracts import Source
from textgate.components.ingest.ingest import ingest_source
ingest_source(Source(uri={str(path)!r}), Path({str(tmp_path / name)!r}), Path({str(tmp_path)!r}))
# Not ru_maxrss: it is inherited from the parent process, whose peak would hide any growth.
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return int(done.stdout.splitlines()[-1])

    # 1 MB and 120 MB of text: memory holds one shard, so it stops growing.
    small, large = peak(1_000, "small"), peak(120_000, "large")
    assert large - small < 150_000
