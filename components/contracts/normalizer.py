"""TextNormalizer: the only text cleaning in this package, used by training and by serving.

It takes linear time on any text.
"""

import html
import re
import unicodedata
from typing import Literal

from pydantic import ConfigDict

from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.stream_safe import stream_safe

_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_TAG_OR_COMMENT = re.compile(rf"<!--.*?-->|{_TAG.pattern}", re.DOTALL)
_OVERLONG_NUMBER = re.compile(r"&#[0-9]{100,};?")
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
# Does not match the @ of an e-mail address. Matches adjacent mentions at once: the rest of @a@b would match again.
_MENTION = re.compile(r"(?<!\w)(?:@\w+)+")
# Matches neither C#4 nor &#39;. The possessive ++ and the lookbehind keep the time linear for a megabyte of #.
_HASH = re.compile(r"(?<![\w&#])#++(?=\w)")
# ASCII punctuation up to the hyphen, then typographic quotes, dashes and the ellipsis.
_SPECIAL = re.compile(r"[^\w\s.,!?;:'\"()\-\u2018\u2019\u201c\u201d\u2013\u2014\u2026]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SPACE = re.compile(r"\s+")
_BRACKETS = re.compile(r"[<>&]")
_PASSES = 10


class TextNormalizer(FrozenModel):
    """Settings of the text cleaning, stored in the recipe, the dataset and the bundle.

    Control characters and unpaired surrogates are always replaced: they cannot be stored or tokenized.
    """

    # The recipe's section preprocess.normalizer: each docstring below is the description of a key.
    model_config = ConfigDict(use_attribute_docstrings=True)

    unicode: Literal["NFC", "NFKC", "none"] = "NFC"
    """Unicode normalization form. ``NFC`` composes characters (e and an accent become one), ``NFKC`` also replaces
    compatibility characters, such as full-width letters, by plain ones. More than 30 combining marks in a row are
    separated by an invisible character (U+034F)."""
    remove_html: bool = False
    """Replace HTML tags and comments by a space, and entities such as ``&amp;`` by their character."""
    remove_urls: bool = False
    """Replace addresses that begin with ``http://``, ``https://`` or ``www.`` by a space."""
    remove_mentions: bool = False
    """Replace mentions such as ``@user`` by a space; the ``@`` inside an e-mail address is kept."""
    remove_hashtags: bool = False
    """Remove the sign of a hashtag but keep its word: ``a #sad day`` becomes ``a sad day``."""
    lowercase: bool = False
    """Convert the text to lower case."""
    remove_special_characters: bool = False
    """Replace everything by a space except letters, digits, white space and ``. , ! ? ; : ' " ( ) - _`` (with their
    typographic forms)."""
    collapse_whitespace: bool = True
    """Replace each run of white space by one space, and strip both ends."""

    def __call__(self, text: str) -> str:
        """Return the cleaned text.

        The function is idempotent: it repeats the cleaning until the text no longer changes (``&amp;lt;`` needs two
        passes, and so does a decomposed capital), so that a stored clean text is predicted exactly as the raw one.
        """
        for _ in range(_PASSES):
            if (cleaned := self._pass(text)) == text:
                return text
            text = cleaned
        # Deeply nested markup, as in an attack: removing one level per pass would take hours for a megabyte.
        text = _BRACKETS.sub(" ", text)
        while (cleaned := self._pass(text)) != text:
            text = cleaned
        return text

    def _pass(self, text: str) -> str:
        if not text.isascii():
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if self.remove_html:
            # No comment ends after the last "-->". Searching for one there would take quadratic time.
            head, end, tail = text.rpartition("-->")
            text = _TAG_OR_COMMENT.sub(" ", head + end) + _TAG.sub(" ", tail)
            # No code point has that many digits, and html.unescape raises on 4,301 of them.
            text = html.unescape(_OVERLONG_NUMBER.sub("\ufffd", text))
        if self.remove_urls:
            text = _URL.sub(" ", text)
        if self.unicode != "none":
            text = unicodedata.normalize(self.unicode, stream_safe(text))
        if self.remove_mentions:
            text = _MENTION.sub(" ", text)
        if self.remove_hashtags:
            text = _HASH.sub("", text)
        if self.lowercase:
            text = text.lower()
        if self.remove_special_characters:
            text = _SPECIAL.sub(_space_unless_mark, text)
        text = _CONTROL.sub(" ", text)
        if self.collapse_whitespace:
            text = _SPACE.sub(" ", text).strip()
        return text


def _space_unless_mark(special: re.Match[str]) -> str:
    """Keep combining marks, such as the vowel signs of Hindi, which belong to their letter."""
    return special[0] if unicodedata.category(special[0]).startswith("M") else " "
