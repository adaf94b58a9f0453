"""Groups of texts that stay in one split: near duplicates, and texts with one value of ``preprocess.group``.

Near duplicates are found by banding of their signatures (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
ch. 3; Lee et al., Deduplicating Training Data Makes Language Models Better, ACL 2022): in each band, texts with one
code are compared with the first of them by key, and those that are not similar to it again with the first of them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textgate.components.contracts.text_keys import Keys
from textgate.components.preprocess.signatures import BANDS, Signatures
from textgate.components.preprocess.texts import Integers, Texts, distinct, run_starts
from textgate.components.step import WARNING_PREFIX

_ROUNDS = 8
"""Largest number of comparisons of a text in one band, so that the cost is linear."""
_MAX_SHARE, _MAX_TEXTS = 0.01, 10
"""Largest group that is kept together, as a share of the texts, and a number that is always allowed. Larger ones are
texts made from a template; in one split they would decide its size and its texts."""
_NO_GROUP = 0


class Groups(NamedTuple):
    """Groups of the texts that had no outcome when they were grouped."""

    keys: Keys
    """Distinct keys, ascending, (k,)."""
    of_text: Integers
    """Index into ``keys`` of each text; -1 of one that is not grouped."""
    near: Integers
    """Index of the first key in the group of near duplicates of each key, (k,)."""
    joint: Integers
    """The same of near duplicates and texts of one ``preprocess.group`` together, (k,)."""
    anchor: Keys
    """Key by which a joint group is positioned, at the index of its first key, (k,): the smallest hash of its values of
    ``preprocess.group``, or its first key if it has none."""
    scattered: int
    """Number of keys in groups of near duplicates that are too large to be kept together."""


def group_texts(texts: Texts, signatures: Signatures, threshold: float | None) -> Groups:
    """Group the texts without an outcome.

    Args:
        texts: Texts.
        signatures: Signatures of the rows; unused without a threshold.
        threshold: Jaccard index from which on two texts are near duplicates; None if only copies are.
    """
    pending = texts.pending
    keys, index = distinct(texts.key[pending])
    of_text = np.full(len(texts.key), -1, np.int32)
    of_text[pending] = index
    del index, pending
    near: Integers = np.arange(len(keys), dtype=np.int32)
    scattered = 0
    if threshold is not None:
        signatures.flush()
        rows = np.empty(len(keys), np.int32)
        rows[of_text[of_text >= 0]] = texts.keyed_row[of_text >= 0]
        near = near_duplicates(signatures, rows, threshold)
        sizes = np.zeros(len(keys), np.int32)
        np.add.at(sizes, near, 1)
        too_large = np.flatnonzero((sizes > max(_MAX_TEXTS, _MAX_SHARE * len(keys)))[near])
        near[too_large] = too_large
        scattered = len(too_large)
        if scattered:
            print(
                f"{WARNING_PREFIX}{scattered:,} texts are near duplicates in groups of more than "
                f"{max(_MAX_TEXTS, _MAX_SHARE * len(keys)):,.0f}, as texts made from a template are; they are not kept "
                "in one split",
                flush=True,
            )
    if texts.group is None:
        return Groups(keys, of_text, near, near, keys, scattered)
    index, value = of_text[of_text >= 0], texts.group[of_text >= 0]
    order = np.argsort(value, kind="stable")
    order = order[value[order] != _NO_GROUP]
    follows = value[order][1:] == value[order][:-1]
    joint = _merge(near, index[np.stack([order[:-1][follows], order[1:][follows]], axis=1)])
    anchor = np.full(len(keys), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(anchor, joint[index[order]], value[order])
    return Groups(keys, of_text, near, joint, np.where(anchor == np.iinfo(np.uint64).max, keys, anchor), scattered)


def near_duplicates(signatures: Signatures, rows: Integers, threshold: float) -> Integers:
    """Return the index of the first text in the group of each text, (n,); ``rows`` are their rows, (n,)."""
    group: Integers = np.arange(len(rows), dtype=np.int32)
    long_enough = np.flatnonzero(signatures.long_enough[rows]).astype(np.int32)
    long_rows = rows[long_enough]
    for band in range(BANDS):
        codes = signatures.band(band)[long_rows]
        # One sort of code and index together takes less time and memory than an argsort.
        both = codes.astype(np.uint64)
        both <<= np.uint64(32)
        both |= np.arange(len(codes), dtype=np.uint32)
        both.sort()
        order = both.astype(np.uint32)
        both >>= np.uint64(32)
        codes = both.astype(np.uint32)
        del both
        pairs = _similar_pairs(long_enough[order], codes, group, signatures, rows, threshold)
        group = _merge(group, np.concatenate([np.empty((0, 2), np.int32), *pairs]))
    return group


def _similar_pairs(
    texts: Integers,
    codes: npt.NDArray[np.uint32],
    group: Integers,
    signatures: Signatures,
    rows: Integers,
    threshold: float,
) -> Iterator[Integers]:
    """Yield pairs (m, 2) of similar texts that have one code and are in different groups; ``codes`` are ascending."""
    for _ in range(_ROUNDS):
        is_first = run_starts(codes)
        alone = is_first & np.concatenate([is_first[1:], is_first[:1]])
        texts, codes = texts[~alone], codes[~alone]
        if not len(texts):
            return
        is_first = run_starts(codes)
        first = texts[is_first][is_first.cumsum() - 1]
        apart = group[texts] != group[first]
        texts, codes, first = texts[apart], codes[apart], first[apart]
        similar = signatures.similarity(rows[texts], rows[first]) >= threshold
        yield np.stack([texts[similar], first[similar]], axis=1)
        texts, codes = texts[~similar], codes[~similar]


def _merge(group: Integers, pairs: Integers) -> Integers:
    """Return the groups (n,) after joining those of the pairs (m, 2); each is named by its first member."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, ends = np.unique(group[pairs], return_inverse=True)
    ends = ends.reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), np.bool_), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
    component = connected_components(graph, directed=False)[1]
    first = names[np.unique(component, return_index=True)[1]]
    renamed = np.arange(len(group), dtype=np.int32)
    renamed[names] = first[component]
    return renamed[group]
