"""Explained errors and top words of a model whose word weights are known."""

from pathlib import Path

import numpy as np
import pytest
from evaluate.predictors import AdditivePredictor, RecordingPredictor, train_linear

from textgate.components.contracts import Dataset
from textgate.components.evaluate.explanations import explain_errors, top_words
from textgate.components.evaluate.predictions import Predictions
from textgate.components.inference.explain import BUDGET, explain

WEIGHTS = {"great": 2.0, "Great!": 2.0, "fine": 1.0, "dull": -3.0, "too": -0.5}


def prediction(texts: list[str], probabilities: np.ndarray, predicted: int, truth: int) -> Predictions:
    """Return the prediction for a single text."""
    return Predictions(texts, np.array([truth]), probabilities, np.array([predicted]))


def test_the_most_confident_errors_come_first_with_the_contribution_of_each_word() -> None:
    texts = ["a great film", "dull", "great great fine", "too dull a film", "fine", "", "great but dull"]
    model = RecordingPredictor(AdditivePredictor(WEIGHTS))
    probabilities = model.predict_proba(texts)
    predicted = probabilities.argmax(axis=1)
    truth = 1 - predicted
    truth[4] = predicted[4]
    model.calls.clear()
    found = explain_errors(model, Predictions(texts, truth, probabilities, predicted), 4)
    assert [error.row for error in found] == [2, 3, 1, 0]
    # All errors are explained in one call.
    assert len(model.calls) == 1
    assert [
        [(texts[error.row][part.start : part.end], round(part.contribution, 9)) for part in error.contributions]
        for error in found
    ] == [
        [("great", 2), ("great", 2), ("fine", 1)],
        [("too", 0.5), ("dull", 3), ("a", 0), ("film", 0)],
        [("dull", 3)],
        [("a", 0), ("great", 2), ("film", 0)],
    ]


def test_an_error_is_explained_for_the_label_that_was_predicted_at_the_threshold() -> None:
    texts = ["too great a film"]
    probabilities = AdditivePredictor(WEIGHTS).predict_proba(texts)
    (error,) = explain_errors(AdditivePredictor(WEIGHTS), prediction(texts, probabilities, 0, 1), 5)
    assert [round(part.contribution, 9) for part in error.contributions] == [0.5, -2, 0, 0]


def test_a_blank_text_has_no_contributions_and_without_errors_nothing_is_predicted() -> None:
    model = RecordingPredictor(AdditivePredictor(WEIGHTS))
    half = np.array([[0.5, 0.5]])
    (error,) = explain_errors(model, prediction(["  "], half, 1, 0), 5)
    assert error.contributions == []
    assert explain_errors(model, prediction(["great"], half, 1, 1), 5) == []
    assert explain_errors(model, prediction(["great"], half, 1, 0), 0) == []
    assert top_words(model, [], ["bad", "good"]) == {"bad": [], "good": []}
    assert model.calls == []


def test_an_error_is_explained_as_the_endpoint_explains_it(dataset: Dataset, tmp_path: Path) -> None:
    texts = [*dataset.columns("test")[1], " ".join(f"word{number}" for number in range(200))]
    _, predictor = train_linear(dataset, tmp_path / "bundle")
    probabilities = predictor.predict_proba(texts)
    predicted = probabilities.argmax(axis=1)
    found = explain_errors(predictor, Predictions(texts, 1 - predicted, probabilities, predicted), len(texts))
    assert sorted(error.row for error in found) == list(range(len(texts)))
    for error in found:
        expected = explain(predictor.predict_proba, texts[error.row], int(predicted[error.row]))
        assert [(part.start, part.end) for part in error.contributions] == [(one.start, one.end) for one in expected]
        np.testing.assert_allclose(
            [part.contribution for part in error.contributions], [one.contribution for one in expected], atol=1e-9
        )


def test_a_top_word_has_its_mean_contribution_and_occurs_in_three_texts() -> None:
    texts = ["great film", "Great! film", "(great) film", "dull dull film", "dull", "dull too", "too fine", "fine"]
    found = top_words(AdditivePredictor(WEIGHTS), texts, ["bad", "good"])
    assert [(word.word, round(word.contribution, 9), word.texts) for word in found["bad"]] == [("dull", 3, 3)]
    # To the model "(great)" is an unknown word; for the ranking it is "great": 2, 2 and 0.
    assert [(word.word, round(word.contribution, 9), word.texts) for word in found["good"]] == [
        ("great", pytest.approx(4 / 3), 3)
    ]


def test_a_label_has_at_most_twenty_words_by_descending_contribution() -> None:
    weights = {f"word{number}": float(number) for number in range(-30, 31)}
    found = top_words(AdditivePredictor(weights), [" ".join(weights)] * 3, ["bad", "good"], budget=len(weights) + 1)
    assert [word.word for word in found["good"]] == [f"word{number}" for number in range(30, 10, -1)]
    assert [word.word for word in found["bad"]] == [f"word{number}" for number in range(-30, -10)]


def test_a_long_text_stays_within_the_budget_and_is_sampled_to_its_end() -> None:
    weights = {f"word{number}x": 1.0 for number in range(500)}
    model = RecordingPredictor(AdditivePredictor(weights))
    found = top_words(model, [" ".join(weights)] * 3, ["bad", "good"])
    assert [len(texts) for texts in model.calls] == [3 * BUDGET]
    assert len(found["good"]) == 20
    without = [set(weights) - set(text.split()) for text in model.calls[0] if text != " ".join(weights)]
    left_out = sorted(int(word[4:-1]) for words in without for word in words)
    assert left_out[0] == 0
    assert left_out[-1] > 480


def test_with_many_texts_a_word_must_occur_in_one_percent_of_them() -> None:
    texts = [*["rare film"] * 4, *["common film"] * 5, *["film"] * 491]
    found = top_words(AdditivePredictor({"rare": 2.0, "common": 1.0}), texts, ["bad", "good"])
    assert [(word.word, word.texts) for word in found["good"]] == [("common", 5)]
