"""TextNormalizer: the one way this product cleans text, in training and in serving."""

import html
import re
import unicodedata
from typing import Literal

from pydantic import ConfigDict

from textgate.components.contracts.frozen_model import FrozenModel

_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_TAG_OR_COMMENT = re.compile(rf"<!--.*?-->|{_TAG.pattern}", re.DOTALL)
_OVERLONG_NUMBER = re.compile(r"&#[0-9]{100,};?")
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
# Not the @ of an address; a run of mentions goes at once, since what is left of @a@b would be one again.
_MENTION = re.compile(r"(?<!\w)(?:@\w+)+")
# Neither C#4 nor &#39; is one. The possessive ++ and the lookbehind keep a megabyte of # from being read n times.
_HASH = re.compile(r"(?<![\w&#])#++(?=\w)")
# Up to the ASCII hyphen, then curly quotes, dashes and the ellipsis.
_SPECIAL = re.compile(r"[^\w\s.,!?;:'\"()\-\u2018\u2019\u201c\u201d\u2013\u2014\u2026]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SPACE = re.compile(r"\s+")
_BRACKETS = re.compile(r"[<>&]")
_PASSES = 10


class TextNormalizer(FrozenModel):
    """Settings of the cleaning, carried by the recipe, the dataset and the bundle.

    Control characters and unpaired surrogates never pass, whatever the settings: they cannot be stored or tokenised.
    """

    # The recipe's section preprocess.normalizer: each docstring below is the description of a key.
    model_config = ConfigDict(use_attribute_docstrings=True)

    unicode: Literal["NFC", "NFKC", "none"] = "NFC"
    """Unicode normalization form. ``NFC`` composes characters (e and an accent become one), ``NFKC`` also replaces
    compatibility characters, such as full-width letters, by plain ones."""
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
        """Clean one text.

        Normalising twice changes nothing: cleaning repeats until it no longer changes the text (``&amp;lt;`` needs two
        passes, a decomposed capital too), so a stored clean text is predicted exactly as the raw one.
        """
        for _ in range(_PASSES):
            if (cleaned := self._pass(text)) == text:
                return text
            text = cleaned
        # Markup nested deeper than anyone writes: peeling it layer by layer would take hours for a hostile megabyte.
        text = _BRACKETS.sub(" ", text)
        while (cleaned := self._pass(text)) != text:
            text = cleaned
        return text

    def _pass(self, text: str) -> str:
        if not text.isascii():
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if self.remove_html:
            # No comment ends after the last "-->"; to look for the end of each that begins there would be quadratic.
            head, end, tail = text.rpartition("-->")
            text = _TAG_OR_COMMENT.sub(" ", head + end) + _TAG.sub(" ", tail)
            # No character has such a number, and html.unescape raises on 4,301 digits.
            text = html.unescape(_OVERLONG_NUMBER.sub("\ufffd", text))
        if self.remove_urls:
            text = _URL.sub(" ", text)
        if self.unicode != "none":
            text = unicodedata.normalize(self.unicode, text)
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
    """A mark, such as a vowel sign of Hindi, is a part of its letter."""
    return special[0] if unicodedata.category(special[0]).startswith("M") else " "
