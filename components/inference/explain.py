"""Which words speak for a label: each is left out in turn, and what the label loses by it is the word's contribution.

Li, Monroe and Jurafsky, "Understanding Neural Networks through Representation Erasure" (2016, arXiv:1612.08220), with
differences of log-odds, which a linear model has its weights in. It needs forward passes only, so it explains any
bundle, and all of them are known beforehand, so they are one batch.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

METHOD = "leave-one-out, Li et al. 2016"
BUDGET = 64
"""Forward passes that one explanation may take."""

# Scripts that put no space between words: CJK, then Thai, Lao, Tibetan, Burmese and Khmer. Read a character at a time.
_UNSPACED = (
    "\u2e80-\u2fdf\u3001-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003fffd"
    "\u0e00-\u109f\u1780-\u17ff"
)
# Nobody writes words longer than 40 characters; a run without spaces that is longer is taken in pieces.
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]{{1,40}}")


@dataclass(frozen=True)
class Contribution:
    """What some words of a text do for a label."""

    start: int
    """Offset of the first character, in code points."""
    end: int
    """Offset after the last one."""
    text: str
    contribution: float
    """The label's log-odds on the whole text minus those without these words: above 0 they speak for the label."""


@dataclass(frozen=True)
class Erasures:
    """A text, and the same text with some of its words left out."""

    spans: list[tuple[int, int]]
    """(start, end) of what is left out in turn: of one word, or of several when there are more than the budget."""
    texts: list[str]
    """The whole text, then without each span: one more than there are spans, or none when nothing can be left out."""

    def contributions(self, probabilities: npt.NDArray[np.float64], label: int) -> list[Contribution]:
        """From what a model says of ``texts``, (len(texts), labels), to what each span does for a label's number."""
        if not self.spans:
            return []
        odds = _log_odds(probabilities, label)
        return [
            Contribution(start, end, self.texts[0][start:end], float(odds[0] - without))
            for (start, end), without in zip(self.spans, odds[1:], strict=True)
        ]


def explain(
    predict: Callable[[Sequence[str]], npt.NDArray[np.float64]], text: str, label: int, budget: int = BUDGET
) -> list[Contribution]:
    """Contributions of the words of a text to a label, in the order of the text; none for a blank one.

    ``predict`` is called once, for at most ``budget`` texts, and gives their probabilities (n, labels). A model that
    reads no further than its longest text finds nothing in the words behind, but sees more of them when others go.
    """
    erasures = erase(text, budget)
    return erasures.contributions(predict(erasures.texts), label) if erasures.texts else []


def erase(text: str, budget: int = BUDGET) -> Erasures:
    """What to ask a model to explain a text: at most ``budget`` texts, so adjacent words may be left out together.

    Raises:
        ValueError: a budget below 2, which is the text and one other.
    """
    if budget < 2:
        raise ValueError(f"an explanation takes 2 forward passes at least, not {budget}")
    found = words(text)
    count = min(len(found), budget - 1)
    groups = [found[number * len(found) // count : (number + 1) * len(found) // count] for number in range(count)]
    return leave_out(text, [(group[0][0], group[-1][1]) for group in groups], range(count))


def leave_out(text: str, spans: list[tuple[int, int]], numbers: Sequence[int]) -> Erasures:
    """What to ask a model to explain some ``numbers`` of the ``spans`` of a text, which are in its order."""
    without = [_without(text, spans, number) for number in numbers]
    return Erasures([spans[number] for number in numbers], [text, *without] if without else [])


def words(text: str) -> list[tuple[int, int]]:
    """(start, end) of what is left out as one, in the order of the text."""
    found: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        start, end = match.span()
        # A mark, such as a vowel sign of Thai, is a part of the letter before it.
        if found and found[-1][1] == start and unicodedata.category(text[start]).startswith("M"):
            start = found.pop()[0]
        found.append((start, end))
    return found


def _without(text: str, spans: list[tuple[int, int]], number: int) -> str:
    """The text without one span and one of the gaps beside it, as if it had been written so."""
    start, end = spans[number]
    before = text[: spans[number - 1][1]] if number > 0 else ""
    after = text[spans[number + 1][0] :] if number + 1 < len(spans) else ""
    if not (before and after):
        return before + after
    return before + (text[len(before) : start] or text[end : len(text) - len(after)]) + after


def _log_odds(probabilities: npt.NDArray[np.float64], label: int) -> npt.NDArray[np.float64]:
    """Finite (n,). The others are added up, since 1 - p has no digits left where a model is sure."""
    smallest = np.finfo(np.float64).tiny
    others = np.delete(probabilities, label, axis=1).sum(axis=1)
    return np.asarray(np.log(np.maximum(probabilities[:, label], smallest)) - np.log(np.maximum(others, smallest)))
