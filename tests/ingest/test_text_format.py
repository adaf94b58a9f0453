"""``source.format`` and what is found out where it says nothing: encoding, delimiter, header."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from textgate.components.contracts import Dataset, InputError, Source
from textgate.components.contracts.recipe.source import FileFormat
from textgate.components.contracts.source_file import SourceFile
from textgate.components.ingest.ingest import ingest_source
from textgate.components.ingest.local_source import read_local


def read(path: Path, **settings_: Any) -> tuple[list[tuple[str, str]], SourceFile]:
    """Return text and label, or the reason of rejection twice, of every row, and how the file was read."""
    files: list[SourceFile] = []
    source = Source.model_validate({"uri": str(path), **settings_})
    rows = list(read_local(path, source, [*source.text_columns, source.label], None, files))
    pairs = [
        (row.columns[source.text_columns[0]], row.columns[source.label]) if row.columns else (row.reason, row.reason)
        for row in rows
    ]
    return pairs, files[0]


# Encoding.

SENTENCES = {
    "cp1252": [
        "Die Prüfung der Übungsgruppe fällt aus. Schöne Grüße!",
        "L’été dernier, j’ai mangé des crêpes",
        "Win £900 now",
    ],
    "cp1250": ["Zażółć gęślą jaźń. Źdźbło trawy rośnie na łące", "Příliš žluťoučký kůň úpěl ďábelské ódy"],
    "cp1251": ["Очень хороший фильм, смотрел с удовольствием", "Дуже гарний фільм, раджу всім їхати"],
    "koi8_r": ["Очень хороший фильм, смотрел с удовольствием"],
    "cp1253": ["Πολύ καλή ταινία, την είδα με ευχαρίστηση"],
    "cp1254": ["Çok güzel bir film, keyifle izledim. Herkese öneririm, şöyle bir iş değil"],
    "cp1255": ["סרט טוב מאוד, צפיתי בהנאה. אני ממליץ לכולם"],
    "cp1256": ["فيلم جيد جدا، شاهدته بمتعة. أنصح به الجميع"],
    "gb18030": ["这部电影非常好看,我很喜欢。推荐给大家!酒店房间很干净"],
    "cp932": ["とても良い映画でした。みんなにおすすめします。東京タワー"],
    "euc_jp": ["とても良い映画でした。みんなにおすすめします。東京タワー"],
    "cp949": ["아주 좋은 영화였습니다. 모두에게 추천합니다. 한국어"],
}


@pytest.mark.parametrize(("encoding", "sentence"), [(name, text) for name in SENTENCES for text in SENTENCES[name]])
def test_the_encoding_of_a_whole_file_is_guessed_and_shown(
    encoding: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The first hundred lines are ASCII, so the start of the file does not tell.
    texts = [f"plain {number}" for number in range(100)] + [f"{number} {sentence}" for number in range(20)]
    path = tmp_path / "a.tsv"
    path.write_bytes(
        "".join(f"{text}\t{'xy'[len(text) % 2]}\n" for text in ["text\tlabel"[:4], *texts]).encode(encoding)
    )
    rows, file = read(path, columns=["text", "label"], format={"header": True})
    assert [text for text, _ in rows] == texts
    assert (file.encoding, file.is_encoding_guessed) == (encoding, True)
    assert f"a.tsv: guessed encoding {encoding} " in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("suffix", ["csv", "tsv.gz", "jsonl", "json"])
def test_a_byte_order_mark_decides(encoding: str, suffix: str, tmp_path: Path) -> None:
    content = {
        "csv": 'text,label\nhäßlich,x\n"Ċ\nĊ",y\n',
        "tsv.gz": "text\tlabel\nhäßlich\tx\nĊ Ċ\ty\n",
        "jsonl": '{"text":"häßlich","label":"x"}\n{"text":"Ċ Ċ","label":"y"}\n',
        "json": '[{"text":"häßlich","label":"x"},\n{"text":"Ċ Ċ","label":"y"}]\n',
    }[suffix].encode(encoding)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    rows, file = read(path)
    # The letter Ċ has the byte of a line feed in UTF-16.
    assert [(text.replace("\n", " "), label) for text, label in rows] == [("häßlich", "x"), ("Ċ Ċ", "y")]
    assert (file.encoding, file.is_encoding_guessed) == (encoding.removesuffix("-sig"), False)


def test_a_few_broken_bytes_in_utf8_reject_their_rows_only(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\nschön,x\nhäßlich,y\n".encode() + b"caf\xe9,x\nna\xefve,y\n")
    assert read(path)[0] == [("schön", "x"), ("häßlich", "y"), *[("undecodable bytes", "undecodable bytes")] * 2]
    # With one multi-byte character less, as many bytes are broken as there are characters.
    path.write_bytes("text,label\nschön,x\nhäslich,y\n".encode() + b"caf\xe9,x\nna\xefve,y\n")
    assert ("café", "x") in read(path)[0]


def test_rejected_bytes_are_located(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,label\nfine,x\ncaf\xe9,x\ndull,y\n")
    source = Source(uri=str(tmp_path / "a.csv"), format=FileFormat(encoding="utf-8"))
    ingest_source(source, tmp_path / "out", tmp_path)
    (row,) = Dataset.open(tmp_path / "out").rejected()
    assert (row.reason, row.line, row.column, row.text) == ("undecodable bytes", 3, 4, "caf?,x")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json"])
def test_the_label_of_an_undecodable_row_is_known(suffix: str, tmp_path: Path) -> None:
    content = {
        "csv": b"text,label\n\xff,x\n",
        "tsv": b"text\tlabel\n\xff\tx\n",
        "jsonl": b'{"text":"\xff","label":"x"}',
        "json": b'[{"text":"\xff","label":"x"}]',
    }[suffix]
    (tmp_path / f"a.{suffix}").write_bytes(content)
    source = Source(uri="a", format=FileFormat(encoding="utf-8"))
    (row,) = read_local(tmp_path / f"a.{suffix}", source, ["text", "label"])
    assert (row.columns, row.reason, (row.known or {})["label"]) == (None, "undecodable bytes", "x")


def test_no_encoding_is_guessed_that_cannot_decode_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    # 0x81 is not in Windows-1252, and the end of the file decides.
    path.write_bytes(b"text,label\n" + b"caf\xe9,x\n" * 50_001 + b"\x81\xff,y\n")
    rows, file = read(path)
    assert file.encoding != "cp1252"
    assert len({len(text) for text, _ in rows[:50_001]}) == 1


def test_the_texts_of_class_folders_have_one_encoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in {"bad/1": "plain", "bad/2": "Grüße, schöne Übungen", "good/1": "für häßliche Öfen"}.items():
        path = tmp_path / "c" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("cp1252"))
    rows, file = read(tmp_path / "c")
    assert rows == [("plain", "bad"), ("Grüße, schöne Übungen", "bad"), ("für häßliche Öfen", "good")]
    assert (file.name, file.records, file.encoding, file.is_encoding_guessed) == ("bad", 2, "cp1252", True)
    assert "c: guessed encoding cp1252 " in capsys.readouterr().out


def test_the_encoding_that_is_said_is_used_for_every_file(tmp_path: Path) -> None:
    for folder, content in [("x", "Привет"), ("y", "мир")]:
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / "1.txt").write_bytes(content.encode("koi8-r"))
    source = Source(uri=str(tmp_path / "in"), format=FileFormat(encoding="KOI8-R"))
    ingest_source(source, tmp_path / "out", tmp_path)
    assert [row.text for row in Dataset.open(tmp_path / "out").rows("all")] == ["Привет", "мир"]


# Delimiter, quote, header.


@pytest.mark.parametrize(("name", "delimiter"), [(";", ";"), ("tab", "\t"), ("|", "|"), ("pipe", "|"), ("\\t", "\t")])
def test_a_file_of_any_name_is_read_with_a_delimiter(name: str, delimiter: str, tmp_path: Path) -> None:
    for file in ("data", "data.txt", "data.csv"):
        (tmp_path / file).write_text(f"text{delimiter}label\na, b{delimiter}x\n")
        rows, found = read(tmp_path / file, format={"delimiter": name})
        assert (rows, found.delimiter) == ([("a, b", "x")], delimiter)
        assert not found.is_delimiter_guessed
    with pytest.raises(
        InputError, match=r"data\.txt is not known by its name: .* if source\.format\.delimiter names it"
    ):
        read(tmp_path / "data.txt")


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("columns", [None, ["text", "label"]])
def test_the_delimiter_of_a_csv_file_is_guessed_and_shown(
    delimiter: str, columns: list[str] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [*([] if columns else [f"text{delimiter}label"]), f"well, a, b{delimiter}x", f"dull{delimiter}y"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    rows, file = read(tmp_path / "a.csv", columns=columns)
    assert (rows, file.delimiter) == ([("well, a, b", "x"), ("dull", "y")], delimiter)
    assert file.is_delimiter_guessed
    assert f"a.csv: guessed delimiter {delimiter!r} " in capsys.readouterr().out


@pytest.mark.parametrize("content", ["text,label;or;none\na;b;c,x\n", "text,label\n;|,x\n"])
def test_a_comma_in_the_header_is_the_delimiter(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text(content)
    _, file = read(tmp_path / "a.csv", label=content.split("\n")[0].split(",")[1])
    assert file.delimiter == ","
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "is_noticed"),
    [
        ('text\tlabel\n"a ""b"" c"\tx\n', True),
        ('"text"\t"label"\n"a"\t"x"\n', True),
        ('text\tlabel\n"The End"\tx\n"so", he said\ty\n', False),
    ],
)
def test_a_tsv_that_looks_quoted_is_noticed(
    content: str, is_noticed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.tsv").write_text(content)
    read(tmp_path / "a.tsv", columns=["text", "label"])
    notice = "a.tsv: quotes are text in TSV; if fields are quoted, set source.format.quote='\"'\n"
    assert capsys.readouterr().out == (notice if is_noticed else "")
    read(tmp_path / "a.tsv", columns=["text", "label"], format={"quote": "none"})
    assert capsys.readouterr().out == ""


def test_quotes_are_said_or_have_no_meaning(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('text\tlabel\n"a ""b""\tc"\tx\n')
    assert read(tmp_path / "a.tsv")[0] == [("not a record", "not a record")]
    assert read(tmp_path / "a.tsv", format={"quote": '"'})[0] == [('a "b"\tc', "x")]
    (tmp_path / "a.csv").write_text("text,label\n\"a,x\n'b,b',y\n")
    assert read(tmp_path / "a.csv", format={"quote": "none"})[0] == [('"a', "x"), ("not a record", "not a record")]
    assert read(tmp_path / "a.csv", format={"quote": "'"})[0] == [('"a', "x"), ("b,b", "y")]


def test_a_header_is_skipped_replaced_or_absent(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("v1,v2,,,\nham,fine,,,\n")
    assert read(tmp_path / "a.csv", text="v2", label="v1")[0] == [("fine", "ham")]
    columns = ["label", "text", "c", "d", "e"]
    assert read(tmp_path / "a.csv", columns=columns)[0] == [("v2", "v1"), ("fine", "ham")]
    assert read(tmp_path / "a.csv", columns=columns, format={"header": True})[0] == [("fine", "ham")]


@pytest.mark.parametrize(
    ("settings_", "sentence"),
    [
        ({"format": {"delimiter": "::"}}, "must be one character, or one of comma, semicolon, tab, pipe, space"),
        ({"format": {"delimiter": "\n"}}, "must be one character"),
        ({"format": {"quote": "<<"}}, "must be one character, or none"),
        ({"format": {"quote": ";", "delimiter": ";"}}, "must be different characters"),
        ({"format": {"encoding": "latin-99"}}, "must name a text encoding of Python's codecs"),
        ({"format": {"encoding": "base64"}}, "must name a text encoding of Python's codecs"),
        ({"format": {"header": False}}, "name the columns with source.columns"),
        ({"format": {"encoding": "cp1252"}, "uri": "hf://a/b"}, "source.format says how files are read"),
    ],
)
def test_an_impossible_format_is_named(settings_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Source.model_validate({"uri": "a.csv", **settings_})


# JSON.


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[1, 2]\n{"text":"a","label":"x"}\n', ["not a record", "a"]),
        ('[{"text":"a","label":"x"}, 7, {"text":"b","label":"y"}]', ["a", "not a record", "b"]),
        ('\n [\n{"text":"a","label":"x"}\n]\n\n', ["a"]),
        ("[]", []),
    ],
)
def test_an_array_is_told_from_lines_that_are_arrays(content: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    assert [text for text, _ in read(tmp_path / "a.jsonl")[0]] == expected


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('[{"text":"a","label":"x"}\n{"text":"b","label":"y"}]', "after line 2: ',' is missing"),
        ('[{"text":"a","label":"x"},]', "after line 1: Expecting value"),
        ('[\n{"text":"a" "label":"x"}]', "after line 2: Expecting ',' delimiter"),
        ('[\n{"text":"a","label":"x"}]\n[]', "after line 3: text follows the value"),
        ("[" * 1_900, "after line 1: nested too deeply"),
        ('["' + "x" * 200_000 + '"]', "after line 1: an element does not end within twice source.max_line_bytes=1,000"),
    ],
)
def test_a_broken_array_is_named_with_its_line(content: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=f"a.json is not valid JSON {sentence}") as error:
        read(tmp_path / "a.json", max_line_bytes=1_000)
    assert "\n" not in str(error.value)


def test_an_array_on_one_line_longer_than_the_limit_is_streamed(tmp_path: Path) -> None:
    element = '{"text":"a","label":"x"}'
    (tmp_path / "a.json").write_text(f"[{','.join([element] * 20_000)},{element[:9] + 'b' * 2_000 + element[9:]}]")
    rows, file = read(tmp_path / "a.json", max_line_bytes=1_000)
    assert rows == [*[("a", "x")] * 20_000, ("over-long line", "over-long line")]
    assert file.lines == 1
