"""Significance, letter display, Pareto front and winner, checked against results computed by hand."""

import math
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from compare.systems import estimate, evaluation, system
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.compare.ranking import (
    choose_winner,
    comparable_seconds,
    compare_pairs,
    letter_display,
    pareto_front,
)
from textgate.components.contracts import InputError, TrainingCost
from textgate.components.contracts.comparison import CostLimits, SystemPair
from textgate.components.contracts.training_cost import EarlierTraining

NAMES = ["first", "second", "third", "fourth", "fifth"]


def pair(first: str, second: str, p_holm: float) -> SystemPair:
    difference = estimate(0.05)
    return SystemPair(
        first=first, second=second, f1_difference=difference, p_value=p_holm, p_holm=p_holm, significant=p_holm <= 0.05
    )


def f1(truth: list[int], predicted: list[int]) -> float:
    tp = sum(label and answer for label, answer in zip(truth, predicted, strict=True))
    return 2 * tp / (sum(truth) + sum(predicted))


def exact_p(truth: list[int], first: list[int], second: list[int]) -> float:
    """Return the p-value over every swap of the predictions on which two systems disagree; ties count half."""
    differing = [row for row in range(len(truth)) if first[row] != second[row]]
    observed = abs(f1(truth, first) - f1(truth, second))
    larger = equal = 0
    for swaps in product([False, True], repeat=len(differing)):
        a, b = list(first), list(second)
        for row, swap in zip(differing, swaps, strict=True):
            if swap:
                a[row], b[row] = second[row], first[row]
        permuted = abs(f1(truth, a) - f1(truth, b))
        larger, equal = larger + (permuted > observed + 1e-9), equal + (abs(permuted - observed) <= 1e-9)
    return (larger + equal / 2) / 2 ** len(differing)


def test_each_pair_is_tested_on_the_same_texts_and_corrected_for_their_number() -> None:
    truth = [0, 1] * 15
    wrong = {"first": range(1), "second": range(1, 7), "third": range(3, 14)}
    answers = {
        name: [1 - label if row in rows else label for row, label in enumerate(truth)] for name, rows in wrong.items()
    }
    pairs = compare_pairs({name: evaluation(truth, predicted) for name, predicted in answers.items()})
    named = [(one.first, one.second) for one in pairs]
    assert named == [("first", "second"), ("first", "third"), ("second", "third")]
    exact = [exact_p(truth, answers[first], answers[second]) for first, second in named]
    for one, p in zip(pairs, exact, strict=True):
        assert one.f1_difference.value == pytest.approx(
            f1(truth, answers[one.first]) - f1(truth, answers[one.second]), abs=1e-12
        )
        # 10,000 swaps drawn: five standard errors.
        assert one.p_value == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / 10_000) + 1e-4)
    # Holm: the smallest of three p-values times 3, the next times 2, none below the one before it.
    order = sorted(pairs, key=lambda one: one.p_value)
    assert [one.first + one.second for one in order] == ["firstthird", "firstsecond", "secondthird"]
    by_hand = [order[0].p_value * 3, order[1].p_value * 2]
    by_hand.append(max(by_hand[1], order[2].p_value))
    assert [one.p_holm for one in order] == pytest.approx(by_hand, abs=1e-12)
    assert [one.significant for one in order] == [True, False, False]
    assert order[1].p_value < 0.05, "the case is chosen so that correcting makes a difference"


def test_systems_evaluated_on_different_texts_are_not_compared() -> None:
    other = evaluation([0, 1, 1], [0, 1, 1], ids=["x", "y", "z"])
    with pytest.raises(InputError, match="a and b were evaluated on different texts"):
        compare_pairs({"a": evaluation([0, 1, 1], [0, 1, 1]), "b": other})


def test_letters_by_hand() -> None:
    """a differs from c and d, b from no other: {a, b} and {b, c, d} are the largest groups without a difference."""
    pairs = [pair(first, second, 0.3) for first, second in ("ab", "bc", "bd", "cd")]
    pairs += [pair("a", "c", 0.01), pair("a", "d", 0.01)]
    assert letter_display("abcd", pairs) == {"a": "a", "b": "ab", "c": "b", "d": "b"}


