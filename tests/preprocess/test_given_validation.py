"""A validation split given by the source, with a given test split or one that is cut."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import Dataset, InputError, Preprocess, Row, TextNormalizer, dataset_writer
from textgate.components.contracts.text_keys import canonical_text
from textgate.components.preprocess.cleaning import clean_part
from textgate.components.preprocess.preprocess import preprocess_dataset

SPLITS = ("train", "validation", "test")
Pairs = list[tuple[str, str]]


def write(folder: Path, splits: dict[str, Pairs], name: str = "data.csv") -> Path:
    """Write (text, label) pairs as an ingested dataset; their ids are ``all:0``, ``validation:0``, ``test:0``, …"""
    with dataset_writer(folder, splits) as writer:
        for split, pairs in splits.items():
            for number, (text, label) in enumerate(pairs):
                writer.add(split, Row(f"{split}:{number}", text, label))
        writer.finish(name, ["a", "b"])
    return folder


def preprocess(folder: Path, splits: dict[str, Pairs], settings_: Preprocess | None = None) -> Dataset:
    preprocess_dataset(write(folder / "raw", splits), settings_ or Preprocess(), folder / "out")
    return Dataset.open(folder / "out")


def numbered(count: int, name: str, labels: str = "ab") -> Pairs:
    return [(f"{name} {number}", labels[number % len(labels)]) for number in range(count)]


def texts(dataset: Dataset, split: str) -> list[str]:
    return [row.text for row in dataset.rows(split)]


def test_given_splits_are_used_as_they_are_and_the_rest_is_the_training_split(tmp_path: Path) -> None:
    splits = {"all": numbered(200, "train"), "validation": numbered(30, "val"), "test": numbered(40, "test")}
    dataset = preprocess(tmp_path, splits, Preprocess(validation=0.4, test=0.4))
    assert {split: texts(dataset, split) for split in SPLITS} == {
        "train": [text for text, _ in splits["all"]],
        "validation": [text for text, _ in splits["validation"]],
        "test": [text for text, _ in splits["test"]],
    }
    assert dataset.manifest.rejected == {}
    choice = dataset.manifest.test_split
    assert choice is not None
    assert (choice.by, choice.validation) == ("source", "source")


def test_without_a_given_test_split_one_is_cut_from_the_rest(tmp_path: Path) -> None:
    rest = numbered(400, "train")
    dataset = preprocess(tmp_path / "1", {"all": rest, "validation": numbered(30, "val")}, Preprocess(validation=0.4))
    assert texts(dataset, "validation") == [text for text, _ in numbered(30, "val")]
    choice = dataset.manifest.test_split
    assert choice is not None
    assert (choice.by, choice.validation) == ("hash", "source")
    # The hash chooses the same test texts as it does without a given validation split.
    assert texts(dataset, "test") == texts(preprocess(tmp_path / "2", {"all": rest}, Preprocess()), "test")


def test_texts_of_test_and_validation_are_rejected_from_the_splits_below(tmp_path: Path) -> None:
    dataset = preprocess(
        tmp_path,
        {
            "all": [
                *numbered(20, "train"),
                ("shared", "a"),  # 20: equal to a text of the test split
                ("TEST 1!", "a"),  # 21: a copy
                ("in validation", "b"),  # 22: equal, with another label
                ("VAL 1!", "a"),  # 23: a copy
                ("in both", "a"),  # 24
                ("disputed", "a"),  # 25: equal to a text of the validation split that is rejected there
            ],
            "validation": [
                *numbered(6, "val"),
                ("shared", "a"),  # 6
                ("Test 2.", "a"),  # 7
                ("in validation", "a"),
                ("in both", "a"),  # 9
                ("disputed", "a"),  # 10
                ("disputed", "b"),  # 11
            ],
            "test": [*numbered(6, "test"), ("shared", "b"), ("in both", "a")],
        },
        Preprocess(normalizer=TextNormalizer(lowercase=True)),
    )
    assert {row.id: row.reason for row in dataset.rejected()} == {
        "all:20": "also in the test split",
        "all:21": "copy of a text in the test split",
        "all:22": "also in the validation split",
        "all:23": "copy of a text in the validation split",
        "all:24": "also in the test split",
        "all:25": "also in the validation split",
        "validation:6": "also in the test split",
        "validation:7": "copy of a text in the test split",
        "validation:9": "also in the test split",
        "validation:10": "conflicting label",
        "validation:11": "conflicting label",
    }
    assert texts(dataset, "test") == [*(f"test {number}" for number in range(6)), "shared", "in both"]


def test_a_label_that_a_given_validation_split_lacks_is_an_input_error(tmp_path: Path) -> None:
    # Its only text of the label b is also in the test split.
    splits = {"all": numbered(20, "train"), "validation": [("v", "a"), ("test 1", "b")], "test": numbered(6, "test")}
    with pytest.raises(InputError, match=r"the validation split of data\.csv has no text of the label 'b'") as said:
        preprocess(tmp_path, splits)
    assert "leave out source.validation" in str(said.value)
    assert not (tmp_path / "out").exists()


def test_one_training_text_of_a_label_is_enough_with_both_splits_given(tmp_path: Path) -> None:
    given_ = {"validation": numbered(2, "val"), "test": numbered(2, "test")}
    assert preprocess(tmp_path / "1", {"all": numbered(2, "x"), **given_}).manifest.counts["train"] == {"a": 1, "b": 1}
    with pytest.raises(InputError, match="'b' has 0 different texts but needs at least 1, one in each of train"):
        preprocess(tmp_path / "2", {"all": numbered(1, "x"), **given_})


def test_cleaning_in_parts_gives_the_same_dataset(tmp_path: Path) -> None:
    section = Preprocess(normalizer=TextNormalizer(lowercase=True))
    halves = [{split: numbered(20, f"{split} {half}") for split in ("all", "validation", "test")} for half in range(2)]
    joined = {split: halves[0][split] + halves[1][split] for split in halves[0]}
    manifest = preprocess_dataset(write(tmp_path / "raw", joined), section, tmp_path / "whole")
    for number, half in enumerate(halves):
        clean_part(write(tmp_path / f"raw-{number}", half, f"part {number}"), section, tmp_path / f"part-{number}")
    parts = [tmp_path / "part-1", tmp_path / "part-0"]
    assert preprocess_dataset(tmp_path / "raw", section, tmp_path / "joined", parts) == manifest


ROWS = st.lists(st.tuples(st.text(alphabet="ab C!", max_size=3), st.sampled_from("ab")), max_size=20)


@settings(deadline=None, max_examples=60)
@given(rest=ROWS, validation=ROWS, test=ROWS, cut=st.booleans())
def test_no_row_is_lost_and_no_text_or_copy_is_in_two_splits(
    rest: Pairs, validation: Pairs, test: Pairs, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    splits = {"all": [*numbered(8, "train"), *rest], "validation": [*numbered(2, "val"), *validation]}
    if not cut:
        splits["test"] = [*numbered(2, "test"), *test]
    dataset = preprocess(tmp_path_factory.mktemp("p"), splits)
    kept = {split: list(dataset.rows(split)) for split in SPLITS}
    ids = [row.id for rows in kept.values() for row in rows] + [row.id for row in dataset.rejected()]
    assert sorted(ids) == sorted(f"{split}:{number}" for split, rows in splits.items() for number in range(len(rows)))
    for given_ in splits.keys() - {"all"}:
        assert all(row.id.startswith(given_) for row in kept[given_])
    found = Counter(text for rows in kept.values() for text in {canonical_text(row.text) for row in rows})
    assert max(found.values()) == 1
