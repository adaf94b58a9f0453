"""A text stays in its split, and a champion is only compared on texts that it was not trained on."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import Dataset, InputError, Preprocess, Row, TextNormalizer, dataset_writer
from textgate.components.contracts.text_keys import canonical_text
from textgate.components.preprocess.preprocess import preprocess_dataset

SPLITS = ("train", "validation", "test")
BASE = Preprocess(validation=0.1, test=0.15)


def corpus(first: int, last: int, rare: int = 10) -> list[Row]:
    """Return rows with the numbers from ``first`` to ``last``; every ``rare``-th one is of the class ``b``."""
    return [Row(str(number), f"@user Text, number {number}", "ab"[number % rare == 0]) for number in range(first, last)]


def preprocess(folder: Path, rows: list[Row], settings_: Preprocess, test: list[Row] | None = None) -> Dataset:
    with dataset_writer(folder / "raw", ["all", *(["test"] if test else [])]) as writer:
        for split, part in (("all", rows), ("test", test or [])):
            for row in part:
                writer.add(split, row)
        writer.finish("data.csv", ["a", "b"])
    preprocess_dataset(folder / "raw", settings_, folder / "out")
    return Dataset.open(folder / "out")


def split_of(dataset: Dataset) -> dict[str, str]:
    return {row.id: split for split in SPLITS for row in dataset.rows(split)}


def compared(champion: Dataset, challenger: Dataset) -> tuple[set[str], int]:
    """Return the ids of the challenger's test rows without a key that the champion knows, and how many have one."""
    known = np.concatenate([keys for split in SPLITS[:2] if (keys := champion.keys(split)) is not None])
    keys = challenger.keys("test")
    assert keys is not None
    seen = np.isin(keys, known)
    return {row.id for row, known_ in zip(challenger.rows("test"), seen, strict=True) if not known_}, int(seen.sum())


ROWS = corpus(0, 2_000)
GROWN = corpus(0, 3_000)
RARE_GROWN = [*ROWS, *(dataclasses.replace(row, label="b") for row in corpus(2_000, 2_300))]
LOWERCASE = TextNormalizer(lowercase=True, remove_special_characters=True)
BALANCED = BASE.model_copy(update={"balance": True})


@pytest.mark.parametrize(
    ("before", "settings_before", "after", "settings_after"),
    [
        pytest.param(ROWS, BASE, GROWN, BASE, id="growing"),
        pytest.param(ROWS, BASE, ROWS[:900], BASE, id="shrinking"),
        pytest.param(ROWS, BASE, corpus(1_000, 3_000), BASE, id="sliding"),
        pytest.param(ROWS, BALANCED, RARE_GROWN, BALANCED, id="balanced with a growing rare class"),
        pytest.param(ROWS, BALANCED, ROWS, BASE, id="balance true to false"),
        pytest.param(ROWS, BASE, ROWS, BALANCED, id="balance false to true"),
        pytest.param(ROWS, BASE, ROWS, BASE.model_copy(update={"normalizer": LOWERCASE}), id="lowercase"),
        pytest.param(ROWS, BASE, ROWS, BASE.model_copy(update={"validation": 0.2}), id="more validation texts"),
        pytest.param(ROWS, BASE, ROWS, BASE.model_copy(update={"test": 0.05}), id="fewer test texts"),
    ],
)
def test_no_text_of_the_new_test_split_was_trained_on(
    before: list[Row], settings_before: Preprocess, after: list[Row], settings_after: Preprocess, tmp_path: Path
) -> None:
    champion = preprocess(tmp_path / "1", before, settings_before)
    challenger = preprocess(tmp_path / "2", after, settings_after)
    ids, seen = compared(champion, challenger)
    assert seen == 0
    assert len(ids) == sum(challenger.manifest.counts["test"].values()) > 60
    trained = {id_ for id_, split in split_of(champion).items() if split != "test"}
    assert not ids & trained


@pytest.mark.parametrize(
    ("rows", "settings_", "test", "share"),
    [
        pytest.param(ROWS, BASE.model_copy(update={"test": 0.3}), None, 0.5, id="test .15 to .3"),
        pytest.param(ROWS[500:], BASE, ROWS[:500], 0.85, id="cut to given test split"),
        pytest.param(ROWS, BASE.model_copy(update={"seed": 14}), None, 0.85, id="another seed"),
    ],
)
def test_texts_that_the_champion_was_trained_on_are_not_compared(
    rows: list[Row], settings_: Preprocess, test: list[Row] | None, share: float, tmp_path: Path
) -> None:
    champion = preprocess(tmp_path / "1", ROWS, BASE)
    challenger = preprocess(tmp_path / "2", rows, settings_, test)
    ids, seen = compared(champion, challenger)
    trained = {id_ for id_, split in split_of(champion).items() if split != "test"}
    held_out = {row.id for row in challenger.rows("test")}
    assert ids == held_out - trained
    assert seen == len(held_out & trained)
    assert seen / len(held_out) == pytest.approx(share, abs=0.06)


def test_a_larger_test_share_only_takes_texts_from_the_training_split(tmp_path: Path) -> None:
    small, large = (
        split_of(preprocess(tmp_path / str(test), ROWS, BASE.model_copy(update={"test": test}))) for test in (0.15, 0.3)
    )
    changed = {(small[id_], large[id_]) for id_ in small if small[id_] != large[id_]}
    assert changed == {("train", "test")}


