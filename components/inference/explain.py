"""Explanations of a prediction: the contribution of each word, measured by leaving it out.

Li, Monroe and Jurafsky, Understanding Neural Networks through Representation Erasure (2016, arXiv:1612.08220), measured
as differences of log-odds, the unit of a linear model's weights. It needs forward passes only, so it explains any
bundle, and all its texts are known in advance, so they can be one batch.

``explain`` explains one text. ``erase`` and ``leave_out`` make the texts to predict, for callers that batch several
explanations.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

METHOD = "leave-one-out, Li et al. 2016"
BUDGET = 64
"""Maximum number of texts that one explanation may predict, the original text included."""
MAX_CHARACTERS = 400_000
"""Maximum length of these texts together, though two texts are always predicted. A longer text gets fewer spans."""

# Scripts without spaces between words: CJK, then Thai, Lao, Tibetan, Burmese and Khmer. Each character is a word.
_UNSPACED = (
    "\u2e80-\u2fdf\u3001-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003fffd"
    "\u0e00-\u109f\u1780-\u17ff"
)
# A run of more than 40 characters without a space is not a word, so it is split.
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]{{1,40}}")


@dataclass(frozen=True)
class Contribution:
    """Contribution of one span of a text to a label."""

    start: int
    """Offset of the first character, in code points."""
    end: int
    """Offset after the last character."""
    text: str
    """Text of the span."""
    contribution: float
    """Log-odds of the label for the full text minus those without the span; positive if the span supports the label."""


@dataclass(frozen=True)
class Erasures:
    """A text, and its variants with one span left out each."""

    spans: list[tuple[int, int]]
    """(start, end) of each span that is left out: one word, or several adjacent words if the budget is too small."""
    texts: list[str]
    """The full text, then the text without each span, len(spans) + 1; empty if there is nothing to leave out."""

    def contributions(self, probabilities: npt.NDArray[np.float64], label: int) -> list[Contribution]:
        """Return the contribution of each span to a label.

        Args:
            probabilities: (len(texts), labels) float64, the prediction for ``texts``.
            label: Index of the label.
        """
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
    """Return the contributions of the words of ``text`` to a label, in the order of the text.

    Where a model truncates texts, words after its maximum length contribute nothing, but leaving an earlier word out
    moves some of them into view.

    Args:
        predict: Function from texts to probabilities (len(texts), labels); called at most once.
        text: Raw text.
        label: Index of the label.
        budget: Maximum number of texts passed to ``predict``; fewer for a long text, see ``MAX_CHARACTERS``.

    Returns:
        One contribution per span; an empty list for a text without words.
    """
    erasures = erase(text, budget)
    return erasures.contributions(predict(erasures.texts), label) if erasures.texts else []


def erase(text: str, budget: int = BUDGET) -> Erasures:
    """Return the variants of ``text`` to predict: at most ``budget`` texts, the original one included.

    Where the text has too many words, or is so long that the variants would exceed ``MAX_CHARACTERS``, adjacent words
    are grouped into spans of nearly equal size.

    Raises:
        ValueError: If the budget is below 2, the original text and one variant.
    """
    if budget < 2:
        raise ValueError(f"an explanation takes 2 forward passes at least, not {budget}")
    spans = words(text)
    affordable = MAX_CHARACTERS // max(len(text), 1) - 1
    count = min(len(spans), budget - 1, max(affordable, 1))
    groups = [spans[index * len(spans) // count : (index + 1) * len(spans) // count] for index in range(count)]
    return leave_out(text, [(group[0][0], group[-1][1]) for group in groups], range(count))


def leave_out(text: str, spans: list[tuple[int, int]], indices: Sequence[int]) -> Erasures:
    """Return the variants of ``text`` without each of the ``spans`` at ``indices``; spans are in text order."""
    variants = [_without(text, spans, index) for index in indices]
    return Erasures([spans[index] for index in indices], [text, *variants] if variants else [])


def words(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each word of ``text``, in order."""
    spans = [match.span() for match in _WORD.finditer(text)]
    marks = {character for character in set(text) if unicodedata.category(character).startswith("M")}
    if not marks:
        return spans
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        # A combining mark, such as a Thai vowel sign, belongs to the letter before it.
        if joined and joined[-1][1] == start and text[start] in marks:
            start = joined.pop()[0]
        joined.append((start, end))
    return joined


def _without(text: str, spans: list[tuple[int, int]], index: int) -> str:
    """Return the text without one span and without one of the gaps next to it."""
    start, end = spans[index]
    before = text[: spans[index - 1][1]] if index > 0 else ""
    after = text[spans[index + 1][0] :] if index + 1 < len(spans) else ""
    if not (before and after):
        return before + after
    return before + (text[len(before) : start] or text[end : len(text) - len(after)]) + after


def _log_odds(probabilities: npt.NDArray[np.float64], label: int) -> npt.NDArray[np.float64]:
    """Return the finite log-odds (n,) of a label.

    The probabilities of the other labels are summed, since 1 - p has no digits left where p is close to 1.
    """
    smallest = np.finfo(np.float64).tiny
    others = np.delete(probabilities, label, axis=1).sum(axis=1)
    return np.asarray(np.log(np.maximum(probabilities[:, label], smallest)) - np.log(np.maximum(others, smallest)))
