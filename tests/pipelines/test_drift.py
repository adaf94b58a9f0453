"""Comparison of two samples of texts with predicted labels."""

import random
from collections import Counter

import pytest

from textgate.components.metrics.drift import LEVEL
from textgate.pipelines.runners.drift import DriftKind, Sample, compare, describe_drift

WORDS = [f"word{index}" for index in range(200)]
WEATHER = ["breeze", "drizzle", "thunder", "cyclone", "tornado", "monsoon", "showers"]


def sample(seed: int, texts: int = 400, words: list[str] = WORDS, length: int = 12, positive: float = 0.3) -> Sample:
    rng = random.Random(seed)
    written = [" ".join(rng.choices(words, k=rng.randint(length // 2, length * 2))) for _ in range(texts)]
    labels = Counter(rng.choices(["no", "yes"], [1 - positive, positive], k=texts))
    return Sample(labels, written)


def found(reference: Sample, other: Sample) -> list[DriftKind]:
    return [kind for kind, test in compare(reference, other, 0.05).items() if test.found]


def test_samples_of_one_source_do_not_differ() -> None:
    for seed in range(5):
        assert found(sample(seed), sample(100 + seed)) == []


@pytest.mark.long
def test_three_tests_on_equal_samples_have_the_level_together() -> None:
    alarms = sum(
        min(test.p_value for test in compare(sample(seed), sample(10_000 + seed), 0.0).values()) <= LEVEL
        for seed in range(400)
    )
    assert alarms <= 400 * LEVEL + 3 * (400 * LEVEL * (1 - LEVEL)) ** 0.5


@pytest.mark.parametrize(
    ("changed", "kind", "sentence"),
    [
        (
            sample(2, positive=0.6),
            "labels",
            "the labels predicted for the last 400 texts are distributed differently from those on the test split: ",
        ),
        (sample(2, length=24), "length", "the texts have a median length of "),
        (
            sample(2, words=[*WORDS, *WEATHER * 10]),
            "inputs",
            "a classifier tells the texts from those of the test split",
        ),
    ],
)
def test_each_kind_of_drift_is_found_and_described(changed: Sample, kind: DriftKind, sentence: str) -> None:
    reference = sample(1)
    tests = compare(reference, changed, 0.05)
    assert tests[kind].found
    assert describe_drift(kind, tests[kind], reference, changed, "the test split").startswith(sentence)
    if kind != "length":  # longer texts are told apart, too
        assert found(reference, changed) == [kind]


@pytest.mark.parametrize("kind", ["labels", "length", "inputs"])
def test_a_test_that_finds_nothing_says_what_it_would_have_found(kind: DriftKind) -> None:
    reference, same = sample(1), sample(2)
    test = compare(reference, same, 0.05)[kind]
    sentence = describe_drift(kind, test, reference, same, "the test split")
    assert f"{test.detectable:.3f}" in sentence
    assert sentence.endswith("would have been found with a probability of 80%")


def test_without_known_labels_only_the_texts_are_compared() -> None:
    assert list(compare(Sample(Counter(), sample(3).texts), sample(1), 0.05)) == ["length", "inputs"]
    assert compare(Sample(Counter(), []), sample(1), 0.05) == {}


def test_without_texts_only_the_labels_are_compared() -> None:
    reference = Sample(Counter(no=500, yes=500), [])
    assert list(compare(reference, sample(1), 0.05)) == ["labels"]
    few = Sample(Counter(no=50, yes=40), sample(3).texts[:90])
    assert list(compare(few, sample(1), 0.05)) == ["labels"]
