"""Splits that the source gives: which texts are rejected from the other splits because of them."""

from collections.abc import Sequence

import numpy as np

from textgate.components.contracts import InputError
from textgate.components.preprocess.near_duplicates import Groups
from textgate.components.preprocess.outcomes import ALL, ANOTHER_LANGUAGE, CODE, EMPTY_TEXT, GIVEN, PENDING
from textgate.components.preprocess.texts import Booleans, Integers, Texts


def reject_texts_of_given_splits(texts: Texts, parts: Sequence[str]) -> None:
    """Set the outcome of the texts that a split of higher precedence has: test, then validation, then the rest.

    A text that is equal to one of a given split is rejected also if the labels of either differ between its rows.

    Args:
        texts: Texts; their outcomes are updated.
        parts: Names of the ingested splits.
    """
    for given, lower in _given(parts):
        here, below = texts.part == parts.index(given), np.isin(texts.part, [parts.index(name) for name in lower])
        readable = ~np.isin(texts.outcome, [CODE[EMPTY_TEXT], CODE[ANOTHER_LANGUAGE]])
        also = below & readable & _shared(texts.content, here)
        already = np.isin(texts.outcome, [CODE[GIVEN[name].also] for name in GIVEN])
        texts.outcome[also & ~already] = CODE[GIVEN[given].also]
    for given, lower in _given(parts):
        here, below = texts.part == parts.index(given), np.isin(texts.part, [parts.index(name) for name in lower])
        pending = texts.outcome == PENDING
        copies = np.isin(texts.key, texts.key[here & pending])
        texts.outcome[below & pending & copies] = CODE[GIVEN[given].copy]


def reject_groups_of_given_splits(texts: Texts, parts: Sequence[str], groups: Groups) -> None:
    """Set the outcome of the texts that are near duplicates of texts of a given split, or in a group with them."""
    for given, lower in _given(parts):
        for group, reason in ((groups.near, GIVEN[given].near), (groups.joint, GIVEN[given].group)):
            pending = texts.pending
            of_text, part = group[groups.of_text[pending]], texts.part[pending]
            below = np.isin(part, [parts.index(name) for name in lower])
            there = _shared(of_text, part == parts.index(given))
            texts.outcome[pending[below & there]] = CODE[reason]


def keep_given_splits(texts: Texts, parts: Sequence[str], labels: Sequence[str], source: str) -> None:
    """Set the outcome of the texts of the splits that the source gives to these splits.

    Raises:
        InputError: A label has no text in one of them.
    """
    for given, _ in _given(parts):
        kept = (texts.part == parts.index(given)) & (texts.outcome == PENDING)
        present = np.unique(texts.label[kept])
        for code, label in enumerate(labels):
            if code not in present:
                raise InputError(
                    f"the {given} split of {source} has no text of the label {label!r} that can be kept: "
                    f"give it some, or leave out source.{given} to have a {given} split cut from the rest"
                )
        texts.outcome[kept] = CODE[given]


def _given(parts: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the given splits in order of precedence, each with the ingested splits that must not have its texts."""
    given = [name for name in GIVEN if name in parts]
    return [(name, [*given[number + 1 :], ALL]) for number, name in enumerate(given)]


def _shared(content: Integers, here: Booleans) -> Booleans:
    """Return which texts have the same content as one of those ``here``, (n,)."""
    found = np.zeros(int(content.max(initial=-1)) + 1, np.bool_)
    found[content[here]] = True
    return found[content]
