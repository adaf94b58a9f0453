"""Numbers of the rows, and the statistics that rest on them, against plain computations."""

import random
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgate.components.contracts.normalizer import TextNormalizer
from textgate.components.contracts.text_keys import text_key
from textgate.pipelines.inspection.duplicates import count_duplicates
from textgate.pipelines.inspection.given_splits import find_leaks, split_statistics
from textgate.pipelines.inspection.near_duplicates import NearDuplicateFinder
from textgate.pipelines.inspection.row_table import SAMPLE_TEXTS, RowTable, clean_text


@given(st.text())
def test_the_fast_cleaning_is_the_default_one(text: str) -> None:
    assert clean_text(text) == TextNormalizer()(text)


@pytest.mark.parametrize("seed", range(5))
def test_duplicates_conflicts_and_leaks_are_those_of_plain_counts(seed: int) -> None:
    chooser = random.Random(seed)
    variants = [str, str.upper, "  {}".format, "{}!".format]
    rows = [
        (
            chooser.choice(variants)(f"text {chooser.randrange(60)}"),
            chooser.choice("abc"),
            chooser.choice(["train", "test"]),
        )
        for _ in range(150)
    ]
    table, near = RowTable(), NearDuplicateFinder()
    for text, label, split in rows:
        table.add(text, label, split)
    clean, keys = [TextNormalizer()(text) for text, _, _ in rows], [text_key(text) for text, _, _ in rows]
    counts = count_duplicates(table, near)
    assert counts.exact == len(rows) - len(set(clean))
    assert counts.exact + counts.copies == len(rows) - len(set(keys))
    labels = defaultdict(set)
    train = {"clean": defaultdict(set), "keys": defaultdict(set)}
    for key, text, (_, label, split) in zip(keys, clean, rows, strict=True):
        labels[key].add(label)
        if split == "train":
            train["clean"][text].add(label)
            train["keys"][key].add(label)
    conflicting = {key for key, found in labels.items() if len(found) > 1}
    assert counts.conflicting_texts == len(conflicting)
    assert counts.conflicting_rows == sum(key in conflicting for key in keys)
    (leak,) = find_leaks(table, split_statistics(table))
    for names, values, contradicting in (
        ("clean", leak.exact, leak.exact_contradicting),
        ("keys", leak.copies, leak.copies_contradicting),
    ):
        known = train[names]
        test = [
            (value, label)
            for value, (_, label, split) in zip(clean if names == "clean" else keys, rows, strict=True)
            if split == "test" and value in known
        ]
        assert values == len(test)
        assert contradicting == sum(label not in known[value] for value, label in test)


def test_the_sample_does_not_depend_on_the_order_and_has_each_text_once() -> None:
    texts = [f"text {index % 3_000}" for index in range(6_000)]
    samples = []
    for seed in (1, 2):
        random.Random(seed).shuffle(texts)
        table = RowTable()
        for text in texts:
            table.add(text, "a", "")
        samples.append([each.text for each in table.sample])
    assert samples[0] == samples[1]
    assert len(set(samples[0])) == SAMPLE_TEXTS


def near_duplicates(texts: list[str]) -> list[list[int]]:
    finder, table = NearDuplicateFinder(), RowTable()
    for text in texts:
        finder.add(text)
        table.add(text, "a", "")
    import numpy as np

    return finder.groups(np.arange(len(texts)))


def test_planted_near_duplicates_are_found_and_others_are_not() -> None:
    chooser = random.Random(7)
    words = ["".join(chooser.choices("abcdefghijklmnop", k=chooser.randint(3, 8))) for _ in range(2_000)]
    texts = [" ".join(chooser.choices(words, k=30)) for _ in range(600)]
    planted = []
    for index in range(100):
        changed = texts[index].split()
        changed[chooser.randrange(30)] = chooser.choice(words)
        planted.append(" ".join(changed))
    groups = near_duplicates(texts + planted)
    right = [[index, 600 + index] for index in range(100)]
    found = [group for group in groups if group in right]
    assert len(found) / len(right) >= 0.9
    assert len(found) / len(groups) >= 0.9
