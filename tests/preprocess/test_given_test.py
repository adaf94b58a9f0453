"""A test split given by the source, and balancing of the other rows."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import Dataset, InputError, Preprocess, Row, TextNormalizer, dataset_writer
from textgate.components.contracts.label_counts import CopiesOfTest
from textgate.components.contracts.text_keys import canonical_text
from textgate.components.preprocess.preprocess import preprocess_dataset

SPLITS = ("train", "validation", "test")


def preprocess(
    folder: Path, rest: list[tuple[str, str]], test: list[tuple[str, str]], settings_: Preprocess | None = None
) -> Dataset:
    """Preprocess (text, label) pairs; their ids are ``all:0``, ``all:1``, … and ``test:0``, …"""
    with dataset_writer(folder / "raw", ["all", "test"]) as writer:
        for split, rows in (("all", rest), ("test", test)):
            for number, (text, label) in enumerate(rows):
                writer.add(split, Row(f"{split}:{number}", text, label))
        writer.finish("data.csv", ["a", "b"])
    preprocess_dataset(folder / "raw", settings_ or Preprocess(), folder / "out")
    return Dataset.open(folder / "out")


def numbered_texts(count: int, name: str, labels: str = "ab") -> list[tuple[str, str]]:
    return [(f"{name} {number}", labels[number % len(labels)]) for number in range(count)]


def texts(dataset: Dataset, split: str) -> list[str]:
    return [row.text for row in dataset.rows(split)]


def test_a_given_test_split_is_used_and_validation_is_cut_from_the_rest(tmp_path: Path) -> None:
    dataset = preprocess(
        tmp_path,
        numbered_texts(200, "train"),
        numbered_texts(40, "given"),
        Preprocess(validation=0.2, test=0.7, seed=5),
    )
    assert texts(dataset, "test") == [f"given {number}" for number in range(40)]
    assert dataset.manifest.counts["test"] == {"a": 20, "b": 20}
    assert 20 <= sum(dataset.manifest.counts["validation"].values()) <= 60
    assert dataset.manifest.rejected == {}


def test_a_text_of_the_test_split_is_rejected_from_the_rest(tmp_path: Path) -> None:
    rest = [
        *numbered_texts(20, "train"),
        ("Shared", "a"),
        ("shared ", "a"),
        ("other label", "b"),
        ("disputed there", "a"),
        ("disputed here", "a"),
        ("disputed here", "b"),
        ("", "a"),
    ]
    test = [
        *numbered_texts(6, "given"),
        ("shared", "a"),
        ("SHARED", "a"),
        ("other label", "a"),
        ("disputed there", "a"),
        ("disputed there", "b"),
        ("disputed here", "b"),
    ]
    dataset = preprocess(tmp_path, rest, test, Preprocess(normalizer=TextNormalizer(lowercase=True)))
    assert {row.id: row.reason for row in dataset.rejected()} == {
        **{f"all:{number}": "also in the test split" for number in range(20, 26)},
        "all:26": "empty text",
        "test:7": "duplicate",
        "test:9": "conflicting label",
        "test:10": "conflicting label",
    }
    assert texts(dataset, "test") == [
        *(f"given {number}" for number in range(6)),
        "shared",
        "other label",
        "disputed here",
    ]
    assert dataset.manifest.rows_in == 39


@pytest.mark.parametrize("lost", ["absent", "disputed", "foreign"])
def test_a_test_split_without_a_label_is_an_input_error(lost: str, tmp_path: Path) -> None:
    test = {
        "absent": numbered_texts(5, "given", "a"),
        "disputed": [*numbered_texts(5, "given", "a"), ("x", "a"), ("x", "b")],
        "foreign": [("This is a sentence in English.", "a"), ("Dies ist ein Satz, der deutsch ist.", "b")],
    }[lost]
    with pytest.raises(InputError, match=r"the test split of data\.csv has no text of the label 'b' that") as said:
        preprocess(tmp_path, numbered_texts(20, "an English sentence"), test, Preprocess(language="en"))
    assert "leave out source.test" in str(said.value)
    assert not (tmp_path / "out").exists()


def test_two_texts_per_label_suffice_with_a_given_test_split(tmp_path: Path) -> None:
    manifest = preprocess(
        tmp_path / "1", numbered_texts(4, "train"), numbered_texts(2, "given"), Preprocess(validation=0.8)
    ).manifest
    assert manifest.counts == {split: {"a": 1, "b": 1} for split in SPLITS}
    with pytest.raises(InputError, match="'b' has 1 different texts but needs at least 2, one in each of train, valid"):
        preprocess(tmp_path / "2", numbered_texts(3, "train"), numbered_texts(2, "given"))


def test_balance_reduces_the_larger_class_in_the_training_split_only(tmp_path: Path) -> None:
    rest, test = numbered_texts(400, "train", "aaab"), numbered_texts(80, "given", "aaab")
    dataset = preprocess(tmp_path / "1", rest, test, Preprocess(validation=0.2, balance=True))
    counts = dataset.manifest.counts
    assert counts["train"]["a"] == counts["train"]["b"] == 100 - counts["validation"]["b"]
    assert counts["validation"]["a"] > 2 * counts["validation"]["b"]
    assert counts["test"] == {"a": 60, "b": 20}
    left_out = 300 - counts["validation"]["a"] - counts["train"]["a"]
    assert dataset.manifest.rejected == {"left out to balance the classes": left_out}
    again = preprocess(tmp_path / "2", rest[::-1], test, Preprocess(validation=0.2, balance=True))
    assert set(texts(again, "train")) == set(texts(dataset, "train"))
    other = preprocess(tmp_path / "3", rest, test, Preprocess(validation=0.2, balance=True, seed=14))
    assert set(texts(other, "train")) != set(texts(dataset, "train"))


def test_balance_leaves_the_splits_that_are_cut_as_they_are(tmp_path: Path) -> None:
    with dataset_writer(tmp_path / "raw", ["all"]) as writer:
        for number, (text, label) in enumerate(numbered_texts(400, "train", "aaab") * 2):
            writer.add("all", Row(str(number), text, label))
        writer.finish("data.csv", ["a", "b"])
    counts, natural = (
        preprocess_dataset(tmp_path / "raw", Preprocess(test=0.1, balance=balance), tmp_path / str(balance)).counts
        for balance in (True, False)
    )
    assert counts["train"] == {"a": natural["train"]["b"], "b": natural["train"]["b"]}
    assert [counts[split] for split in SPLITS[1:]] == [natural[split] for split in SPLITS[1:]]


ROWS = st.lists(st.tuples(st.text(alphabet="ab C\n", max_size=3), st.sampled_from("ab")), max_size=25)


@settings(deadline=None, max_examples=60)
@given(rest=ROWS, test=ROWS, balance=st.booleans())
def test_rows_add_up_splits_are_disjoint_and_the_test_split_is_complete(
    rest: list[tuple[str, str]], test: list[tuple[str, str]], balance: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rest, test = [*numbered_texts(8, "train"), *rest], [*numbered_texts(2, "given"), *test]
    dataset = preprocess(tmp_path_factory.mktemp("p"), rest, test, Preprocess(balance=balance))
    kept = [row for split in SPLITS for row in dataset.rows(split)]
    rejected = list(dataset.rejected())
    assert max(Counter(row.text for row in kept).values()) == 1
    assert sorted([row.id for row in kept] + [row.id for row in rejected]) == sorted(
        [f"all:{number}" for number in range(len(rest))] + [f"test:{number}" for number in range(len(test))]
    )
    # What was given as test and only that is in the test split, once, unless its labels differ.
    labels: dict[str, set[str]] = {}
    for text, label in test:
        labels.setdefault(" ".join(text.split()), set()).add(label)
    sure = {text for text, given_ in labels.items() if text and len(given_) == 1}
    assert set(texts(dataset, "test")) == sure
    for row in rejected:
        if row.reason == "also in the test split":
            assert row.id.startswith("all:")
            assert " ".join(str(row.text).split()) in labels
        elif row.reason == "copy of a text in the test split":
            assert row.id.startswith("all:")
            assert canonical_text(str(row.text)) in map(canonical_text, sure)
    if balance:
        learned = Counter(row.label for row in dataset.rows("train"))
        assert learned["a"] == learned["b"]


def test_copies_that_contradict_their_test_text_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rest = [
        *numbered_texts(20, "train"),
        ("Shared", "a"),
        ("shared", "b"),
        ("shared", "b"),
        ("agreed", "a"),
        ("Agreed", "a"),
        ("a copy!", "b"),
        ("a copy?", "a"),
        ("disputed", "a"),
    ]
    test = [*numbered_texts(6, "given"), ("shared", "a"), ("agreed", "a"), ("a copy", "a")]
    test += [("disputed", "a"), ("disputed", "b")]
    manifest = preprocess(tmp_path, rest, test, Preprocess(normalizer=TextNormalizer(lowercase=True))).manifest
    assert manifest.test_copies == CopiesOfTest(rows=7, contradictions=3)
    assert (
        "textgate warning: 3 of the 7 rows that are copies of test texts have another label than the test text, so one "
        "of the two labels is wrong"
    ) in capsys.readouterr().out


def test_without_contradictions_there_is_no_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = [*numbered_texts(6, "given"), ("train 0", "a")]
    manifest = preprocess(tmp_path, numbered_texts(20, "train"), test).manifest
    assert manifest.test_copies == CopiesOfTest(rows=1, contradictions=0)
    assert "copies of test texts" not in capsys.readouterr().out
