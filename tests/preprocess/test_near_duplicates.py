"""Near duplicates and groups: planted ones are found, others are not joined, and each group is in one split."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from textgate.components.contracts import Dataset, InputError, Preprocess, Recipe, Row, dataset_writer
from textgate.components.contracts.dataset_splits import NearDuplicateGroups
from textgate.components.contracts.text_keys import canonical_text
from textgate.components.preprocess.preprocess import preprocess_dataset
from textgate.components.preprocess.signatures import Signatures

SPLITS = ("train", "validation", "test")
_LIST = """
after again ago air also always animal answer around ask bank because before begin better between bird body book
bring build business call change child city class clear close cold come could country course cover cross dark day
deep differ door draw drive early earth east enough even every example eye face fact family farm father feel field
figure final find fire first fish five follow food force form four friend front full game garden gave glass govern
great green ground group grow half hand happen hard head hear heat high hold home horse hour house idea inch island
keep king know land large last late laugh learn leave letter life light line list listen little live long machine
market measure mile minute money moon morning mother mountain music name nation near never night north note number
"""
WORDS = _LIST.split()


def sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words)).capitalize()


def changed_word(text: str, rng: random.Random) -> str:
    words = text.split()
    words[rng.randrange(len(words))] = rng.choice(WORDS)
    return " ".join(words)


def swapped_words(text: str, rng: random.Random) -> str:
    words = text.split()
    at = rng.randrange(len(words) - 1)
    words[at : at + 2] = words[at : at + 2][::-1]
    return " ".join(words)


def typo(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    return f"{text[:at]}{rng.choice('abcdefgh')}{text[at + 1 :]}"


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    "capitals": lambda text, _: text.upper(),
    "full stop": lambda text, _: f"{text}.",
    "retweet": lambda text, _: f"RT @someone: {text}",
    "typo": typo,
    "swapped words": swapped_words,
    "changed word": changed_word,
}


def preprocess(folder: Path, rows: list[Row], settings: Preprocess, **given: list[Row]) -> Dataset:
    """Preprocess rows with the metadata column ``author``."""
    with dataset_writer(folder / "raw", ["all", *given], ["author"]) as writer:
        for split, part in {"all": rows, **given}.items():
            for row in part:
                writer.add(split, row)
        writer.finish("data.csv", ["a", "b"])
    preprocess_dataset(folder / "raw", settings, folder / "out")
    return Dataset.open(folder / "out")


def row(number: int, text: str, author: str = "") -> Row:
    return Row(str(number), text, "ab"[number % 2], {"author": author})


def split_of(dataset: Dataset) -> dict[int, str]:
    return {int(each.id): split for split in SPLITS for each in dataset.rows(split)}


def near(dataset: Dataset) -> NearDuplicateGroups:
    groups = dataset.manifest.near_duplicate_groups
    assert groups is not None
    return groups


@pytest.mark.parametrize("words", [8, 14, 40])
def test_planted_near_duplicates_of_a_given_test_split_are_found(words: int, tmp_path: Path) -> None:
    rng = random.Random(words)
    test = [row(10_000 + number, sentence(rng, words)) for number in range(600)]
    rest = [row(number, sentence(rng, words)) for number in range(600)]
    kinds = [list(CHANGES)[number % len(CHANGES)] for number in range(len(test))]
    planted = [row(1_000 + n, CHANGES[kind](test[n].text, rng)) for n, kind in enumerate(kinds)]
    dataset = preprocess(tmp_path, [*rest, *planted], Preprocess(), test=test)
    found = {int(each.id) for each in dataset.rejected() if "test split" in each.reason}
    recall = {kind: np.mean([1_000 + n in found for n, each in enumerate(kinds) if each == kind]) for kind in CHANGES}
    assert np.mean(list(recall.values())) >= 0.95
    assert min(recall.values()) >= 0.8
    assert sum(number >= 1_000 for number in found) / len(found) >= 0.98
    reasons = Counter(each.reason for each in dataset.rejected())
    assert reasons["near duplicate of a text in the test split"] > 200
    assert [each.text for each in dataset.rows("test")] == [each.text for each in test]


def test_near_duplicates_stay_in_one_split_whatever_the_order_and_are_counted(tmp_path: Path) -> None:
    rng = random.Random(3)
    texts = [sentence(rng, 14) for _ in range(400)]
    rows = [row(number, text) for number, text in enumerate(texts)]
    rows += [row(1_000 + number, typo(text, rng)) for number, text in enumerate(texts[:300])]
    rows += [row(2_000 + number, swapped_words(text, rng)) for number, text in enumerate(texts[:150])]
    together = preprocess(tmp_path / "1", rows, Preprocess())
    splits = split_of(together)
    apart = [n for n in splits if splits[n] != splits[n % 1_000]]
    assert len(apart) < 10
    back = preprocess(tmp_path / "2", rows[::-1], Preprocess())
    assert {each.text: split for split in SPLITS for each in back.rows(split)} == {
        each.text: split for split in SPLITS for each in together.rows(split)
    }
    assert near(together).threshold == 0.65
    assert near(together).groups == pytest.approx(295, abs=8)
    assert near(together).texts == pytest.approx(735, abs=20)
    assert near(together).scattered == 0
    # Without it some 40 % of the groups are in several splits.
    off = preprocess(tmp_path / "3", rows, Preprocess(near_duplicates=None))
    assert off.manifest.near_duplicate_groups is None
    divided = [n for n in range(300) if len({split_of(off)[m] for m in (n, n + 1_000, n + 2_000) if m in splits}) > 1]
    assert near(together).joined == pytest.approx(len(divided), abs=10)
    assert len(divided) > 90


def test_a_group_keeps_its_split_unless_a_text_with_a_smaller_key_joins(tmp_path: Path) -> None:
    rng = random.Random(4)
    texts = [sentence(rng, 14) for _ in range(300)]
    rows = [row(number, text) for number, text in enumerate(texts)]
    more = [row(1_000 + number, typo(text, rng)) for number, text in enumerate(texts)]
    before, after = (preprocess(tmp_path / str(len(each)), each, Preprocess()) for each in (rows, [*rows, *more]))
    moved = {number for number, split in split_of(before).items() if split_of(after)[number] != split}
    key = {int(each.id): each.key for split in SPLITS for each in after.rows(split)}
    assert moved
    assert all(key[number + 1_000] < key[number] for number in moved)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("good film", "bad film"),
        ("What a good film", "What a bad film"),
        ("this was a really good film", "this was a really bad film"),
        ("Lewis Hamilton wins the Grand Prix of Monaco", "Kimi Räikkönen wins the Grand Prix of Belgium"),
        ("大变局下的中国经济走向何方", "大变局下的世界足球走向何方"),
    ],
)
def test_short_texts_that_differ_in_a_word_and_different_texts_are_not_joined(
    one: str, other: str, tmp_path: Path
) -> None:
    rng = random.Random(5)
    rows = [row(number, text) for number, text in enumerate([one, other, *(sentence(rng, 9) for _ in range(40))])]
    assert near(preprocess(tmp_path, rows, Preprocess())).groups == 0


def test_texts_of_one_template_are_not_put_into_one_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(6)
    rows = [row(n, f"Your parcel with the number {n:05} is waiting at the post office") for n in range(300)]
    rows += [row(1_000 + number, sentence(rng, 9)) for number in range(100)]
    dataset = preprocess(tmp_path, rows, Preprocess())
    assert near(dataset).scattered == 300
    assert near(dataset).groups == 0
    assert "300 texts are near duplicates in groups of more than 10" in capsys.readouterr().out
    assert split_of(dataset) == split_of(preprocess(tmp_path / "2", rows, Preprocess(near_duplicates=None)))


def test_near_duplicates_of_earlier_texts_are_left_out_of_a_test_split_by_time(tmp_path: Path) -> None:
    rng = random.Random(7)
    rows = [row(number, sentence(rng, 12), str(number)) for number in range(100)]
    rows += [row(200 + number, swapped_words(rows[number].text, rng), str(200 + number)) for number in range(10)]
    rows += [row(300, rows[0].text.upper(), "300")]
    dataset = preprocess(tmp_path, rows, Preprocess(test_latest_by="author", test=0.2))
    assert {int(each.id): each.reason for each in dataset.rejected()} == {
        **dict.fromkeys(range(200, 210), "near duplicate of a text from before the test split"),
        300: "copy of a text from before the test split",
    }


def test_the_texts_of_a_group_are_in_one_split_that_its_value_decides(tmp_path: Path) -> None:
    rng = random.Random(8)
    rows = [row(number, sentence(rng, 9), f"author {number % 60}") for number in range(900)]
    rows += [row(900 + number, sentence(rng, 9)) for number in range(300)]
    settings = Preprocess(group="author", test=0.2, validation=0.2)
    dataset = preprocess(tmp_path / "1", rows, settings)
    by_author: dict[str, set[str]] = {}
    for split in SPLITS:
        for each in dataset.rows(split):
            by_author.setdefault(each.metadata["author"], set()).add(split)
    assert by_author.pop("") == set(SPLITS), "rows without a value are in no group"
    assert all(len(splits) == 1 for splits in by_author.values())
    assert set.union(*by_author.values()) == set(SPLITS)
    # Other texts of an author, and any number of them, are in the same split.
    others = [row(n, sentence(rng, 9), f"author {n % 60}") for n in range(120)]
    later = preprocess(tmp_path / "2", others, settings)
    assert {each.metadata["author"]: {split} for split in SPLITS for each in later.rows(split)} == by_author


def test_groups_of_a_given_test_split_are_rejected_from_the_rest(tmp_path: Path) -> None:
    rng = random.Random(9)
    rows = [row(number, sentence(rng, 9), f"author {number % 10}") for number in range(100)]
    test = [row(1_000 + number, sentence(rng, 9), "author 3") for number in range(10)]
    dataset = preprocess(tmp_path, rows, Preprocess(group="author"), test=test)
    assert {int(each.id): each.reason for each in dataset.rejected()} == (
        dict.fromkeys(range(3, 100, 10), "in a group of the test split")
    )


def test_the_estimate_is_close_to_the_jaccard_index_for_every_script(tmp_path: Path) -> None:
    rng = random.Random(10)
    scripts = ["abcdefghijklmnopqrstuvwxyz", "абвгдежзиклмнопрст", "的一是不了人我在有他这中大来上个国到说们"]
    texts = ["".join(rng.choices(rng.choice(scripts), k=60)) for _ in range(300)]
    pairs = [(text, text[: rng.randrange(20, 60)] + "".join(rng.choices("xyz的я", k=20))) for text in texts]
    shingles = [[{each[at : at + 3] for at in range(len(each) - 2)} for each in map(canonical_text, p)] for p in pairs]
    exact = [len(one & other) / len(one | other) for one, other in shingles]
    with Signatures(tmp_path) as signatures:
        for pair in pairs:
            for text in pair:
                signatures.add(canonical_text(text))
        signatures.flush()
        estimate = signatures.similarity(np.arange(0, 600, 2), np.arange(1, 600, 2))
    assert np.abs(estimate - exact).mean() < 0.04
    assert abs((estimate - exact).mean()) < 0.01
    assert not list(tmp_path.iterdir()), "the file has no name"


RECIPE = """
name: posts
description: A test.
model: posts
source: {uri: posts.csv, metadata: [author, date]}
preprocess: {group: author}
train: {family: linear}
gate: {min_f1: 0.5}
"""


def test_the_recipe_names_a_group_that_is_kept_and_no_test_split_by_time() -> None:
    assert Recipe.parse(RECIPE, "r.yaml").preprocess.group == "author"
    assert Recipe.parse(RECIPE, "r.yaml", ["preprocess.near_duplicates=null"]).preprocess.near_duplicates is None
    with pytest.raises(InputError, match=r"names 'user', which is not a column of source\.metadata: add it there"):
        Recipe.parse(RECIPE, "r.yaml", ["preprocess.group=user"])
    with pytest.raises(InputError, match=r"separates by time: leave out one of the two"):
        Recipe.parse(RECIPE, "r.yaml", ["preprocess.test_latest_by=date"])
