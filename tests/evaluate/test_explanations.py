"""What speaks for wrong answers, and the words that tell: by a model whose words' worth is known."""

from pathlib import Path

import numpy as np
import pytest
from evaluate.judged import Additive, Counted, train_linear

from textgate.components.contracts import Dataset
from textgate.components.evaluate.explanations import explain_errors, top_words
from textgate.components.inference.explain import BUDGET, explain

WORTH = {"great": 2.0, "Great!": 2.0, "fine": 1.0, "dull": -3.0, "too": -0.5}


def test_the_most_confident_errors_come_first_with_the_worth_of_each_word() -> None:
    texts = ["a great film", "dull", "great great fine", "too dull a film", "fine", "", "great but dull"]
    model = Counted(Additive(WORTH))
    probabilities = model.predict_proba(texts)
    predicted = probabilities.argmax(axis=1)
    classes = 1 - predicted
    classes[4] = predicted[4]
    model.asked.clear()
    found = explain_errors(model, texts, probabilities, predicted, classes, 4)
    assert [error.row for error in found] == [2, 3, 1, 0]
    # One call for the words of all.
    assert len(model.asked) == 1
    assert [
        [(texts[error.row][part.start : part.end], round(part.contribution, 9)) for part in error.contributions]
        for error in found
    ] == [
        [("great", 2), ("great", 2), ("fine", 1)],
        [("too", 0.5), ("dull", 3), ("a", 0), ("film", 0)],
        [("dull", 3)],
        [("a", 0), ("great", 2), ("film", 0)],
    ]


def test_an_error_is_explained_for_the_label_that_was_answered_at_the_threshold() -> None:
    texts = ["too great a film"]
    probabilities = Additive(WORTH).predict_proba(texts)
    (error,) = explain_errors(Additive(WORTH), texts, probabilities, np.array([0]), np.array([1]), 5)
    assert [round(part.contribution, 9) for part in error.contributions] == [0.5, -2, 0, 0]


def test_a_blank_text_has_nothing_that_speaks_and_no_error_asks_nothing() -> None:
    model = Counted(Additive(WORTH))
    half = np.array([[0.5, 0.5]])
    (error,) = explain_errors(model, ["  "], half, np.array([1]), np.array([0]), 5)
    assert error.contributions == []
    assert explain_errors(model, ["great"], half, np.array([1]), np.array([1]), 5) == []
    assert explain_errors(model, ["great"], half, np.array([1]), np.array([0]), 0) == []
    assert top_words(model, [], ["bad", "good"]) == {"bad": [], "good": []}
    assert model.asked == []


def test_an_error_is_explained_as_the_endpoint_would(dataset: Dataset, tmp_path: Path) -> None:
    texts = [*dataset.columns("test")[1], " ".join(f"word{number}" for number in range(200))]
    _, predictor = train_linear(dataset, tmp_path / "bundle")
    probabilities = predictor.predict_proba(texts)
    predicted = probabilities.argmax(axis=1)
    found = explain_errors(predictor, texts, probabilities, predicted, 1 - predicted, len(texts))
    assert sorted(error.row for error in found) == list(range(len(texts)))
    for error in found:
        expected = explain(predictor.predict_proba, texts[error.row], int(predicted[error.row]))
        assert [(part.start, part.end) for part in error.contributions] == [(one.start, one.end) for one in expected]
        np.testing.assert_allclose(
            [part.contribution for part in error.contributions], [one.contribution for one in expected], atol=1e-9
        )


def test_telling_words_are_worth_their_mean_and_need_three_texts() -> None:
    texts = ["great film", "Great! film", "(great) film", "dull dull film", "dull", "dull too", "too fine", "fine"]
    found = top_words(Additive(WORTH), texts, ["bad", "good"])
    assert [(word.word, round(word.contribution, 9), word.texts) for word in found["bad"]] == [("dull", 3, 3)]
    # "(great)" is a word of the model's worth nothing, and of the same name: 2, 2 and 0.
    assert [(word.word, round(word.contribution, 9), word.texts) for word in found["good"]] == [
        ("great", pytest.approx(4 / 3), 3)
    ]


def test_no_more_than_twenty_words_a_label_the_most_telling_first() -> None:
    worth = {f"word{number}": float(number) for number in range(-30, 31)}
    found = top_words(Additive(worth), [" ".join(worth)] * 3, ["bad", "good"], budget=len(worth) + 1)
    assert [word.word for word in found["good"]] == [f"word{number}" for number in range(30, 10, -1)]
    assert [word.word for word in found["bad"]] == [f"word{number}" for number in range(-30, -10)]


def test_a_long_text_keeps_to_the_budget_and_is_read_to_its_end() -> None:
    worth = {f"word{number}x": 1.0 for number in range(500)}
    model = Counted(Additive(worth))
    found = top_words(model, [" ".join(worth)] * 3, ["bad", "good"])
    assert [len(asked) for asked in model.asked] == [3 * BUDGET]
    assert len(found["good"]) == 20
    without = [set(worth) - set(text.split()) for text in model.asked[0] if text != " ".join(worth)]
    left_out = sorted(int(word[4:-1]) for words in without for word in words)
    assert left_out[0] == 0
    assert left_out[-1] > 480


def test_a_word_of_many_texts_counts_when_it_is_in_one_of_a_hundred() -> None:
    texts = [*["rare film"] * 4, *["common film"] * 5, *["film"] * 491]
    found = top_words(Additive({"rare": 2.0, "common": 1.0}), texts, ["bad", "good"])
    assert [(word.word, word.texts) for word in found["good"]] == [("common", 5)]
