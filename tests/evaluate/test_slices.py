"""Rows, order and scores of slices."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact
from sklearn.metrics import accuracy_score, f1_score

from textgate.components.contracts.evaluation import Slice
from textgate.components.evaluate.predictions import Predictions
from textgate.components.evaluate.slices import MAX_VALUES, MIN_ROWS, _p_worse, length_bias, score_slices
from textgate.components.metrics import holm


def words(count: int) -> str:
    return " ".join(["word"] * count)


def predictions(texts: list[str], truth: np.ndarray, predicted: np.ndarray, labels: int) -> Predictions:
    """Return certain predictions of the classes ``predicted``."""
    return Predictions(texts, truth, np.eye(labels)[predicted], predicted)


def random_slices(
    texts: list[str],
    ids: list[str] | None = None,
    metadata: list[dict[str, str]] | None = None,
    labels: int = 2,
    seed: int = 7,
) -> list[Slice]:
    """Return the slices of rows with random labels and predictions."""
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, labels, (2, len(texts)))
    rows = predictions(texts, truth, predicted, labels)
    return score_slices(rows, ids or ["a.csv:1"] * len(texts), metadata or [{} for _ in texts])


def names(found: list[Slice], column: str) -> list[tuple[str, int]]:
    return [(one.value, one.rows) for one in found if one.column == column]


def test_lengths_are_cut_into_quarters_named_by_their_numbers_of_words() -> None:
    texts = [words(1 + number % 40) for number in range(400)]
    random.Random(3).shuffle(texts)
    assert names(random_slices(texts), "length") == [
        ("1 to 10 words", 100),
        ("11 to 20 words", 100),
        ("21 to 30 words", 100),
        ("31 to 40 words", 100),
    ]


def test_texts_of_equal_length_stay_together_and_a_single_length_makes_no_slices() -> None:
    assert names(random_slices([words(1)] * 70 + [words(2)] * 10 + [words(9)] * 20), "length") == [
        ("1 word", 70),
        ("2 words", 10),
        ("9 words", 20),
    ]
    assert random_slices([words(5)] * 100) == []
    assert random_slices(["", "   ", "\n"] * 10) == []


@settings(deadline=None, max_examples=60)
@given(lengths=st.lists(st.integers(0, 30), max_size=200))
def test_every_text_is_in_exactly_one_length_slice(lengths: list[int]) -> None:
    found = names(random_slices([words(length) for length in lengths]), "length")
    if not found:
        # All texts would be in one slice.
        assert 4 * sum(length < max(lengths) for length in lengths) < max(1, len(lengths))
        return
    ranges = [[int(number) for number in value.split() if number.isdigit()] for value, _ in found]
    assert sum(rows for _, rows in found) == len(lengths)
    assert len(found) <= 4
    # Ascending, disjoint, and holding the rows whose lengths they name.
    assert [number for ends in ranges for number in ends] == sorted({number for ends in ranges for number in ends})
    for ends, (_, rows) in zip(ranges, found, strict=True):
        assert rows == sum(ends[0] <= length <= ends[-1] for length in lengths)


def test_the_source_is_the_file_and_a_single_file_makes_no_slice() -> None:
    files = [*["b.csv"] * 40, *["a:1.csv"] * 30, *["c.csv"] * 30, *["few.csv"] * (MIN_ROWS - 1)]
    ids = [f"{file}:{row}" for row, file in enumerate(files)]
    found = random_slices([words(4)] * len(ids), ids)
    assert [(one.column, one.value, one.rows) for one in found] == [
        ("source", "b.csv", 40),
        ("source", "a:1.csv", 30),
        ("source", "c.csv", 30),
    ]
    assert random_slices([words(4)] * 40, ids[:40]) == []
    assert random_slices([words(4)] * 60, [f"class/{row}.txt" for row in range(60)]) == []


def test_the_most_frequent_values_of_a_metadata_column_are_slices() -> None:
    genres = [f"genre {number:02d}" for number in range(30) for _ in range(MIN_ROWS - 5 + number)]
    rows = [{"genre": genre, "year": "1999", "studio": "A" if row % 3 else ""} for row, genre in enumerate(genres)]
    random.Random(5).shuffle(rows)
    found = random_slices([words(4)] * len(rows), metadata=rows)
    assert names(found, "genre") == [
        (f"genre {number:02d}", MIN_ROWS - 5 + number) for number in range(29, 29 - MAX_VALUES, -1)
    ]
    empty = sum(not row["studio"] for row in rows)
    assert names(found, "studio") == [("A", len(rows) - empty), ("(none)", empty)]
    assert {one.column for one in found} == {"genre", "studio"}
    some = [row for row in rows if row["genre"] < "genre 08"]
    assert names(random_slices([words(4)] * len(some), metadata=some), "genre") == [
        ("genre 07", 22),
        ("genre 06", 21),
        ("genre 05", 20),
    ]


def test_a_metadata_column_replaces_the_built_in_column_of_the_same_name() -> None:
    rows = [{"source": "IMDB" if row % 2 else "Rotten Tomatoes"} for row in range(80)]
    ids = [f"{'ab'[row < 40]}.csv:{row}" for row in range(80)]
    assert names(random_slices([words(4)] * 80, ids, rows), "source") == [("IMDB", 40), ("Rotten Tomatoes", 40)]


def test_columns_are_in_the_order_of_the_recipe_and_ties_in_the_order_of_values() -> None:
    rows = [{"z": "yx"[row % 2], "a": "qp"[row % 2]} for row in range(100)]
    texts, ids = [words(1 + row % 2) for row in range(100)], [f"{'ba'[row % 2]}:{row}" for row in range(100)]
    found = random_slices(texts, ids, rows)
    assert [(one.column, one.value) for one in found] == [
        *(("length", "1 word"), ("length", "2 words")),
        *(("source", "a"), ("source", "b")),
        *(("z", "x"), ("z", "y")),
        *(("a", "p"), ("a", "q")),
    ]
    assert random_slices(texts, ids, rows) == found


@pytest.mark.parametrize("labels", [2, 3, 6])
def test_a_slice_has_the_scores_of_its_rows(labels: int) -> None:
    rng = np.random.default_rng(labels)
    truth = rng.integers(0, labels, 300)
    predicted = np.where(rng.random(300) < 0.7, truth, rng.integers(0, labels, 300))
    kinds = rng.choice(["x", "y", "z"], 300)
    # Some labels do not occur in slice y: they must not lower its macro F1.
    truth[kinds == "y"] %= 2
    predicted[kinds == "y"] %= 2
    rows = predictions([words(3)] * 300, truth, predicted, labels)
    found = score_slices(rows, ["f:1"] * 300, [{"kind": str(kind)} for kind in kinds])
    assert {one.value for one in found} == {"x", "y", "z"}
    for one in found:
        members = kinds == one.value
        average = "binary" if labels == 2 else "macro"
        expected = f1_score(truth[members], predicted[members], average=average)
        assert one.f1 is not None
        assert one.f1.value == pytest.approx(expected, abs=1e-12)
        assert one.accuracy.value == pytest.approx(accuracy_score(truth[members], predicted[members]), abs=1e-12)
        assert one.f1.low < one.f1.value < one.f1.high
        assert one.accuracy.low < one.accuracy.value < one.accuracy.high
        assert one.rows == members.sum()


def test_a_slice_of_one_class_has_no_f1_and_its_accuracy_is_the_recall_of_the_class() -> None:
    truth = np.array([0] * 50 + [1] * 50)
    predicted = np.array([0] * 45 + [1] * 45 + [0] * 10)
    kinds = [{"kind": "bad" if row < 50 else "good"} for row in range(100)]
    for labels in (2, 3):
        found = score_slices(predictions([words(3)] * 100, truth, predicted, labels), ["f:1"] * 100, kinds)
        assert [(one.value, one.f1, one.accuracy.value) for one in found] == [("bad", None, 0.9), ("good", None, 0.8)]


def test_p_values_are_those_of_fishers_exact_test_corrected_by_holm() -> None:
    correct = np.array([True] * 60 + [False] * 20 + [True] * 95 + [False] * 5 + [True] * 40 + [False] * 5)
    kinds = ["x"] * 80 + ["y"] * 100 + ["z"] * 45
    truth = np.arange(len(kinds)) % 2
    rows = predictions([words(3)] * len(kinds), truth, np.where(correct, truth, 1 - truth), 2)
    found = {one.value: one for one in score_slices(rows, ["f:1"] * len(kinds), [{"kind": kind} for kind in kinds])}
    tables = {"x": [[60, 20], [135, 10]], "y": [[95, 5], [100, 25]], "z": [[40, 5], [155, 25]]}
    exact = {kind: fisher_exact(table, alternative="less").pvalue for kind, table in tables.items()}
    # Ascending: x, z, y. Times 3, 2 and 1, none below the one before it.
    by_hand = [3 * exact["x"], min(1, 2 * exact["z"]), 1]
    by_hand[2] = max(min(1, exact["y"]), by_hand[1])
    by_hand = [by_hand[0], by_hand[2], by_hand[1]]
    assert [found[kind].p_worse for kind in "xyz"] == pytest.approx(by_hand, rel=1e-9)
    assert [found[kind].is_worse for kind in "xyz"] == [True, False, False]


@pytest.mark.parametrize("slices", [3, 24])
def test_chance_marks_a_slice_in_at_most_one_of_20_splits(slices: int) -> None:
    """A comparison of each interval with the accuracy of the split marked a slice in 40 % of the splits."""
    rng = np.random.default_rng(slices)
    kinds = np.arange(slices * 25) % slices
    marked, lower = 0, 0
    for _ in range(100):
        correct = rng.random(len(kinds)) < 0.85
        p_values = [float(_p_worse(correct, np.flatnonzero(kinds == kind))) for kind in range(slices)]
        marked += min(holm(p_values)) <= 0.05
        lower += min(p_values) <= 0.05
    assert marked <= 7, "2 standard errors above 5 of 100"
    assert slices < 24 or lower > 30, "uncorrected p-values would not do"


def test_length_bias_has_an_interval_without_errors_too() -> None:
    texts = [words(length) for length in np.repeat([2, 5, 9, 30], 20)]
    bias = length_bias(texts, np.ones(80, dtype=bool))
    assert bias is not None
    assert -0.2 < bias.low < -0.05 < bias.value == 0 < 0.05 < bias.high < 0.2


def test_length_bias_is_the_difference_in_accuracy_of_the_longest_and_shortest_texts() -> None:
    lengths = np.repeat([2, 5, 9, 30], 200)
    texts = [words(length) for length in lengths]
    correct = np.ones(800, dtype=bool)
    correct[:50] = False  # a quarter of the shortest
    correct[600:620] = False  # a tenth of the longest
    correct[300:400] = False  # neither the shortest nor the longest
    bias = length_bias(texts, correct)
    assert bias is not None
    assert bias.value == pytest.approx(0.9 - 0.75)
    assert 0.05 < bias.low < bias.value < bias.high < 0.25
    shuffled = np.random.default_rng(1).permutation(800)
    assert length_bias([texts[row] for row in shuffled], correct[shuffled]) == bias
    opposite = length_bias([words(40 - length) for length in lengths], correct)
    assert opposite is not None
    assert opposite.value == pytest.approx(-bias.value)


def test_the_interval_of_length_bias_covers_0_by_chance_and_there_is_none_without_different_lengths() -> None:
    rng = np.random.default_rng(11)
    texts = [words(length) for length in rng.integers(1, 40, 400)]
    found = [length_bias(texts, rng.random(400) < 0.8) for _ in range(200)]
    covered = sum(one is not None and one.low <= 0 <= one.high for one in found)
    assert 180 <= covered < 200
    assert length_bias([words(4)] * 50, np.ones(50, dtype=bool)) is None
    assert length_bias([], np.ones(0, dtype=bool)) is None