def test_a_given_test_split_leaves_the_validation_split_as_it_is(tmp_path: Path) -> None:
    given_test = [Row(f"g{number}", f"given {number}", "ab"[number % 2]) for number in range(40)]
    cut, given_ = preprocess(tmp_path / "1", ROWS, BASE), preprocess(tmp_path / "2", ROWS, BASE, given_test)
    assert list(given_.rows("validation")) == list(cut.rows("validation"))
    assert {split_of(given_)[row.id] for row in cut.rows("test")} == {"train"}


@settings(deadline=None, max_examples=40)
@given(
    words=st.lists(st.text("ab,.!A Ｂ", min_size=1, max_size=4), max_size=30),
    seed=st.integers(-5, 5),
    lowercase=st.booleans(),
    share=st.floats(0.1, 1),
)
def test_the_split_of_a_text_depends_on_its_canonical_form_and_the_seed_only(
    words: list[str], seed: int, lowercase: bool, share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("p")
    plain = Preprocess(validation=0.2, test=0.3, seed=seed)
    other = plain.model_copy(
        update={
            "normalizer": TextNormalizer(lowercase=lowercase, unicode="NFKC"),
            "train_share": share,
            "balance": True,
        }
    )
    some = [Row(f"w{number}", f"{word}{number % 7}", "ab"[number % 2]) for number, word in enumerate(words)]
    alone = split_of(preprocess(folder / "1", ROWS[:400], plain))
    together = preprocess(folder / "2", [*some[::-1], *ROWS[:400]], other)
    for id_, split in split_of(together).items():
        if not id_.startswith("w"):
            assert split == alone[id_]
    # Copies are in one split.
    found: dict[str, set[str]] = {}
    for split in SPLITS:
        for row in together.rows(split):
            found.setdefault(canonical_text(next(r.text for r in [*some, *ROWS] if r.id == row.id)), set()).add(split)
    assert all(len(splits) == 1 for splits in found.values())


def test_copies_are_in_one_split_and_counted(tmp_path: Path) -> None:
    rows = corpus(0, 600)
    copies = [dataclasses.replace(row, id=f"{row.id}:copy", text=f"{row.text.upper()}.") for row in rows[::4]]
    dataset = preprocess(tmp_path, [*rows, *copies], BASE)
    splits = split_of(dataset)
    assert len(splits) == 750
    assert all(splits[row.id] == splits[f"{row.id}:copy"] for row in rows[::4])
    assert dataset.manifest.near_duplicates is not None
    assert sum(dataset.manifest.near_duplicates.values()) == 150
    for split in SPLITS:
        keys = dataset.keys(split)
        assert keys is not None
        assert dataset.manifest.near_duplicates[split] == len(keys) - len(set(keys.tolist()))


def test_copies_of_a_given_test_text_are_rejected_from_the_rest(tmp_path: Path) -> None:
    rest = [*corpus(0, 100), Row("copy", "GIVEN 1.", "a"), Row("again", "given 1!", "b"), Row("exact", "given 1", "a")]
    given_test = [Row(f"g{number}", f"given {number}", "ab"[number % 2]) for number in range(10)]
    dataset = preprocess(tmp_path, rest, BASE, given_test)
    assert {row.id: row.reason for row in dataset.rejected()} == {
        "copy": "copy of a text in the test split",
        "again": "copy of a text in the test split",
        "exact": "also in the test split",
    }
    assert [row.text for row in dataset.rows("test")] == [row.text for row in given_test]


def test_balance_leaves_the_natural_prevalence_in_validation_and_test(tmp_path: Path) -> None:
    balanced, natural = (
        preprocess(tmp_path / str(balance), GROWN, BASE.model_copy(update={"balance": balance}))
        for balance in (True, False)
    )
    assert balanced.manifest.counts["train"]["a"] == balanced.manifest.counts["train"]["b"]
    for split in ("validation", "test"):
        assert list(balanced.rows(split)) == list(natural.rows(split))
        counts = balanced.manifest.counts[split]
        assert counts["b"] / sum(counts.values()) == pytest.approx(0.1, abs=0.03)


def test_the_shares_are_met_in_expectation(tmp_path: Path) -> None:
    counts = preprocess(tmp_path, corpus(0, 20_000), BASE).manifest.counts
    assert sum(counts["test"].values()) == pytest.approx(3_000, abs=4 * (20_000 * 0.15 * 0.85) ** 0.5)
    assert sum(counts["validation"].values()) == pytest.approx(2_000, abs=4 * (20_000 * 0.1 * 0.9) ** 0.5)


@settings(deadline=None, max_examples=30)
@given(count=st.integers(3, 8), seed=st.integers(0, 1_000), copies=st.integers(0, 3))
def test_a_rare_label_has_a_text_in_every_split(
    count: int, seed: int, copies: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rare = [Row(f"r{number}", f"rare {number}", "b") for number in range(count)]
    # Copies with the other label, which move together with the text.
    shared = [Row(f"s{number}", f"RARE {number}!", "a") for number in range(min(copies, count - 3))]
    dataset = preprocess(tmp_path_factory.mktemp("p"), [*corpus(1, 9), *rare, *shared], Preprocess(seed=seed))
    assert all(set(dataset.manifest.counts[split]) == {"a", "b"} for split in SPLITS)
    splits = split_of(dataset)
    assert all(splits[row.id] == splits[f"r{row.id[1:]}"] for row in shared)


def test_copies_do_not_make_a_label_large_enough(tmp_path: Path) -> None:
    rows = [*corpus(1, 9), Row("1", "rare", "b"), Row("2", "Rare!", "b"), Row("3", "RARE", "b"), Row("4", "other", "b")]
    with pytest.raises(
        InputError, match=r"label 'b' has 2 different texts but needs at least 3.*punctuation only count"
    ):
        preprocess(tmp_path, rows, BASE)
