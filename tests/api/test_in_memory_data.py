"""Tables in memory as a source."""

from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pytest

from textgate.components.contracts import Dataset, InputError, Source
from textgate.components.ingest.ingest import ingest_source
from textgate.pipelines.in_memory_data import write_source

TEXTS, LABELS = ["a", "b", "c"], ["good", "bad", "good"]
COLUMNS = {"review": TEXTS, "verdict": LABELS, "id": [1, 2, 3]}


class Exporter:
    """Table of another library, of which only the Arrow interface is known."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def write(data: Any, tmp_path: Path) -> Source:
    return write_source(data, "review", "verdict", tmp_path / "data")


def ingest(data: Any, tmp_path: Path) -> Dataset:
    ingest_source(write(data, tmp_path), tmp_path / "out", tmp_path)
    return Dataset.open(tmp_path / "out")


def pairs(dataset: Dataset, split: str = "all") -> list[tuple[str, str]]:
    return [(row.text, row.label) for row in dataset.rows(split)]


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame(COLUMNS),
        datasets.Dataset.from_dict(COLUMNS),
        pa.table(COLUMNS),
        Exporter(pa.table(COLUMNS)),
        {"train": pd.DataFrame(COLUMNS)},
    ],
    ids=lambda data: type(data).__name__,
)
def test_a_table_is_a_source(data: Any, tmp_path: Path) -> None:
    assert pairs(ingest(data, tmp_path)) == list(zip(TEXTS, LABELS, strict=True))


def test_the_same_content_has_the_same_path(tmp_path: Path) -> None:
    one, other = write(pd.DataFrame(COLUMNS), tmp_path), write(pd.DataFrame(COLUMNS), tmp_path)
    assert one == other
    assert write(pd.DataFrame({**COLUMNS, "review": ["a", "b", "d"]}), tmp_path).uri != one.uri
    assert len(list((tmp_path / "data").iterdir())) == 2


def test_class_numbers_become_names_and_a_missing_label_is_rejected(tmp_path: Path) -> None:
    features = datasets.Features(
        {"review": datasets.Value("string"), "verdict": datasets.ClassLabel(names=["bad", "good"])}
    )
    columns = {"review": [*TEXTS, "d"], "verdict": [1, 0, 1, -1]}
    dataset = ingest(datasets.Dataset.from_dict(columns, features=features), tmp_path)
    assert pairs(dataset) == list(zip(TEXTS, LABELS, strict=True))
    assert dataset.manifest.rejected == {"missing label": 1}


@pytest.mark.parametrize("validation", ["validation", "dev"])
def test_the_splits_of_a_dataset_dict_are_given(validation: str, tmp_path: Path) -> None:
    names = ["train", "extra", validation, "test"]
    data = datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict({"review": [f"{name} {text}" for text in TEXTS], "verdict": LABELS})
            for name in names
        }
    ).shuffle(seed=1)
    dataset = ingest(data, tmp_path)
    found = {split: {text.split()[0] for text, _ in pairs(dataset, split)} for split in dataset.manifest.counts}
    assert found == {"all": {"train", "extra"}, "validation": {validation}, "test": {"test"}}


def test_a_dataset_dict_without_a_split_to_train_on_is_split_as_a_whole(tmp_path: Path) -> None:
    dataset = ingest(datasets.DatasetDict({"test": datasets.Dataset.from_dict(COLUMNS)}), tmp_path)
    assert len(pairs(dataset)) == 3


def test_splits_of_equal_content_are_kept_apart(tmp_path: Path) -> None:
    table = datasets.Dataset.from_dict(COLUMNS)
    dataset = ingest(datasets.DatasetDict({"train": table, "test": table}), tmp_path)
    assert pairs(dataset) == pairs(dataset, "test")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (pd.DataFrame({"review": TEXTS}), "the data have no column 'verdict'; they have review: name the columns with"),
        (datasets.Dataset.from_dict({"x": TEXTS}), "the data have no column 'review'; they have x: name the columns"),
        (
            pd.DataFrame({"review": TEXTS, "verdict": ["1", 2, "1"]}),
            "a column of the data has values of several types: ",
        ),
        (pa.table({"x": TEXTS}), "the data have no column 'review'; they have x: name the columns"),
        (
            [("a", "good")],
            "the data are of type list, which cannot be read: give a path or URI, a DataFrame, a Dataset",
        ),
        ({"../train": pa.table(COLUMNS)}, "the data have a split '../train': a name has letters"),
    ],
)
def test_other_data_are_an_input_error(data: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        write(data, tmp_path)
