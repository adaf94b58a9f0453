"""Keys of texts: which texts are copies of each other, and which texts a bundle was trained on.

<bundle>/trained_on.bin     header (8 bytes), then the distinct keys in ascending order (8 bytes each, little-endian)

A key is a hash, so the file holds no text; but whoever has a text can tell whether it is in the file.
"""

import hashlib
import re
import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts.stream_safe import stream_safe
from textgate.components.step import InputError

Keys = npt.NDArray[np.uint64]

TRAINED_ON = "trained_on.bin"
_HEADER = b"TGKEYS\x00\x01"
"""Format and version of the file, and of the keys in it."""
_MAX_KEYS = 2**27
_KEY_BYTES = 8
_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|(?:https?://|www\.)\S+|(?<!\w)@\w+", re.IGNORECASE)
"""HTML tags, addresses and mentions, as ``TextNormalizer`` may remove them."""


class _WithoutPunctuation(dict[int, int | None]):
    """Table for ``str.translate`` that drops punctuation, white space, and control and format characters."""

    def __missing__(self, code_point: int) -> int | None:
        dropped = unicodedata.category(chr(code_point))[0] in "PZC"
        self[code_point] = None if dropped else code_point
        return self[code_point]


_WITHOUT_PUNCTUATION = _WithoutPunctuation()


def canonical_text(text: str) -> str:
    """Return the form of a raw text that its copies share, whatever cleaning a recipe asks for.

    HTML tags, addresses and mentions are left out, then compatibility characters (full-width letters) and capitals are
    folded as in Unicode's NFKC_Casefold (The Unicode Standard, section 3.13), and punctuation and white space are
    removed. Of a text without anything else, such as ``:-)``, only what leaves something is done.
    """
    return _fold(_MARKUP.sub(" ", text), _WITHOUT_PUNCTUATION) or _fold(text, _WITHOUT_PUNCTUATION) or _fold(text, {})


def text_key(text: str) -> str:
    """Return the key of a raw text: 64 bits of the BLAKE2b hash of its canonical form, as 16 hexadecimal digits.

    Of a million texts, two different ones share a key with probability 3e-8.
    """
    return canonical_key(canonical_text(text))


def canonical_key(canonical: str) -> str:
    """Return the key of a text whose ``canonical_text`` is known."""
    return hashlib.blake2b(canonical.encode("utf-8", "replace"), digest_size=_KEY_BYTES).hexdigest()


def key_array(keys: Sequence[str]) -> Keys:
    """Return keys (n,) uint64 in the same order.

    Raises:
        ValueError: One is not 16 hexadecimal digits.
    """
    content = bytes.fromhex("".join(keys))
    if any(len(key) != 2 * _KEY_BYTES for key in keys):
        raise ValueError(f"a key of a text is {2 * _KEY_BYTES} hexadecimal digits")
    return np.frombuffer(content, ">u8").astype(np.uint64)


def write_trained_on(folder: Path, keys: Keys) -> None:
    """Write the keys of the texts that a bundle was trained and validated on to its ``folder``."""
    content = np.unique(keys).astype("<u8").tobytes()
    (folder / TRAINED_ON).write_bytes(_HEADER + content)


def read_trained_on(folder: Path) -> Keys | None:
    """Return the keys that ``write_trained_on`` wrote, ascending; None if the bundle does not have them.

    Raises:
        InputError: The file is damaged, too large, or of another version.
    """
    path = folder / TRAINED_ON
    if not path.is_file():
        return None
    if path.stat().st_size > len(_HEADER) + _MAX_KEYS * _KEY_BYTES:
        raise InputError(f"{path} holds more than {_MAX_KEYS:,} keys")
    content = path.read_bytes()
    if content[: len(_HEADER)] != _HEADER or len(content) % _KEY_BYTES:
        raise InputError(f"{path} does not hold the keys of texts in the form that this version of textgate reads")
    keys = np.frombuffer(content, "<u8", offset=len(_HEADER)).astype(np.uint64)
    if not (keys[1:] > keys[:-1]).all():
        raise InputError(f"{path} is damaged: its keys are not in ascending order")
    return keys


def copy_trained_on(source: Path, target: Path) -> None:
    """Copy the file with the keys, if there is one, from one bundle's folder to that of a bundle made from it."""
    if (source / TRAINED_ON).is_file():
        shutil.copyfile(source / TRAINED_ON, target / TRAINED_ON)


def _fold(text: str, table: Mapping[int, int | None]) -> str:
    """Return the text without white space and without the characters that ``table`` maps to None, folded."""
    if text.isascii():
        return "".join(text.lower().translate(table).split())
    folded = unicodedata.normalize("NFKC", stream_safe(text)).casefold()
    kept = "".join(folded.translate(table).split())
    return unicodedata.normalize("NFKC", stream_safe(kept))
