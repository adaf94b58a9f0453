"""A share of the training texts, and metadata that stays with its row."""

import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import Dataset, Preprocess, Rejected, Row, TextNormalizer, dataset_writer
from textgate.components.preprocess.cleaning import clean_part
from textgate.components.preprocess.preprocess import preprocess_dataset

SPLITS = ("train", "validation", "test")
REASON = "not in the share of the training texts"


def write(folder: Path, rows: list[Row], given_test: list[Row] | None = None) -> Path:
    with dataset_writer(folder, ["all", *(["test"] if given_test else [])], ["genre"]) as writer:
        for row in rows:
            writer.add("all", row)
        for row in given_test or []:
            writer.add("test", row)
        writer.reject(Rejected("early", "over-long line", None, None))
        writer.finish("data.csv", ["a", "b", "c"])
    return folder


def numbered_rows(count: int, name: str = "text", labels: str = "aaabbc") -> list[Row]:
    """Texts of which every tenth occurs twice; the second row has another genre."""
    rows = [
        Row(f"{name}:{n}", f"{name}  {n}", labels[n % len(labels)], {"genre": f"genre {n % 4}"}) for n in range(count)
    ]
    return [*rows, *(Row(f"{row.id}:again", row.text, row.label, {"genre": "again"}) for row in rows[::10])]


def ids(dataset: Dataset, split: str = "train") -> set[str]:
    return {row.id for row in dataset.rows(split)}


def run(raw: Path, folder: Path, settings_: Preprocess) -> Dataset:
    preprocess_dataset(raw, settings_, folder)
    return Dataset.open(folder)


@pytest.mark.parametrize("given_test", [False, True])
@pytest.mark.parametrize("balance", [False, True])
def test_shares_are_nested_stratified_and_limited_to_the_train_split(
    given_test: bool, balance: bool, tmp_path: Path
) -> None:
    raw = write(tmp_path / "raw", numbered_rows(1_200), numbered_rows(60, "given") if given_test else None)
    shares = [0.001, 0.1, 0.3, 0.31, 0.9, 1]
    found = [
        run(raw, tmp_path / str(share), Preprocess(train_share=share, balance=balance, validation=0.2, test=0.3))
        for share in shares
    ]
    whole = found[-1]
    assert REASON not in whole.manifest.rejected
    for share, dataset in zip(shares, found, strict=True):
        assert dataset.manifest.counts["train"] == {
            label: max(1, round(share * rows)) for label, rows in whole.manifest.counts["train"].items()
        }
        for split in ("validation", "test"):
            assert list(dataset.rows(split)) == list(whole.rows(split))
        assert dataset.manifest.rows_in == whole.manifest.rows_in
        left_out = [row for row in dataset.rejected() if row.reason == REASON]
        # The second row of a text is no duplicate if the first one is left out.
        assert {row.id.removesuffix(":again") for row in left_out} == ids(whole) - ids(dataset)
    for smaller, larger in itertools.pairwise(found):
        assert ids(smaller) < ids(larger)


def test_the_share_depends_on_the_seed_only(tmp_path: Path) -> None:
    rows = numbered_rows(300)
    settings_ = Preprocess(train_share=0.3)
    first = run(write(tmp_path / "raw", rows), tmp_path / "1", settings_)
    unique = {row.text: row for row in first.rows("train")}
    again = run(write(tmp_path / "back", rows[::-1]), tmp_path / "2", settings_)
    assert {row.text for row in again.rows("train")} == set(unique)
    other = run(tmp_path / "raw", tmp_path / "3", Preprocess(train_share=0.3, seed=14))
    assert {row.text for row in other.rows("train")} != set(unique)


@settings(deadline=None, max_examples=50)
@given(
    texts=st.lists(st.tuples(st.text(alphabet="ab C\n", max_size=3), st.sampled_from("abc")), max_size=30),
    smaller=st.floats(0, 1, exclude_min=True),
    larger=st.floats(0, 1, exclude_min=True),
)
def test_rows_add_up_and_shares_are_nested_for_any_texts(
    texts: list[tuple[str, str]], smaller: float, larger: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("share")
    rows = [
        *numbered_rows(30),
        *(Row(f"x:{n}", text, label, {"genre": str(n)}) for n, (text, label) in enumerate(texts)),
    ]
    raw = write(folder / "raw", rows)
    smaller, larger = sorted([smaller, larger])
    few, many = (
        run(raw, folder / name, Preprocess(train_share=share)) for name, share in (("few", smaller), ("many", larger))
    )
    assert ids(few) <= ids(many)
    for dataset in (few, many):
        assert all(set(dataset.manifest.counts[split]) == {"a", "b", "c"} for split in SPLITS)
        kept = [row.id for split in SPLITS for row in dataset.rows(split)]
        rejected = [row.id for row in dataset.rejected()]
        assert sorted([*kept, *rejected]) == sorted(["early", *(row.id for row in rows)])
        assert dataset.manifest.rows_in == len(rows) + 1


def test_rows_keep_their_metadata(tmp_path: Path) -> None:
    rows = numbered_rows(200)
    genre_of = {row.id: row.metadata["genre"] for row in rows}
    dataset = run(write(tmp_path / "raw", rows), tmp_path / "out", Preprocess(train_share=0.5, balance=True))
    assert dataset.manifest.metadata == ["genre"]
    for split in SPLITS:
        kept = list(dataset.rows(split))
        assert [row.metadata for row in kept] == [{"genre": genre_of[row.id]} for row in kept]
        assert dataset.metadata(split) == [row.metadata for row in kept]
        assert all("  " not in row.text for row in kept)
    # Of two rows with the same text the first is kept, with its own genre.
    assert Counter(row.reason for row in dataset.rejected())["duplicate"] > 0
    assert "again" not in {row["genre"] for split in SPLITS for row in dataset.metadata(split)}


def test_cleaning_in_parts_gives_the_same_share_and_metadata(tmp_path: Path) -> None:
    halves = [numbered_rows(150, "first"), numbered_rows(150, "second")]
    section = Preprocess(train_share=0.3, normalizer=TextNormalizer(lowercase=True))
    whole = run(write(tmp_path / "raw", [*halves[0], *halves[1]]), tmp_path / "whole", section)
    for number, rows in enumerate(halves):
        with dataset_writer(tmp_path / f"raw-{number}", ["all"], ["genre"]) as writer:
            for row in rows:
                writer.add("all", row)
            writer.finish(f"data.csv part {number:05d}", ["a", "b", "c"])
        clean_part(tmp_path / f"raw-{number}", section, tmp_path / f"clean-{number}")
    parts = [tmp_path / f"clean-{number}" for number in (1, 0)]
    assert preprocess_dataset(tmp_path / "raw", section, tmp_path / "joined", parts) == whole.manifest
    assert whole.manifest.rejected[REASON] > 100
    for split in SPLITS:
        assert list(Dataset.open(tmp_path / "joined").rows(split)) == list(whole.rows(split))
