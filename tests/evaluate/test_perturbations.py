"""Texts written otherwise: what is changed, how much of it, and that it is the same everywhere."""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts.recipe.evaluate_settings import PERTURBATIONS as NAMES
from textgate.components.evaluate import perturbations
from textgate.components.evaluate.perturbations import PERTURBATIONS, perturb

TEXT = "The movie is wonderful, and its story was never boring - not even once."
PLAIN = st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=9), min_size=1, max_size=40).map(" ".join)


def written(name: str, text: str, seeds: int = 300) -> set[str]:
    """Everything a perturbation makes of a text."""
    return {perturb(name, text, seed) for seed in range(seeds)}


def test_a_recipe_can_name_each_of_them_and_no_other() -> None:
    assert list(PERTURBATIONS) == list(NAMES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("typos", "The movie is wknderful, and its story was nrver boring - not even once."),
        ("case", "The Movie Is Wonderful, And Its Story Was Never Boring - Not Even Once."),
        ("punctuation", "The movie is wonderful, and its story was never boring - not even once"),
        ("homoglyphs", "The movie is w\u043enderful, \u0430nd its story wa\u0455 never boring - not even once."),
        ("synonyms", "The film is marvelous, and its story was never tedious - not even once."),
    ],
)
def test_the_same_seed_is_the_same_text_on_every_machine(name: str, expected: str) -> None:
    assert perturb(name, TEXT, 13) == expected


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=60)
@given(text=st.text(st.characters() | st.sampled_from("aeo ,.'\u0301\ud800漢ß"), max_size=60), seed=st.integers(0, 9))
def test_any_text_can_be_written_otherwise_and_always_in_the_same_way(name: str, text: str, seed: int) -> None:
    assert perturb(name, text, seed) == perturb(name, text, seed)


@settings(deadline=None, max_examples=100)
@given(text=PLAIN, seed=st.integers(0, 99))
def test_typos_are_one_slip_inside_one_long_word_in_five(text: str, seed: int) -> None:
    before, after = text.split(), perturb("typos", text, seed).split()
    slipped = [(word, other) for word, other in zip(before, after, strict=True) if word != other]
    long = sum(len(word) >= 4 for word in before)
    assert len(slipped) == -(-long // 5)
    for word, other in slipped:
        assert len(word) >= 4
        assert (word[0], word[-1]) == (other[0], other[-1])
        assert abs(len(word) - len(other)) <= 1


def test_a_slip_drops_doubles_swaps_or_hits_the_key_beside() -> None:
    assert written("typos", "xgax") == {"xax", "xggax", "xagx", *(f"x{beside}ax" for beside in "fhtyvb")}
    assert "xTax" in written("typos", "xGax")


def test_case_is_one_of_three_others() -> None:
    assert written("case", "It's a Good one") == {"it's a good one", "IT'S A GOOD ONE", "It's A Good One"}
    assert written("case", "all small") == {"ALL SMALL", "All Small"}
    assert written("case", "123 漢字") == {"123 漢字"}


def test_punctuation_changes_at_the_end_or_between() -> None:
    assert written("punctuation", "Well, this - for 1,000: is well-made?!") == {
        "Well, this - for 1,000: is well-made",
        "Well, this - for 1,000: is well-made.",
        "Well, this - for 1,000: is well-made!!!",
        "Well this for 1,000 is well-made?!",
    }
    assert written("punctuation", "...") == {"..."}


@settings(deadline=None, max_examples=60)
@given(text=PLAIN, seed=st.integers(0, 99))
def test_homoglyphs_stand_for_one_letter_in_one_word_in_five(text: str, seed: int) -> None:
    other = perturb("homoglyphs", text, seed)
    changed = [(old, new) for old, new in zip(text, other, strict=True) if old != new]
    assert len(changed) == -(-sum(bool(re.search("[aceijopsxy]", word)) for word in text.split()) // 5)
    assert all(unicodedata.name(new).startswith("CYRILLIC SMALL LETTER") for _, new in changed)


def test_homoglyphs_go_both_ways() -> None:
    (latin,) = written("homoglyphs", "к о т")
    assert [unicodedata.name(letter).split()[0] for letter in latin.split()] == ["CYRILLIC", "LATIN", "CYRILLIC"]


def test_synonyms_are_written_as_the_word_was_and_only_where_there_are_some() -> None:
    assert perturb("synonyms", "MOVIE? Movies! movie's", 1) == "FILM? Films! film's"
    unknown = "Ein guter Film. Хороший фильм. good 2movie"
    assert perturb("synonyms", unknown, 1) == unknown.replace("2movie", "2film")


def test_the_table_of_synonyms_is_sound_and_bears_its_licence() -> None:
    lines = Path(perturbations.__file__).with_name("synonyms.txt").read_text("utf-8").splitlines()
    assert any("WordNet 3.0 Copyright 2006 by Princeton University" in line for line in lines)
    pairs = [line.split(" ") for line in lines if not line.startswith("#")]
    assert len(pairs) > 2_000
    assert [word for word, _ in pairs] == sorted({word for word, _ in pairs})
    for word, other in pairs:
        assert word != other
        assert re.fullmatch("[a-z]{4,}", word)
        assert re.fullmatch("[a-z]{4,}", other)
        assert (word[0] in "aeiou") == (other[0] in "aeiou")
