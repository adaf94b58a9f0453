"""Test and validation split that the source gives."""

import json
from pathlib import Path

import pytest

from textgate.components.contracts import Dataset, InputError, Source
from textgate.components.ingest.ingest import ingest_source

TEST, VALIDATION = "split == test", "split == dev"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Folder of a corpus with the splits train (4 rows), dev (2) and test (3, one of them without a text)."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for split, count in {"train": 4, "dev": 2, "test": 3}.items():
        rows = [{"text": f"{split} {number}", "label": "ab"[number % 2]} for number in range(count)]
        if split == "test":
            rows[-1]["text"] = ""
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def ingest(corpus: Path, **settings: str) -> Dataset:
    ingest_source(Source.model_validate({"uri": str(corpus), **settings}), corpus / "out", corpus)
    return Dataset.open(corpus / "out")


def texts(dataset: Dataset) -> dict[str, list[str]]:
    return {split: [row.text for row in dataset.rows(split)] for split in dataset.manifest.counts}


def test_both_given_splits_are_taken_as_they_are(corpus: Path) -> None:
    dataset = ingest(corpus, test=TEST, validation=VALIDATION)
    assert texts(dataset) == {
        "all": ["train 0", "train 1", "train 2", "train 3"],
        "test": ["test 0", "test 1"],
        "validation": ["dev 0", "dev 1"],
    }
    assert dataset.manifest.counts["validation"] == {"a": 1, "b": 1}
    assert dataset.manifest.rejected == {"empty text": 1}
    assert dataset.manifest.rows_in == 9


def test_a_validation_split_is_given_without_a_test_split(corpus: Path) -> None:
    dataset = ingest(corpus, validation=VALIDATION)
    assert {split: len(rows) for split, rows in texts(dataset).items()} == {"all": 6, "validation": 2}


def test_rows_that_the_row_filter_leaves_out_are_in_no_split(corpus: Path) -> None:
    dataset = ingest(corpus, test=TEST, validation=VALIDATION, where="text not in ['train 0', 'dev 0']")
    assert [len(rows) for rows in texts(dataset).values()] == [3, 2, 1]
    assert dataset.manifest.rows_filtered == 2


def test_a_row_in_both_splits_is_an_input_error(corpus: Path) -> None:
    with pytest.raises(InputError) as error:
        ingest(corpus, test="split != train", validation=VALIDATION)
    assert str(error.value) == (
        "both source.test 'split != train' and source.validation 'split == dev' select the row dev.jsonl:1: change one "
        "of them, because a row is in one split only"
    )
    assert not (corpus / "out").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"validation": "split == val"}, "source.validation 'split == val' selects 0 of the 8 rows of .*: it must"),
        (
            {"test": TEST, "validation": "split != test"},
            "source.test 'split == test' selects 2 and source.validation 'split != test' selects 6 of the 8 rows of "
            ".*: they must select some of them and leave others to train on",
        ),
        ({"test": TEST, "validation": "split == val"}, "^source.validation 'split == val' selects 0 of the 8 rows"),
        ({"validation": "fold == dev"}, "no column 'fold' in dev.jsonl"),
        ({"validation": "split ="}, "the row filter 'split =' is not a comparison"),
    ],
)
def test_a_wrong_filter_is_an_input_error(settings: dict[str, str], sentence: str, corpus: Path) -> None:
    with pytest.raises(InputError, match=sentence) as error:
        ingest(corpus, **settings)
    assert "\n" not in str(error.value)
    assert not (corpus / "out").exists()
