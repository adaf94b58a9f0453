"""Reading ``tokenizer.json``, which may come from anywhere: what could take forever or fill the memory is refused."""

import base64
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from textgate.components.contracts import InputError
from textgate.components.inference.failures import failures_as

_LARGEST_FILE = 128 * 2**20
"""Bytes of ``tokenizer.json``; those with a million tokens have 60 MB."""
_LONGEST_WORD = 1_000
"""Characters of a word that WordPiece looks up; its time is quadratic in them. BERT has 100."""
_LARGEST_GROWTH = 256
"""Factor by which the steps of a normalizer may lengthen a text together."""
_LONGEST_PIECE = 256
"""Characters that one step of a normalizer may insert at once."""
_LONGEST_TRIAL = 65_536
"""Characters of the texts that ``check_tokenizer`` tries."""
_SECONDS = 2.0
"""CPU time that a text may take, about 100 times what a usual tokenizer takes."""
_ODD_PIECES = ["\U0010fffd\u0301", "a", "1", "!", " ", "\n", "\u6f22"]


def read_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    """Return the tokenizer in ``path``, truncating to ``max_tokens`` and not padding.

    Raises:
        InputError: The file is not a tokenizer, or one that could take forever or fill the memory.
    """
    with failures_as(InputError, f"{path} cannot be read"):
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"{path} is larger than the maximum, {_LARGEST_FILE:,} bytes")
        content = path.read_bytes()
        # Before the tokenizer is built, because that normalizes its special tokens.
        _check_steps(json.loads(content), path)
        tokenizer = Tokenizer.from_buffer(content)
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)
        added = tokenizer.num_special_tokens_to_add(False)
    if added > max_tokens:
        raise InputError(f"{path} adds {added} special tokens to each text, more than the maximum of {max_tokens}")
    return tokenizer


def check_tokenizer(tokenizer: Tokenizer, characters: int) -> int:
    """Return the largest token id, after a trial of long runs of one character.

    Such runs make the patterns of a normalizer or a pre-tokenizer backtrack, which ends in an error or takes forever.

    Args:
        tokenizer: The tokenizer.
        characters: Length of the longest text that it will be given.

    Raises:
        InputError: Two tokens have the same id, or a text fails or takes too long.
    """
    ids = tokenizer.get_vocab(with_added_tokens=True)
    repeated = [(token, count) for token, count in Counter(ids.values()).most_common(1) if count > 1]
    if repeated:
        raise InputError(f"tokenizer.json gives {repeated[0][1]} tokens the id {repeated[0][0]}")
    for piece in _ODD_PIECES:
        length = min(characters, _LONGEST_TRIAL)
        # The end that differs makes a pattern fail that has matched the run.
        text = (piece * length)[: length - 1] + "?"
        started = time.thread_time()
        with failures_as(InputError, f"tokenizer.json fails on a run of {piece!r}"):
            tokenizer.encode(text)
        if (seconds := time.thread_time() - started) > _SECONDS:
            raise InputError(f"tokenizer.json takes {seconds:.1f} s for {length:,} times {piece!r}")
    return max(ids.values(), default=0)


def _check_steps(config: dict[str, Any], path: Path) -> None:
    """Raise InputError if WordPiece looks up long words, or the normalizer can lengthen a text beyond measure."""
    if (longest := config["model"].get("max_input_chars_per_word", 0)) > _LONGEST_WORD:
        raise InputError(f"{path}: max_input_chars_per_word is {longest}, more than {_LONGEST_WORD}")
    growth = 1
    for step in _flatten(config.get("normalizer")):
        longest = _longest_insertion(step)
        # A regular expression may match the empty text between two characters, so each one may get an insertion.
        pattern = step.get("pattern")
        growth *= longest + 1 if pattern and not pattern.get("String") else max(longest, 1)
        if longest > _LONGEST_PIECE or growth > _LARGEST_GROWTH:
            raise InputError(f"{path}: the normalizer can lengthen a text more than {_LARGEST_GROWTH} times")


def _flatten(step: dict[str, Any] | None) -> list[dict[str, Any]]:
    if step is None:
        return []
    return [inner for part in step["normalizers"] for inner in _flatten(part)] if "normalizers" in step else [step]


def _longest_insertion(step: dict[str, Any]) -> int:
    """Return the number of characters that a step of a normalizer may put in the place of one."""
    match step.get("type"):
        case "Replace":
            return len(step["content"])
        case "Prepend":
            return len(step["prepend"])
        case "Precompiled":
            # A trie, whose length is in the first four bytes, and the replacements, each of which ends with a zero.
            table = base64.b64decode(step["precompiled_charsmap"] or "")
            return max(map(len, table[4 + int.from_bytes(table[:4], "little") :].split(b"\0")))
    return 1
