"""Numbers of every usable row, 34 bytes a row, and a random sample of the texts; other texts are not kept."""

import hashlib
import heapq
import re
from array import array
from collections import Counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textgate.components.contracts.normalizer import TextNormalizer
from textgate.components.contracts.text_keys import text_key
from textgate.pipelines.inspection.personal_data import KINDS, find_personal_data, mask

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

HTML, URL, MENTION, HASHTAG, GARBLED = "HTML", "web address", "mention", "hashtag", "wrongly decoded characters"
MARKS = (HTML, URL, MENTION, HASHTAG, GARBLED, *KINDS)
"""Properties of a text, each one bit in a row."""
_BITS = {name: 1 << index for index, name in enumerate(MARKS)}
SAMPLE_TEXTS = 2_000
"""Texts that are kept: those with the smallest hash, a uniform sample that does not depend on the order of the rows."""
_MAX_SAMPLE_CHARACTERS = 20_000
_MASKED_EXAMPLES = 3
_HTML = re.compile(r"</?[A-Za-z][^<>]*>|&(?:#\d+|#x[0-9a-fA-F]+|[A-Za-z]{2,31});")
_URL = re.compile(r"(?:https?://|www\.)\S", re.IGNORECASE)
_MENTION = re.compile(r"(?<!\w)@\w")
_HASHTAG = re.compile(r"(?<![\w&#])#[^\W\d]")
# The replacement character, C1 controls, and UTF-8 read as Latin-1 or Windows-1252: two characters for one.
_GARBLED = re.compile("[\ufffd\x80-\x9f]|[\xc2\xc3][\x80-\xbf\u2018-\u2026\u20ac\u2122]|\xe2\u20ac")
_CLEAN = TextNormalizer()


class SampledText(NamedTuple):
    """Text of the sample with its label."""

    digest: int
    text: str
    label: str


class RowTable:
    """Columns of numbers, one row for each usable row of a source."""

    def __init__(self) -> None:
        self.labels: dict[str, int] = {}
        """Label to its number in ``label_numbers``, in the order in which they were found."""
        self.splits: dict[str, int] = {}
        self.personal_values: Counter[str] = Counter()
        """Kind of personal data to number of values."""
        self.masked_examples: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self._labels, self._splits, self._marks = array("i"), array("i"), array("H")
        self._digests, self._keys = array("Q"), array("Q")
        self._characters, self._words = array("I"), array("I")
        # A heap of (-digest, text, label): its first entry has the largest digest.
        self._sample: list[tuple[int, str, str]] = []
        self._sampled: set[int] = set()

    def __len__(self) -> int:
        return len(self._labels)

    def add(self, text: str, label: str, split: str) -> None:
        """Add a row."""
        self._labels.append(self.labels.setdefault(label, len(self.labels)))
        self._splits.append(self.splits.setdefault(split, len(self.splits)))
        self._characters.append(len(text))
        self._words.append(len(text.split()))
        digest = text_digest(text)
        self._digests.append(digest)
        self._keys.append(int(text_key(text), 16))
        self._marks.append(self._find_marks(text))
        if digest not in self._sampled and (len(self._sample) < SAMPLE_TEXTS or digest < -self._sample[0][0]):
            self._add_to_sample(digest, text, label)

    def _find_marks(self, text: str) -> int:
        marks = 0
        if ("<" in text or "&" in text) and _HTML.search(text):
            marks |= _BITS[HTML]
        if _URL.search(text):
            marks |= _BITS[URL]
        if "@" in text and _MENTION.search(text):
            marks |= _BITS[MENTION]
        if "#" in text and _HASHTAG.search(text):
            marks |= _BITS[HASHTAG]
        if not text.isascii() and _GARBLED.search(text):
            marks |= _BITS[GARBLED]
        for value in find_personal_data(text):
            marks |= _BITS[value.kind]
            self.personal_values[value.kind] += 1
            if len(self.masked_examples[value.kind]) < _MASKED_EXAMPLES:
                self.masked_examples[value.kind].append(mask(text[value.start : value.end]))
        return marks

    def _add_to_sample(self, digest: int, text: str, label: str) -> None:
        entry = (-digest, text[:_MAX_SAMPLE_CHARACTERS], label)
        self._sampled.add(digest)
        if len(self._sample) < SAMPLE_TEXTS:
            heapq.heappush(self._sample, entry)
        else:
            self._sampled.remove(-heapq.heappushpop(self._sample, entry)[0])

    @property
    def sample(self) -> list[SampledText]:
        """Texts of the sample, in the order of their hashes."""
        return [SampledText(-negative, text, label) for negative, text, label in sorted(self._sample, reverse=True)]

    @property
    def label_numbers(self) -> Ints:
        """Number of each row's label (n,)."""
        return np.array(self._labels, dtype=np.int64)

    @property
    def split_numbers(self) -> Ints:
        """Number of each row's split (n,)."""
        return np.array(self._splits, dtype=np.int64)

    @property
    def characters(self) -> Ints:
        """Length of each text in characters (n,)."""
        return np.array(self._characters, dtype=np.int64)

    @property
    def words(self) -> Ints:
        """Length of each text in words (n,)."""
        return np.array(self._words, dtype=np.int64)

    @property
    def digests(self) -> Keys:
        """Hash of each cleaned text (n,)."""
        return np.array(self._digests, dtype=np.uint64)

    @property
    def keys(self) -> Keys:
        """Key of each text (n,), equal for copies; see ``text_keys.text_key``."""
        return np.array(self._keys, dtype=np.uint64)

    def has_mark(self, name: str) -> npt.NDArray[np.bool_]:
        """Return which rows have one of ``MARKS`` (n,)."""
        return np.array(self._marks, dtype=np.uint16) & _BITS[name] > 0


def rows_by_number(numbers: Ints, count: int) -> list[Ints]:
    """Return the indexes of the rows that have each number from 0 to ``count`` - 1."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.bincount(numbers, minlength=count).cumsum()[:-1]) if count else []


def text_digest(text: str) -> int:
    """Return a 64-bit hash of a text as the default cleaning of a recipe leaves it."""
    return int.from_bytes(hashlib.blake2b(clean_text(text).encode("utf-8"), digest_size=8).digest(), "big")


def clean_text(text: str) -> str:
    """Return the same as ``TextNormalizer()(text)``, of a plain ASCII text in a tenth of the time."""
    joined = " ".join(text.split())
    return joined if joined.isascii() and joined.isprintable() else _CLEAN(text)
