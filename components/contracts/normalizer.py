"""TextNormalizer: the one way this product cleans text, in training and in serving."""

import html
import re
import unicodedata
from typing import Literal

from pydantic import BaseModel, ConfigDict

_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_TAG_OR_COMMENT = re.compile(rf"<!--.*?-->|{_TAG.pattern}", re.DOTALL)
_OVERLONG_NUMBER = re.compile(r"&#[0-9]{100,};?")
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SPACE = re.compile(r"\s+")
_BRACKETS = re.compile(r"[<>&]")
_PASSES = 10


class TextNormalizer(BaseModel):
    """Settings of the cleaning, carried by the recipe, the dataset and the bundle.

    Control characters and unpaired surrogates never pass, whatever the settings: they cannot be stored or tokenised.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    unicode: Literal["NFC", "NFKC", "none"] = "NFC"
    remove_html: bool = False
    remove_urls: bool = False
    lowercase: bool = False
    collapse_whitespace: bool = True

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
        if self.lowercase:
            text = text.lower()
        text = _CONTROL.sub(" ", text)
        if self.collapse_whitespace:
            text = _SPACE.sub(" ", text).strip()
        return text
