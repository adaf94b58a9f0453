"""Perturbations: kind and amount of change, and the same result on every machine."""

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


def variants(name: str, text: str, seeds: int = 300) -> set[str]:
    """Return every perturbed text over many seeds."""
    return {perturb(name, text, seed) for seed in range(seeds)}


def test_recipes_accept_exactly_these_names() -> None:
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
def test_the_same_seed_gives_the_same_text_on_every_machine(name: str, expected: str) -> None:
    assert perturb(name, TEXT, 13) == expected


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=60)
@given(text=st.text(st.characters() | st.sampled_from("aeo ,.'\u0301\ud800漢ß"), max_size=60), seed=st.integers(0, 9))
def test_any_text_can_be_perturbed_reproducibly(name: str, text: str, seed: int) -> None:
    assert perturb(name, text, seed) == perturb(name, text, seed)


@settings(deadline=None, max_examples=100)
@given(text=PLAIN, seed=st.integers(0, 99))
def test_typos_are_single_errors_inside_one_long_word_in_five(text: str, seed: int) -> None:
    before, after = text.split(), perturb("typos", text, seed).split()
    misspelled = [(word, other) for word, other in zip(before, after, strict=True) if word != other]
    long = sum(len(word) >= 4 for word in before)
    assert len(misspelled) == -(-long // 5)
    for word, other in misspelled:
        assert len(word) >= 4
        assert (word[0], word[-1]) == (other[0], other[-1])
        assert abs(len(word) - len(other)) <= 1


def test_a_typo_drops_doubles_swaps_or_hits_a_neighbouring_key() -> None:
    assert variants("typos", "xgax") == {"xax", "xggax", "xagx", *(f"x{key}ax" for key in "fhtyvb")}
    assert "xTax" in variants("typos", "xGax")


def test_case_is_lower_upper_or_title() -> None:
    assert variants("case", "It's a Good one") == {"it's a good one", "IT'S A GOOD ONE", "It's A Good One"}
    assert variants("case", "all small") == {"ALL SMALL", "All Small"}
    assert variants("case", "123 漢字") == {"123 漢字"}


def test_punctuation_changes_at_the_end_or_inside() -> None:
    assert variants("punctuation", "Well, this - for 1,000: is well-made?!") == {
        "Well, this - for 1,000: is well-made",
        "Well, this - for 1,000: is well-made.",
        "Well, this - for 1,000: is well-made!!!",
        "Well this for 1,000 is well-made?!",
    }
    assert variants("punctuation", "...") == {"..."}


@settings(deadline=None, max_examples=60)
@given(text=PLAIN, seed=st.integers(0, 99))
def test_homoglyphs_replace_one_letter_in_one_word_in_five(text: str, seed: int) -> None:
    other = perturb("homoglyphs", text, seed)
    changed = [(old, new) for old, new in zip(text, other, strict=True) if old != new]
    assert len(changed) == -(-sum(bool(re.search("[aceijopsxy]", word)) for word in text.split()) // 5)
    assert all(unicodedata.name(new).startswith("CYRILLIC SMALL LETTER") for _, new in changed)


def test_homoglyphs_replace_latin_and_cyrillic_letters() -> None:
    (latin,) = variants("homoglyphs", "к о т")
    assert [unicodedata.name(letter).split()[0] for letter in latin.split()] == ["CYRILLIC", "LATIN", "CYRILLIC"]


def test_synonyms_keep_the_case_and_unknown_words_are_unchanged() -> None:
    assert perturb("synonyms", "MOVIE? Movies! movie's", 1) == "FILM? Films! film's"
    unknown = "Ein guter Film. Хороший фильм. good 2movie"
    assert perturb("synonyms", unknown, 1) == unknown.replace("2movie", "2film")


def test_the_synonyms_file_is_consistent_and_contains_its_licence() -> None:
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
