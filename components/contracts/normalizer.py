"""TextNormalizer: the one way this product cleans text, in training and in serving."""

import html
import re
import unicodedata
from typing import Literal

from pydantic import BaseModel, ConfigDict

_TAG = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]*>", re.DOTALL)
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SPACE = re.compile(r"\s+")


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
        while (cleaned := self._pass(text)) != text:
            text = cleaned
        return text

    def _pass(self, text: str) -> str:
        if not text.isascii():
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if self.remove_html:
            text = html.unescape(_TAG.sub(" ", text))
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
