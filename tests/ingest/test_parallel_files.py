"""Parallel files: line n of each file is row n."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from textgate.components.contracts import Dataset, InputError, Source
from textgate.components.ingest.ingest import ingest_source

FILES = {"text": "*_text.txt", "label": "*_labels.txt"}


def ingest(folder: Path, out: Path, **settings_: Any) -> Dataset:
    source = Source.model_validate(
        {"uri": str(folder), "parallel": FILES, "max_rejected": 1, "max_undecodable": 1, **settings_}
    )
    ingest_source(source, out / "dataset", out / "downloads")
    return Dataset.open(out / "dataset")


def rows(dataset: Dataset, split: str = "all") -> list[tuple[str, str, str]]:
    return [(row.id, row.text, row.label) for row in dataset.rows(split)]


@pytest.fixture
def tweets(tmp_path: Path) -> Path:
    folder = tmp_path / "tweets"
    folder.mkdir()
    files = {
        "train_text.txt": "one \n two\u2028too\x0b\x85\r\n\nfour\n",
        "train_labels.txt": "0\n1\n1\n\n",
        "val_text.txt": "five\nsix",
        "val_labels.txt": "1\n0\n",
        "test_text.txt": "\ufeffseven\rstill seven\neight\n",
        "test_labels.txt": "0\n1",
        "mapping.txt": "0\tcalm\n1\thate\n",
        "._train_text.txt": "left by macOS",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content.encode())
    return folder


def test_each_line_is_a_row_and_the_star_is_its_split(tweets: Path, tmp_path: Path) -> None:
    dataset = ingest(tweets, tmp_path, labels={"0": "calm", "1": "hate"}, test="split == test", metadata=["split"])
    assert rows(dataset) == [
        ("train_text.txt:1", "one ", "calm"),
        ("train_text.txt:2", " two\u2028too\x0b\x85", "hate"),
        ("val_text.txt:1", "five", "hate"),
        ("val_text.txt:2", "six", "calm"),
    ]
    assert rows(dataset, "test") == [
        ("test_text.txt:1", "seven\rstill seven", "calm"),
        ("test_text.txt:2", "eight", "hate"),
    ]
    assert [row.metadata["split"] for row in dataset.rows("all")] == ["train", "train", "val", "val"]
    rejected = {row.id: row.reason for row in dataset.rejected()}
    assert rejected == {"train_text.txt:3": "empty text", "train_text.txt:4": "missing label"}


def test_a_line_that_cannot_be_read_rejects_its_row_only(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"fine\n" + b"long " * 9 + b"\n\xff\nend\n" + "ä".encode() * 11 + b"\nx" * 2)
    (tmp_path / "b").write_bytes(b"0\n" * 4 + b"1\n1\n\xe4\n")
    dataset = ingest(
        tmp_path,
        tmp_path / "out",
        parallel={"text": "a", "label": "b"},
        max_line_bytes=20,
        format={"encoding": "utf-8"},
    )
    assert rows(dataset) == [("a:1", "fine", "0"), ("a:4", "end", "0"), ("a:6", "x", "1")]
    assert [(row.id, row.line, row.reason, row.text) for row in dataset.rejected()] == [
        ("a:2", 2, "over-long line", "long long long long l"),
        ("a:3", 3, "undecodable bytes", "?"),
        ("a:5", 5, "over-long line", "ä" * 10 + "\ufffd"),
        ("a:7", 7, "undecodable bytes", "x"),
    ]
    assert [(file.name, file.records, file.lines) for file in dataset.manifest.files] == [("a", 7, 7), ("b", 7, 7)]


def test_each_file_has_its_own_encoding(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("Das ist gut\r\nSo ein Müll, schön wär's für mich\n".encode("utf-16"))
    (tmp_path / "b").write_bytes("schön\nmäßig\n".encode("cp1252"))
    dataset = ingest(tmp_path, tmp_path / "out", parallel={"text": "a", "label": "b"})
    assert [row[1:] for row in rows(dataset)] == [
        ("Das ist gut", "schön"),
        ("So ein Müll, schön wär's für mich", "mäßig"),
    ]
    assert [file.encoding for file in dataset.manifest.files] == ["utf-16", "cp1252"]


def test_the_star_may_be_a_folder_and_files_may_be_compressed(tmp_path: Path) -> None:
    for split in ("test", "train"):
        folder = tmp_path / "snips" / split
        folder.mkdir(parents=True)
        (folder / "seq.in.gz").write_bytes(gzip.compress(f"play {split}\nrain in {split}\n".encode()))
        (folder / "label").write_text("music\nweather\n")
    dataset = ingest(
        tmp_path / "snips", tmp_path, parallel={"text": "*/seq.in.gz", "label": "*/label"}, test="split == test"
    )
    assert rows(dataset, "test")[0] == ("test/seq.in.gz:1", "play test", "music")
    assert rows(dataset)[1] == ("train/seq.in.gz:2", "rain in train", "weather")


def test_files_of_different_lengths_are_an_input_error(tweets: Path, tmp_path: Path) -> None:
    (tweets / "val_labels.txt").write_text("1\n")
    sentence = r"val_text\.txt has 2 lines but val_labels\.txt 1: line n of one file belongs to line n of the other"
    with pytest.raises(InputError, match=sentence) as error:
        ingest(tweets, tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "dataset").exists()
    (tweets / "val_labels.txt").write_text("1\n0\n1\n0\n")
    with pytest.raises(InputError, match=r"val_text\.txt has 2 lines but val_labels\.txt 4"):
        ingest(tweets, tmp_path)


def test_a_missing_file_or_column_is_an_input_error(tweets: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \*_words\.txt, which source\.parallel names"):
        ingest(tweets, tmp_path, parallel=FILES | {"text": "*_words.txt"})
    with pytest.raises(InputError, match=r"no column 'lable' in source\.parallel; did you mean 'label'"):
        ingest(tweets, tmp_path, label="lable")
    with pytest.raises(InputError, match=r"no column 'split' in source\.parallel"):
        ingest(tweets, tmp_path, parallel={"text": "val_text.txt", "label": "val_labels.txt"}, test="split == val")
    with pytest.raises(InputError, match=r"val_text\.txt is one file, but source\.parallel reads \*_text\.txt and"):
        ingest(tweets / "val_text.txt", tmp_path)
    (tweets / "val_labels.txt").unlink()
    with pytest.raises(InputError, match=r"holds no val_labels\.txt, but other files that source\.parallel names"):
        ingest(tweets, tmp_path)


@pytest.mark.parametrize(
    ("settings_", "sentence"),
    [
        ({"parallel": {"text": "a.txt"}}, "must name a different file for each of two or more columns"),
        ({"parallel": {"text": "a.txt", "label": "a.txt"}}, "must name a different file"),
        ({"parallel": {"text": "*.txt", "label": "b"}}, "all with * or all without"),
        ({"parallel": {"text": "**/a", "label": "**/b"}}, "with one * at most"),
        ({"parallel": {"text": "../a", "label": "b"}}, "is not the name of a file in the folder"),
        ({"parallel": {"text": "/a", "label": "b"}}, "is not the name of a file in the folder"),
        ({"parallel": FILES, "columns": ["text", "label"]}, "leave out source.columns"),
        (
            {"parallel": FILES, "format": {"delimiter": "tab", "encoding": "utf-8"}},
            "leave out delimiter of source.format",
        ),
        ({"parallel": FILES, "uri": "hf://org/name"}, "a data set of the hub has no such files"),
    ],
)
def test_names_that_cannot_be_parallel_files_are_refused(settings_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as error:
        Source.model_validate({"uri": "folder", **settings_})
    assert sentence in str(error.value)


LINES = st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=9).filter(
    lambda line: line.strip() and not line.endswith("\r") and not line.startswith("\ufeff")
)


@settings(deadline=None, max_examples=50)
@given(lines=st.lists(LINES, min_size=2, max_size=9), end=st.sampled_from(["\n", "\r\n"]), is_ended=st.booleans())
def test_texts_are_the_physical_lines(
    lines: list[str], end: str, is_ended: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("t")
    (folder / "texts").write_bytes((end.join(lines) + end * is_ended).encode())
    (folder / "labels").write_bytes(b"a\n" * (len(lines) - 1) + b"b\n")
    dataset = ingest(folder, folder / "out", parallel={"text": "texts", "label": "labels"})
    assert [text for _, text, _ in rows(dataset)] == lines
