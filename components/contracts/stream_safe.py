"""Stream-Safe Text Format: text whose Unicode normalization takes linear time.

``unicodedata.normalize`` sorts each run of combining marks by insertion, which is quadratic in the length of the run:
seconds for 50,000 marks, with the interpreter locked. No language needs more than a few marks on a letter.

Unicode Standard Annex #15, section 13 (unicode.org/reports/tr15/#Stream_Safe_Text_Format).
"""

import re
import unicodedata
from functools import cache, lru_cache

MAX_NON_STARTERS = 30
"""Longest run of non-starters, counted in the compatibility decomposition (NFKD)."""
_JOINER = "\u034f"
"""COMBINING GRAPHEME JOINER: an invisible starter that ends a run."""
_STEP = 7
"""Every seventh character is looked at first, since most texts have no long run. A run that is too long has at least 14
characters without a starter: its first character may end in 3 non-starters, and each other one has at most 2."""


def stream_safe(text: str) -> str:
    """Return ``text`` with a joiner after each 30 consecutive non-starters; any other text is returned as it is.

    The result has no longer run of non-starters in any normalization form (UAX15-D4). The function is idempotent, also
    if the text is normalized in between.
    """
    if text.isascii():
        return text
    sampled, complete = _patterns()
    if not (sampled.search(text[::_STEP]) and complete.search(text)):
        return text
    parts, run = [], 0
    for character in text:
        initial, trailing, has_starter = _non_starters(character)
        if run + initial > MAX_NON_STARTERS:
            parts.append(_JOINER)
            run = 0
        parts.append(character)
        run = trailing if has_starter else run + trailing
    return "".join(parts)


@lru_cache(maxsize=4096)
def _non_starters(character: str) -> tuple[int, int, bool]:
    """Return the numbers of initial and trailing non-starters in the decomposition, and whether it has a starter."""
    marks = [unicodedata.combining(part) > 0 for part in unicodedata.normalize("NFKD", character)]
    if all(marks):
        return len(marks), len(marks), False
    return marks.index(False), marks[::-1].index(False), True


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of two sampled and of 14 adjacent characters without a starter in their decomposition."""
    # All of Unicode's are in this range, which takes a few milliseconds.
    candidates = map(chr, range(0x300, 0x20000))
    decomposable = (char for char in candidates if unicodedata.combining(char) or unicodedata.decomposition(char))
    marks = f"[{''.join(char for char in decomposable if not _non_starters(char)[2])}]"
    # A pattern that begins with a set is searched faster than one that begins with a repetition.
    return re.compile(marks * 2), re.compile(f"{marks}{marks}{{{2 * _STEP - 1},}}")
