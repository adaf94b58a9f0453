"""Sketches of sets of text keys, from which the overlap of two sets is estimated without keeping either.

A sketch is the smallest keys of a set. Keys are hashes, so they are a random sample of the set, and two sketches sample
the same texts (Broder, On the resemblance and containment of documents, SEQUENCES 1997; Cohen and Kaplan, Summarizing
data using bottom-k sketches, PODC 2007).
"""

from collections.abc import Sequence

import numpy as np

from textgate.components.contracts.text_keys import Keys, key_array

SKETCH_KEYS = 256
"""Largest number of keys in a sketch; the standard error of a share is at most 0.03."""


def key_sketch(keys: Keys) -> list[str]:
    """Return the smallest distinct keys, at most ``SKETCH_KEYS``, ascending, as 16 hexadecimal digits each."""
    return [f"{key:016x}" for key in np.unique(keys)[:SKETCH_KEYS].tolist()]


def share_in_sketch(keys: Keys, sketch: Sequence[str]) -> float:
    """Estimate which share of the ``keys`` the set behind a sketch has.

    Only keys up to the largest of a full sketch can be looked up in it. A sketch that is not full is the set itself.

    Args:
        keys: Keys, (n,) uint64.
        sketch: What ``key_sketch`` returned for the other set.
    """
    other = key_array(sketch)
    sample = np.unique(keys[keys <= other.max()] if len(other) == SKETCH_KEYS else keys)
    return float(np.isin(sample, other).mean()) if len(sample) else 0.0
