"""Explanations: the contribution of each word of a text."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from textgate.components.contracts import Dataset, LinearTraining, ModelBundle
from textgate.components.families import TrainingContext
from textgate.components.inference import load_bundle
from textgate.components.inference.explain import MAX_CHARACTERS, erase, explain
from textgate.components.inference.linear import ARRAYS, VOCABULARY, words
from textgate.components.train.train import train_bundle

Floats = npt.NDArray[np.float64]
# A list of characters, since st.text merges the two strategies into one in which the sampled characters are rare.
ODD = st.lists(st.characters() | st.sampled_from(" \n\t\u3000\u200b\u00a0\u0301\ud800漢字ไทยที่ကြီး👩‍👩‍👧aé.")).map(
    "".join
)
LONG = st.lists(st.sampled_from(["word ", "a", "漢", " "]), max_size=300).map("".join)


def lengths(texts: Sequence[str]) -> Floats:
    """Return probabilities of two labels; the longer a text, the more probable the second."""
    odds = np.array([len(text) / 10 for text in texts])
    return np.stack([1 / (1 + np.exp(odds)), 1 / (1 + np.exp(-odds))], axis=1)


@settings(deadline=None, max_examples=200)
@given(text=ODD | LONG, budget=st.integers(2, 80), label=st.integers(0, 1))
def test_any_text_is_explained_in_one_call_within_the_budget(text: str, budget: int, label: int) -> None:
    calls: list[list[str]] = []

    def predict(texts: Sequence[str]) -> Floats:
        calls.append(list(texts))
        return lengths(texts)

    found = explain(predict, text, label, budget)
    assert [item.text for item in found] == [text[item.start : item.end] for item in found]
    assert all(np.isfinite(item.contribution) for item in found)
    if not text.strip():
        assert (found, calls) == ([], [])
        return
    (texts,) = calls
    assert texts[0] == text
    assert len(texts) == len(found) + 1 <= budget
    # The spans are in order and not empty, and only white space is outside them.
    ends = [0, *(item.end for item in found)]
    assert all(end <= item.start < item.end for end, item in zip(ends[:-1], found, strict=True))
    between = [text[end:start] for end, start in zip(ends, [*(item.start for item in found), len(text)], strict=True)]
    assert not "".join(between).strip()
    assert explain(predict, text, label, budget) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Good, very good\u3000film", ["Good,", "very", "good", "film"]),
        ("  edges \n", ["edges"]),
        ("我的iPhone很好。", ["我", "的", "iPhone", "很", "好", "。"]),
        ("ดีที่", ["ดี", "ที่"]),
        ("e\u0301te\u0301", ["e\u0301te\u0301"]),
        ("한국어 영화", ["한국어", "영화"]),
        ("x" * 100, ["x" * 40, "x" * 40, "x" * 20]),
        ("", []),
        (" \u2003\t", []),
    ],
)
def test_words_are_found_with_and_without_spaces(text: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in erase(text).spans] == found


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("not a good film", ["a good film", "not good film", "not a film", "not a good"]),
        (" a\nb  c ", ["b  c ", " a\nc ", " a\nb"]),
        ("很好 film", ["好 film", "很 film", "很好"]),
        ("漢字x y", ["字x y", "漢x y", "漢字 y", "漢字x"]),
        ("one ", [""]),
    ],
)
def test_a_word_is_left_out_with_one_of_its_gaps(text: str, others: list[str]) -> None:
    assert erase(text).texts == [text, *others]


@pytest.mark.parametrize(("count", "budget"), [(1000, 64), (63, 64), (64, 64), (10, 2), (7, 4)])
def test_too_many_words_are_joined_into_equal_spans(count: int, budget: int) -> None:
    text = " ".join(f"w{index}" for index in range(count))
    erasures = erase(text, budget)
    sizes = [len(text[start:end].split()) for start, end in erasures.spans]
    assert len(sizes) == min(count, budget - 1)
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    assert len(erasures.texts) <= budget


@pytest.mark.parametrize(
    ("characters", "spans"), [(6_250, 63), (10_000, 39), (100_000, 3), (200_000, 1), (300_000, 1), (1_000_000, 1)]
)
@pytest.mark.parametrize("piece", ["word ", "漢字", "ก\u0e34"])
def test_a_long_text_is_explained_in_fewer_spans(characters: int, spans: int, piece: str) -> None:
    text = piece * (characters // len(piece))
    erasures = erase(text)
    assert len(erasures.spans) == spans
    assert sum(map(len, erasures.texts)) <= max(MAX_CHARACTERS, 2 * len(text))


@pytest.mark.parametrize("piece", ["word ", "漢字", "ก\u0e34", "\u0301", "x", " ", "ที่กำลังดี"])
def test_words_of_a_long_text_are_found_in_linear_time(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    started = time.thread_time()
    erase(text)
    # About 60 ms on a quiet machine.
    assert time.thread_time() - started < 0.5


def test_a_budget_below_two_is_rejected() -> None:
    with pytest.raises(ValueError, match="2 forward passes at least, not 1"):
        erase("two words", 1)


def test_contributions_are_differences_of_log_odds_however_sure_the_model_is() -> None:
    certain = np.array([[1.0, 0.0, 0.0], [1.0, 1e-40, 1e-40], [0.5, 0.25, 0.25], [0.0, 0.5, 0.5]])
    found = explain(lambda texts: certain, "one two three", 0)
    tiny = np.finfo(np.float64).tiny
    expected = [-np.log(tiny) + np.log(2e-40), -np.log(tiny), -2 * np.log(tiny)]
    np.testing.assert_allclose([item.contribution for item in found], expected)


@pytest.fixture(scope="module")
def bundle(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained") / "bundle"
    training = LinearTraining(family="linear", ngrams=(1, 1), min_df=1)
    train_bundle(dataset.path, "linear", training, folder, TrainingContext())
    return folder


@pytest.mark.parametrize("label", [0, 1])
def test_a_linear_model_is_explained_by_its_own_weights(bundle: Path, label: int) -> None:
    arrays = load_file(bundle / ARRAYS)
    column = {term: index for index, term in enumerate(json.loads((bundle / VOCABULARY).read_text("utf-8")))}
    weight = arrays["weights"][label] - arrays["weights"][1 - label]
    bias = arrays["bias"][label] - arrays["bias"][1 - label]
    assert ModelBundle.load(bundle).calibration.temperature == 1
    text = "word3 word7 bad word11, unheard Word19 good word23"

    def odds(terms: list[str]) -> float:
        columns = [column[term] for term in terms if term in column]
        features = arrays["idf"][columns]
        return float(features / np.linalg.norm(features) @ weight[columns] + bias)

    terms = words(text)
    found = explain(load_bundle(bundle).predict_proba, text, label)
    expected = [odds(terms) - odds([other for other in terms if other != term]) for term in terms]
    np.testing.assert_allclose([item.contribution for item in found], expected, atol=1e-9)

    best = max(found, key=lambda item: item.contribution)
    assert best.text == ["bad", "good"][label]
    assert [item.contribution for item in found if item.text == "unheard"] == pytest.approx([0])


def test_contributions_of_equally_rare_words_are_ordered_as_their_weights(bundle: Path) -> None:
    arrays = load_file(bundle / ARRAYS)
    terms = np.array(json.loads((bundle / VOCABULARY).read_text("utf-8")))
    # Words with the same document frequency have the same idf, so leaving out any of them changes the norm equally.
    value, counts = np.unique(arrays["idf"].round(12), return_counts=True)
    columns = np.flatnonzero(arrays["idf"].round(12) == value[counts.argmax()])
    assert len(columns) >= 5
    weight = arrays["weights"][1] - arrays["weights"][0]
    found = explain(load_bundle(bundle).predict_proba, " ".join(terms[columns]), 1)
    by_contribution = [item.text for item in sorted(found, key=lambda item: item.contribution)]
    assert by_contribution == terms[columns[np.argsort(weight[columns])]].tolist()
