import itertools
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import TextNormalizer

SETTINGS = [
    TextNormalizer(unicode=form, remove_html=html, remove_urls=urls, lowercase=lower, collapse_whitespace=space)
    for form in ("NFC", "NFKC", "none")
    for html, urls, lower, space in itertools.product([False, True], repeat=4)
]
FRAGMENTS = [
    "&amp;amp;lt;b&gt;",
    "&lt;p&gt;",
    "<br />",
    "<",
    ">",
    "&",
    "www.",
    "http://x.y/z",
    "İ",
    "ß",
    "\u0344",
    "\u1e9e",
    "ſ",
    "\ufb01",
]
TEXTS = st.lists(st.one_of(st.text(), st.sampled_from(FRAGMENTS), st.characters(codec=None)), max_size=8).map("".join)


@pytest.mark.parametrize("normalizer", SETTINGS, ids=str)
@settings(deadline=None, max_examples=60)
@given(text=TEXTS)
def test_normalising_twice_changes_nothing_and_gives_text_that_can_be_stored(
    normalizer: TextNormalizer, text: str
) -> None:
    once = normalizer(text)
    assert normalizer(once) == once
    once.encode("utf-8")
    assert not any(unicodedata.category(character) == "Cc" and character not in "\t\n\r" for character in once)


@pytest.mark.parametrize(
    ("settings_", "text", "cleaned"),
    [
        ({}, "  a \n\t b\u00a0c ", "a b c"),
        ({}, "cafe\u0301", "café"),
        ({}, "a\x00b\x1bc", "a b c"),
        ({}, "half a pair: \ud83d", "half a pair: \ufffd"),
        ({}, "\ud83d\ude00", "😀"),
        ({"unicode": "NFKC"}, "\ufb01ne", "fine"),
        ({"remove_html": True}, "good<br /><b>film</b> &amp;amp; more", "good film & more"),
        ({"remove_html": True}, "1 < 2 and 3 > 2, I <3 it", "1 < 2 and 3 > 2, I <3 it"),
        ({"remove_urls": True}, "see https://a.b/c?d and www.e.f now", "see and now"),
        ({"lowercase": True}, "LOUD", "loud"),
        ({"collapse_whitespace": False}, " a  b ", " a  b "),
        ({}, "Unchanged <b>by</b> default: https://a.b", "Unchanged <b>by</b> default: https://a.b"),
    ],
)
def test_each_setting_does_what_it_says(settings_: dict[str, object], text: str, cleaned: str) -> None:
    assert TextNormalizer.model_validate(settings_)(text) == cleaned