@settings(deadline=None, max_examples=100)
@given(st.lists(st.booleans(), min_size=10, max_size=10))
def test_two_systems_share_a_letter_if_and_only_if_they_do_not_differ(significant: list[bool]) -> None:
    pairs = [
        pair(*named, 0.01 if differs else 0.5)
        for named, differs in zip(combinations(NAMES, 2), significant, strict=True)
    ]
    found = letter_display(NAMES, pairs)
    assert all(found.values())
    for one in pairs:
        assert set(found[one.first]).isdisjoint(found[one.second]) == one.significant
    assert found["first"].startswith("a")


def test_the_pareto_front_by_hand() -> None:
    #         best  dominated  two equal points  dominated  cheapest
    scores = [0.90, 0.88, 0.80, 0.80, 0.70, 0.60]
    costs = [10.0, 10.0, 5.00, 5.00, 6.00, 1.00]
    assert pareto_front(scores, costs) == [True, False, True, True, False, True]


def test_the_highest_f1_wins_and_systems_as_good_are_named_with_their_savings() -> None:
    systems = [
        system("large", 0.90, latency_ms=20, size_mb=100, seconds=300),
        system("small", 0.89, latency_ms=2, size_mb=10, seconds=310),
        system("words", 0.80, latency_ms=0.1, size_mb=1, seconds=1),
        system("odd", failed="no label word fits"),
    ]
    pairs = [pair("large", "small", 0.4), pair("large", "words", 0.001), pair("small", "words", 0.01)]
    assert choose_winner(systems, pairs, CostLimits()) == (
        "large",
        ["small"],
        "large wins: it has the highest F1 on the validation split, 0.9000 [0.8800, 0.9200]; not significantly worse: "
        "small (answers 10.0 times as fast, is 10.0 times smaller, p 0.4)",
    )


def test_an_ensemble_with_a_member_of_unknown_cost_is_not_called_cheap_to_train() -> None:
    ensemble = system("both", 0.89, seconds=1)
    assert ensemble.metrics
    known, unknown = (
        EarlierTraining(bundle="a", role="member", cost=cost) for cost in (TrainingCost(seconds=9, peak_memory=1), None)
    )
    messages = []
    for earlier in ([], [known], [unknown]):
        cost = ensemble.metrics.training.model_copy(update={"earlier": earlier})
        changed = ensemble.model_copy(update={"metrics": ensemble.metrics.model_copy(update={"training": cost})})
        assert comparable_seconds(cost) == (10 if earlier == [known] else math.inf if earlier else 1)
        systems = [system("large", 0.90, seconds=300), changed]
        messages.append(choose_winner(systems, [pair("large", "both", 0.4)], CostLimits()).message)
    assert ["trains 300.0 times" in messages[0], "trains 30.0 times" in messages[1]] == [True, True]
    assert "trains" not in messages[2]


def test_systems_beyond_the_limits_cannot_win() -> None:
    systems = [
        system("large", 0.90, within=False),
        system("small", 0.89),
        system("words", 0.80),
    ]
    pairs = [pair("large", "small", 0.4), pair("large", "words", 0.001), pair("small", "words", 0.01)]
    winner, as_good, words = choose_winner(systems, pairs, CostLimits(max_latency_ms=5, max_size_mb=50))
    assert (winner, as_good) == ("small", [])
    assert words == (
        "small wins: it has the highest F1 on the validation split of the 2 systems within 5 ms a text and 50 MB, "
        "0.8900 [0.8700, 0.9100], and is significantly better than all others there"
    )


def test_without_a_system_within_the_limits_nothing_wins() -> None:
    expensive, broken = system("expensive", 0.9, within=False), system("broken", failed="it was killed")
    assert choose_winner([expensive, broken], [], CostLimits(max_size_mb=1)) == (
        None,
        [],
        "nothing won: the only system that did not fail is not within 1 MB",
    )
    assert choose_winner([broken], [], CostLimits()) == (None, [], "nothing won: every system failed")


def test_a_file_that_is_no_comparison_is_an_error(tmp_path: Path) -> None:
    from textgate.components.contracts.comparison import Comparison

    with pytest.raises(InputError, match="not a comparison"):
        Comparison.parse(b"{}", "comparison.json")
