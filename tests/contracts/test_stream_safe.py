"""Long runs of combining marks are separated as UAX #15 says, and cleaning takes linear time."""

import sys
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import TextNormalizer
from textgate.components.contracts.stream_safe import MAX_NON_STARTERS, stream_safe

# Non-starters of several classes, characters that decompose into them or end in them, and starters.
MARKS = "\u0301\u0323\u0334\u0344\u0f73\u0f81\uff9e\u3099\u0e38\u094d"
ENDS = "é\u1f82\u1faf\u1e09が\u01d6"
PIECES = st.sampled_from([*MARKS, *ENDS, "a", "漢", "\u034f", *(mark * 29 for mark in MARKS)])
RUNS = st.lists(st.tuples(PIECES, st.integers(1, 40)), max_size=12).map(
    lambda pairs: "".join(piece * count if len(piece) == 1 else piece for piece, count in pairs)
)


def by_the_book(text: str) -> str:
    """UAX15-D4, word by word."""
    output, count = "", 0
    for character in text:
        marks = [unicodedata.combining(part) != 0 for part in unicodedata.normalize("NFKD", character)]
        initial = marks.index(False) if False in marks else len(marks)
        if count + initial > 30:
            output += "\u034f"
            count = 0
        output += character
        count = marks[::-1].index(False) if False in marks else count + len(marks)
    return output


def longest_run(text: str) -> int:
    longest = run = 0
    for character in unicodedata.normalize("NFKD", text):
        run = run + 1 if unicodedata.combining(character) else 0
        longest = max(longest, run)
    return longest


@settings(deadline=None, max_examples=300)
@given(text=RUNS)
def test_joiners_are_where_the_standard_says(text: str) -> None:
    safe = stream_safe(text)
    assert safe == by_the_book(text)
    assert (safe == text) == (longest_run(text) <= MAX_NON_STARTERS)
    for form in ("NFC", "NFKC"):
        normalized = unicodedata.normalize(form, safe)
        assert longest_run(normalized) <= MAX_NON_STARTERS
        assert unicodedata.normalize(form, stream_safe(normalized)) == normalized


@settings(deadline=None, max_examples=200)
@given(text=RUNS, lowercase=st.booleans(), special=st.booleans(), form=st.sampled_from(["NFC", "NFKC"]))
def test_cleaning_is_idempotent_for_long_runs(text: str, lowercase: bool, special: bool, form: str) -> None:
    normalizer = TextNormalizer.model_validate(
        {"unicode": form, "lowercase": lowercase, "remove_special_characters": special}
    )
    once = normalizer(text)
    assert normalizer(once) == once


def test_every_character_without_a_starter_is_recognized() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if all(map(unicodedata.combining, unicodedata.normalize("NFKD", character))):
            assert "\u034f" in stream_safe(character * 31), hex(code)


def test_real_text_has_no_joiners() -> None:
    text = "Việt: một hai ba, ไทย: ที่กำลังดี, हिन्दी: क्ष्म्य, עברית: בְּרֵאשִׁ֖ית, عربي: بِسْمِ ٱللَّهِ, " * 40
    for form in ("NFC", "NFKC"):
        expected = " ".join(unicodedata.normalize(form, text).split())
        assert TextNormalizer.model_validate({"unicode": form})(text) == expected


HOSTILE = {
    "falling marks": "\u0301" * 500 + "\u0323" * 500 + "\u0334" * 500,
    "marks on letters": "a\u0301\u0323",
    "double marks": "\u0344",
    "Tibetan vowels": "\u0f81\u0f73",
    "jamo": "\u1100\u1161\u11a8",
    "ligatures": "\ufdfa",
    "entities": "amp;",
    "nested entities": "&amp;#38;lt;b&gt;",
    "open brackets": "<",
    "open comments": "<!--",
    "comments in tags": "<a <!-- -->",
    "addresses": "http://",
    "mentions": "@",
    "hash signs": "#",
    "tags of mentions": "@#a",
    "white space": " \u00a0\n",
    "lone surrogates": "\ude00\ud83d",
    "overlong numbers": "&#1" + "1" * 98,
    "capitals": "Σ'İ",
}
EVERYTHING = dict.fromkeys(
    ["remove_html", "remove_urls", "remove_mentions", "remove_hashtags", "lowercase", "remove_special_characters"], True
)
OPTIONS = {
    "default": TextNormalizer(),
    "tweet": TextNormalizer.model_validate({**EVERYTHING, "remove_special_characters": False}),
    "everything": TextNormalizer.model_validate({**EVERYTHING, "unicode": "NFKC"}),
}
CHARACTERS = 8_000


def seconds(normalizer: TextNormalizer, text: str) -> float:
    best = float("inf")
    for _ in range(2):
        started = time.thread_time()
        normalizer(text)
        best = min(best, time.thread_time() - started)
    return best


@pytest.mark.parametrize("option", OPTIONS)
def test_four_times_the_text_takes_about_four_times_the_time(option: str) -> None:
    normalizer = OPTIONS[option]
    for name, piece in HOSTILE.items():
        # A prefix of an ampersand makes one deep entity of repeated "amp;".
        text = "&" + piece * (4 * CHARACTERS // len(piece))
        whole, part = text[: 4 * CHARACTERS], text[:CHARACTERS]
        taken = seconds(normalizer, whole)
        # 32,000 characters; a constant of 20 ms is beyond noise, and quadratic time takes seconds.
        assert taken < 8 * seconds(normalizer, part) + 0.02, name
        assert taken < 0.5, name
