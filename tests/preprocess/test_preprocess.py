from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import (
    Dataset,
    InputError,
    Preprocess,
    Rejected,
    Row,
    TextNormalizer,
    dataset_writer,
)
from textgate.components.preprocess.preprocess import preprocess_dataset

SPLITS = ("train", "validation", "test")


def preprocess(folder: Path, rows: list[Row], settings_: Preprocess | None = None, shard: int = 50_000) -> Dataset:
    with dataset_writer(folder / "raw", ["all"], rows_per_shard=shard) as writer:
        for row in rows:
            writer.add("all", row)
        writer.reject(Rejected("early", "over-long line", None, None))
        writer.finish("data.csv", sorted({row.label for row in rows}), rows_filtered=3)
    preprocess_dataset(folder / "raw", settings_ or Preprocess(), folder / "out")
    return Dataset.open(folder / "out")


def some_rows(count: int = 100) -> list[Row]:
    return [Row(f"f:{number}", f"text number {number}", "ab"[number % 4 == 0]) for number in range(count)]


def split_of(dataset: Dataset) -> dict[str, str]:
    return {row.text: split for split in SPLITS for row in dataset.rows(split)}


def test_splits_are_disjoint_and_complete_and_have_about_their_shares(tmp_path: Path) -> None:
    dataset = preprocess(tmp_path, some_rows(400), Preprocess(validation=0.1, test=0.2))
    assert len(split_of(dataset)) == 400
    for split, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        for label, rows in (("a", 300), ("b", 100)):
            found = dataset.manifest.counts[split][label]
            # Within three standard deviations of a binomial share.
            assert abs(found - share * rows) < 3 * (share * (1 - share) * rows) ** 0.5
    assert dataset.manifest.rows_in == 401
    assert dataset.manifest.rows_filtered == 3
    assert dataset.manifest.rejected == {"over-long line": 1}


def test_the_split_depends_on_seed_and_texts_only(tmp_path: Path) -> None:
    first = split_of(preprocess(tmp_path / "1", some_rows()))
    assert split_of(preprocess(tmp_path / "2", some_rows()[::-1], shard=7)) == first
    assert split_of(preprocess(tmp_path / "3", some_rows(), Preprocess(seed=14))) != first


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    def files(folder: Path) -> dict[str, bytes]:
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    preprocess(tmp_path / "1", some_rows())
    preprocess(tmp_path / "2", some_rows())
    assert files(tmp_path / "1" / "out") == files(tmp_path / "2" / "out")


def test_duplicates_conflicts_and_empty_texts_are_rejected(tmp_path: Path) -> None:
    rows = [
        *some_rows(),
        Row("first", "Same  Text", "a"),
        Row("again", "same text ", "a"),
        Row("yes", "disputed", "a"),
        Row("no", "Disputed", "b"),
        Row("also", "DISPUTED", "a"),
        Row("blank", " \x00 ", "a"),
    ]
    dataset = preprocess(tmp_path, rows, Preprocess(normalizer=TextNormalizer(lowercase=True)))
    assert {row.id: row.reason for row in dataset.rejected()} == {
        "early": "over-long line",
        "again": "duplicate",
        "yes": "conflicting label",
        "no": "conflicting label",
        "also": "conflicting label",
        "blank": "empty text",
    }
    assert "same text" in split_of(dataset)
    assert dataset.manifest.rows_in == 107


@settings(deadline=None, max_examples=40)
@given(texts=st.lists(st.tuples(st.text(alphabet="ab C\n", max_size=3), st.sampled_from("xy")), max_size=30))
def test_rows_add_up_and_no_text_is_in_two_splits(
    texts: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    extra = [Row(f"x{number}", f"sure {number}", "xy"[number % 2]) for number in range(12)]
    rows = [*extra, *(Row(str(number), text, label) for number, (text, label) in enumerate(texts))]
    dataset = preprocess(tmp_path_factory.mktemp("p"), rows)
    kept = [row for split in SPLITS for row in dataset.rows(split)]
    assert max(Counter(row.text for row in kept).values()) == 1
    assert len(kept) + len(list(dataset.rejected())) == len(rows) + 1
    for split in SPLITS:
        assert set(dataset.manifest.counts[split]) == {"x", "y"}


def test_a_label_with_too_few_texts_is_an_input_error(tmp_path: Path) -> None:
    rows = [Row(str(number), f"text {number}", "a") for number in range(20)] + [
        Row("r", "rare", "b"),
        Row("s", "rare", "b"),
    ]
    with pytest.raises(
        InputError, match="the label 'b' has 1 different texts but needs at least 3, one in each of train"
    ):
        preprocess(tmp_path, rows)
    assert not (tmp_path / "out").exists()


def test_a_label_whose_rows_are_all_rejected_is_an_input_error(tmp_path: Path) -> None:
    rows = [*some_rows(), Row("y", "disputed", "c"), Row("z", "disputed", "a")]
    with pytest.raises(InputError, match="the label 'c' has 0 different texts but needs at least 3"):
        preprocess(tmp_path, rows)
    assert not (tmp_path / "out").exists()


@settings(deadline=None, max_examples=40)
@given(count=st.integers(3, 40), validation=st.floats(0.01, 0.49), test=st.floats(0.01, 0.49))
def test_every_split_has_each_label_for_any_shares(
    count: int, validation: float, test: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [Row(f"{label}{number}", f"{label} {number}", label) for label in "ab" for number in range(count)]
    dataset = preprocess(tmp_path_factory.mktemp("p"), rows, Preprocess(validation=validation, test=test))
    for label in "ab":
        found = {split: dataset.manifest.counts[split][label] for split in SPLITS}
        assert min(found.values()) >= 1


@pytest.mark.parametrize(("validation", "test"), [(0.01, 0.98), (0.98, 0.01), (0.49, 0.5)])
@pytest.mark.parametrize("count", [3, 4, 5])
def test_extreme_shares_leave_a_text_in_each_split(validation: float, test: float, count: int, tmp_path: Path) -> None:
    rows = [Row(f"{label}{number}", f"{label} {number}", label) for label in "ab" for number in range(count)]
    dataset = preprocess(tmp_path, rows, Preprocess(validation=validation, test=test))
    assert all(set(dataset.manifest.counts[split]) == {"a", "b"} for split in SPLITS)


def test_classes_and_rows_keep_their_order(tmp_path: Path) -> None:
    with dataset_writer(tmp_path / "raw", ["all"]) as writer:
        for row in some_rows():
            writer.add("all", row)
        writer.finish("data.csv", ["b", "a"])
    manifest = preprocess_dataset(tmp_path / "raw", Preprocess(), tmp_path / "out")
    assert manifest.labels == ["b", "a"]
    for split in SPLITS:
        numbers = [int(row.id.split(":")[1]) for row in Dataset.open(tmp_path / "out").rows(split)]
        assert numbers == sorted(numbers)


def test_a_folder_that_is_not_an_ingested_dataset_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a dataset"):
        preprocess_dataset(tmp_path, Preprocess(), tmp_path / "out")
    preprocess(tmp_path / "1", some_rows())
    with pytest.raises(InputError, match="has no split 'all'; it has train, validation, test"):
        preprocess_dataset(tmp_path / "1" / "out", Preprocess(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
