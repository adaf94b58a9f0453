import itertools
import re
import unicodedata
from collections.abc import Callable

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
    "@user",
    "@",
    "\uff20",
    "#tag",
    "##",
    "\uff03",
    "&#",
    "&#64;",
    "a",
    "\u093f",
    "“",
]
TEXTS = st.lists(st.one_of(st.text(), st.sampled_from(FRAGMENTS), st.characters(codec=None)), max_size=8).map("".join)


@pytest.mark.parametrize("normalizer", SETTINGS, ids=str)
@settings(deadline=None, max_examples=60)
@given(text=TEXTS)
def test_cleaning_is_idempotent_and_gives_storable_text(normalizer: TextNormalizer, text: str) -> None:
    once = normalizer(text)
    assert normalizer(once) == once
    once.encode("utf-8")
    assert not any(unicodedata.category(character) == "Cc" and character not in "\t\n\r" for character in once)


@settings(deadline=None, max_examples=500)
@given(
    normalizer=st.builds(
        TextNormalizer,
        **{name: st.booleans() for name, field in TextNormalizer.model_fields.items() if field.annotation is bool},
        unicode=st.sampled_from(["NFC", "NFKC", "none"]),
    ),
    text=TEXTS,
)
def test_cleaning_is_idempotent_for_any_settings(normalizer: TextNormalizer, text: str) -> None:
    once = normalizer(text)
    assert normalizer(once) == once


@settings(deadline=None, max_examples=200)
@given(text=TEXTS)
def test_removed_patterns_do_not_remain(text: str) -> None:
    cleaned = TextNormalizer(remove_mentions=True, remove_hashtags=True)(text)
    assert not re.search(r"(?<!\w)@\w|(?<![\w&#])#+\w", cleaned)
    for character in TextNormalizer(remove_special_characters=True)(text):
        assert character in " .,!?;:'\"()-_‘’“”–—…" or unicodedata.category(character)[0] in "LMN"


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
        ({"remove_mentions": True}, "RT @BBC_News: see .@user1@user2, me@home.org @ 5", "RT : see . , me@home.org @ 5"),
        ({"remove_mentions": True, "unicode": "NFKC"}, "\uff20user hi", "hi"),
        (
            {"remove_hashtags": True},
            "A #sad ##day (#ÄRA) for C#4, #1 &#39; # 5",
            "A sad day (ÄRA) for C#4, 1 &#39; # 5",
        ),
        ({"remove_hashtags": True, "remove_mentions": True}, "@#me #@you", "#"),
        (
            {"remove_special_characters": True},
            "50% off*: “it’s” a_b—[c] <d>\u200b 😱 हिन्दी cafe\u0301 e=mc²?!",
            "50 off : “it’s” a_b— c d हिन्दी café e mc²?!",
        ),
        ({"remove_special_characters": True, "unicode": "none"}, "cafe\u0301", "cafe\u0301"),
        ({"lowercase": True}, "LOUD", "loud"),
        ({"collapse_whitespace": False}, " a  b ", " a  b "),
        ({}, "Unchanged <b>by</b> default: https://a.b", "Unchanged <b>by</b> default: https://a.b"),
    ],
)
def test_each_setting_has_its_effect(settings_: dict[str, object], text: str, cleaned: str) -> None:
    assert TextNormalizer.model_validate(settings_)(text) == cleaned


DEEP = TextNormalizer(remove_html=True)


@pytest.mark.parametrize("levels", [0, 1, 5, 9, 10, 11, 50])
@pytest.mark.parametrize(
    "nest",
    [
        lambda levels: "&" + "amp;" * levels + "lt;b&gt;bold",
        lambda levels: "<b" * levels + ">" * levels + "bold",
        lambda levels: "<!-- " * levels + "-->" * levels + "bold",
        lambda levels: "&#38;" + "#38;" * levels + "bold",
    ],
    ids=["entities", "tags", "comments", "numbers"],
)
def test_nested_markup_is_removed_at_any_depth(nest: Callable[[int], str], levels: int) -> None:
    once = DEEP(nest(levels))
    assert DEEP(once) == once
    assert once.endswith("bold")


def test_realistically_nested_markup_is_unescaped_completely() -> None:
    assert DEEP("&" + "amp;" * 8 + " more") == "& more"
    assert DEEP("<b" * 8 + ">" * 8 + "bold") == "bold"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a <!-- one > two\n < three --> b", "a b"),
        ("a <!-- open", "a <!-- open"),
        ("a <!-- x --> b <!-- <b>open</b>", "a b <!-- open"),
        ("a --> b", "a --> b"),
        ("<!-->", "<!-->"),
    ],
)
def test_a_comment_ends_at_its_end_mark(text: str, cleaned: str) -> None:
    assert DEEP(text) == cleaned


@pytest.mark.parametrize("digits", [99, 100, 4300, 4301, 100_000])
@pytest.mark.parametrize("end", ["", ";"])
def test_an_overlong_character_reference_is_replaced(digits: int, end: str) -> None:
    assert DEEP("a &#" + "1" * digits + end) == "a \ufffd"


MARKUP = TextNormalizer(remove_html=True, remove_urls=True, lowercase=True)
TWEET = MARKUP.model_copy(update={"remove_mentions": True, "remove_hashtags": True})
PLAIN = TextNormalizer(remove_special_characters=True)


@pytest.mark.parametrize(
    ("normalizer", "piece"),
    [
        *((MARKUP, piece) for piece in ("amp;", "<!--", "<a ", "&#", "&lt;", "www.", "<a <!--", "-->")),
        *((TWEET, piece) for piece in ("@", "@a", "#", "#a", "@#", "@#a", "<#")),
        *((PLAIN, piece) for piece in ("%", "\u0301")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hostile_text_of_half_a_megabyte_is_cleaned_in_linear_time(normalizer: TextNormalizer, piece: str) -> None:
    # Quadratic time would take most of an hour on any of these and exceed the timeout of the test suite.
    half = 250_000 // len(piece)
    for text in ("&" + piece * half * 2, piece * half + ">" * half):
        once = normalizer(text)
        assert normalizer(once) == once
