"""Assignment of texts to splits, by a hash of each text alone.

A text's position is a number in [0, 1) that depends on its key and ``preprocess.seed`` only. Positions below
``preprocess.test`` are the test split, positions from 1 - ``preprocess.validation`` the validation split, and the rest
the training split. So a text keeps its split when texts are added or removed, and when the cleaning or the balance
changes; a larger test share only takes texts from the training split. Copies of a text have its key, so they are in the
same split.

The rule is that of Géron, Hands-On Machine Learning, ch. 2, "Create a Test Set" (``test_set_check``).
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from textgate.components.contracts import InputError, Preprocess
from textgate.components.contracts.dataset import LEFT_OUT, NOT_IN_SHARE


class KeptText(NamedTuple):
    """Distinct text that can be kept."""

    label: str
    """Label name."""
    key: str
    """Key of the raw text; see ``text_keys.text_key``."""
    time: float = 0.0
    """Time of its earliest row; 0 without ``preprocess.test_latest_by``."""


def split_texts(
    texts: Mapping[bytes, KeptText], labels: Sequence[str], settings: Preprocess, has_test: bool, period: str = ""
) -> dict[bytes, str]:
    """Return the split of each text, or the reason to leave it out.

    Every label has a text in each split: where the positions of its texts leave a split without any, the texts next to
    the split's range are moved there. Texts are left out of the training split only.

    Args:
        texts: Digest to text.
        labels: Label names.
        settings: Shares, balance and seed.
        has_test: Whether there is a test split already, so that none is cut.
        period: Addition to error messages that says which part of the texts this is.

    Raises:
        InputError: A label has too few different texts for every split.
    """
    position = {text.key: _position(text.key, settings.seed) for text in texts.values()}
    split_of = _splits_of_keys(texts, position, labels, settings, has_test, period)
    assigned = {digest: split_of[text.key] for digest, text in texts.items()}
    training: dict[str, list[bytes]] = {label: [] for label in labels}
    for digest in sorted(texts, key=lambda digest: (position[texts[digest].key], digest)):
        if assigned[digest] == "train":
            training[texts[digest].label].append(digest)
    largest = min(map(len, training.values())) if settings.balance else len(texts)
    for digests in training.values():
        assigned |= dict.fromkeys(digests[largest:], LEFT_OUT)
        used = max(1, round(settings.train_share * len(digests[:largest])))
        assigned |= dict.fromkeys(digests[used:largest], NOT_IN_SHARE)
    return assigned


def _position(key: str, seed: int) -> float:
    digest = hashlib.blake2b(bytes.fromhex(key), digest_size=8, key=str(seed).encode()).digest()
    return int.from_bytes(digest) / 2**64


def _splits_of_keys(
    texts: Mapping[bytes, KeptText],
    position: Mapping[str, float],
    labels: Sequence[str],
    settings: Preprocess,
    has_test: bool,
    period: str,
) -> dict[str, str]:
    """Return the split of each key, with a key of each label in every split."""
    labels_of: dict[str, set[str]] = defaultdict(set)
    for text in texts.values():
        labels_of[text.key].add(text.label)
    test = 0.0 if has_test else settings.test
    split_of = {key: _split(at, test, settings.validation) for key, at in position.items()}
    splits = ("train", "validation") if has_test else ("train", "validation", "test")
    for label in labels:
        # A key that copies with another label share is not moved: it could leave that label without a text.
        keys = sorted((key for key, found in labels_of.items() if found == {label}), key=position.__getitem__)
        if len(keys) < len(splits):
            raise InputError(
                f"the label {label!r} has {len(keys)} different texts{period} but needs at least {len(splits)}, one in "
                f"each of {', '.join(splits)}: give more texts of it, or leave the label out (copies that differ in "
                "case or punctuation only count once)"
            )
        found = [split_of[key] for key in keys]
        tests = 0 if has_test else min(max(1, found.count("test")), len(keys) - 2)
        validations = min(max(1, found.count("validation")), len(keys) - tests - 1)
        split_of |= dict.fromkeys(keys[:tests], "test")
        split_of |= dict.fromkeys(keys[tests : len(keys) - validations], "train")
        split_of |= dict.fromkeys(keys[len(keys) - validations :], "validation")
    return split_of


def _split(position: float, test: float, validation: float) -> str:
    if position < test:
        return "test"
    return "validation" if position >= 1 - validation else "train"
