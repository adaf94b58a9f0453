"""Lengths of texts in characters, words and tokens."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from textgate.components.contracts import InputError
from textgate.pipelines.inspection.inspection import Lengths, Quantiles
from textgate.pipelines.inspection.row_table import Ints, RowTable, SampledText

LIMITS = (128, 256, 512)
"""Lengths, in words or tokens, beyond which the share of the texts is stated."""
_MAX_TOKENS = 1_000_000
_MAX_BINS = 30
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# As BERT splits a text before WordPiece (BasicTokenizer): words, single punctuation marks, single CJK characters.
_PIECE = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+|[^\w\s]")

TokenCounter = Callable[[str], int]


def token_counter(tokenizer: Path | None) -> TokenCounter:
    """Return a function that counts the tokens of a text.

    Args:
        tokenizer: ``tokenizer.json`` or its folder; None to count words, punctuation marks and CJK characters, at most
            as many as a tokenizer counts.

    Raises:
        InputError: The file is not a tokenizer that can be read.
    """
    if tokenizer is None:
        return lambda text: len(_PIECE.findall(text))

    from textgate.components.inference.tokenizer import read_tokenizer

    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    if not file.is_file():
        raise InputError(f"there is no {file}: --tokenizer takes a tokenizer.json, a folder with one, or a recipe")
    encode = read_tokenizer(file, _MAX_TOKENS).encode
    return lambda text: len(encode(text).ids)


def measure_lengths(
    table: RowTable, sample: Sequence[SampledText], count_tokens: TokenCounter, tokenizer: str | None
) -> Lengths:
    """Return the lengths of the texts of a table, which must have a row."""
    words = table.words
    end = max(int(np.percentile(words, 99)), 10)
    width = -(-end // _MAX_BINS)
    bins = np.minimum(words // width, -(-end // width))
    return Lengths(
        characters=_quantiles(table.characters, ()),
        words=_quantiles(words, LIMITS),
        tokens=_quantiles(np.array([count_tokens(each.text) for each in sample]), LIMITS),
        tokenizer=tokenizer,
        histogram=np.bincount(bins).tolist(),
        bin_words=width,
    )


def _quantiles(lengths: Ints, limits: Sequence[int]) -> Quantiles:
    median, p90, p99 = np.percentile(lengths, [50, 90, 99]).tolist()
    over = {limit: float((lengths > limit).mean()) for limit in limits}
    return Quantiles(median=median, p90=p90, p99=p99, longest=int(lengths.max()), over=over)
