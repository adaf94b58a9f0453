"""Assignment of texts to splits, by a hash of each text alone.

A text's position is a number in [0, 1) that depends on its key and ``preprocess.seed`` only. Positions below
``preprocess.test`` are the test split, positions from 1 - ``preprocess.validation`` the validation split, and the rest
the training split. So a text keeps its split when texts are added or removed, and when the cleaning or the balance
changes; a larger test share only takes texts from the training split. Copies of a text have its key, so they are in the
same split.

The rule is that of Géron, Hands-On Machine Learning, ch. 2, "Create a Test Set" (``test_set_check``).
"""

import hashlib
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import InputError, Preprocess
from textgate.components.contracts.dataset import LEFT_OUT, NOT_IN_SHARE
from textgate.components.contracts.text_keys import Keys
from textgate.components.preprocess.outcomes import CODE, SPLITS, TEST, TRAIN, VALIDATION
from textgate.components.preprocess.texts import Floats, Integers

_KEYS_PER_CHUNK = 10_000
_SEVERAL = -1
"""Label of a unit whose texts have several."""


def split_texts(
    unit: Integers,
    position: Floats,
    label: Integers,
    labels: Sequence[str],
    settings: Preprocess,
    given: Collection[str],
    period: str = "",
) -> npt.NDArray[np.uint8]:
    """Return the code of the split of each text, or of the reason to leave it out, (n,).

    Every label has a text in each split: where the positions of its texts leave a split without any, the texts next to
    the split's range are moved there. Texts are left out of the training split only.

    Args:
        unit: Number of the unit of each text, whose texts stay in one split, (n,).
        position: Position of each unit, (units,).
        label: Label code of each text, (n,); texts are in the order of their digests.
        labels: Label names.
        settings: Shares, balance and seed.
        given: Splits that exist already, so that they are not cut.
        period: Addition to error messages that says which part of the texts this is.

    Raises:
        InputError: A label has too few different texts for every split.
    """
    outcome = _splits_of_units(unit, position, label, labels, settings, given, period)[unit]
    training = [
        np.flatnonzero((label == code) & (outcome == CODE[TRAIN])).astype(np.int32) for code in range(len(labels))
    ]
    largest = min(map(len, training)) if settings.balance else len(label)
    for texts in training:
        ordered = texts[np.argsort(position[unit[texts]], kind="stable")]
        outcome[ordered[largest:]] = CODE[LEFT_OUT]
        used = max(1, round(settings.train_share * len(ordered[:largest])))
        outcome[ordered[used:largest]] = CODE[NOT_IN_SHARE]
    return outcome


def positions(keys: Keys, seed: int) -> Floats:
    """Return the position of each key, (n,) in [0, 1)."""
    salt, position = str(seed).encode(), np.empty(len(keys))
    for start in range(0, len(keys), _KEYS_PER_CHUNK):
        chunk = slice(start, start + _KEYS_PER_CHUNK)
        content = keys[chunk].astype(">u8").tobytes()
        digests = bytearray()
        for at in range(0, len(content), 8):
            digests += hashlib.blake2b(content[at : at + 8], digest_size=8, key=salt).digest()
        position[chunk] = np.frombuffer(digests, ">u8") / 2**64
    return position


def split_codes(position: Floats, settings: Preprocess, given: Collection[str]) -> npt.NDArray[np.uint8]:
    """Return the code of the split that each position is in, (n,)."""
    split = np.full(len(position), CODE[TRAIN], np.uint8)
    if VALIDATION not in given:
        split[position >= 1 - settings.validation] = CODE[VALIDATION]
    if TEST not in given:
        split[position < settings.test] = CODE[TEST]
    return split


def _splits_of_units(
    unit: Integers,
    position: Floats,
    label: Integers,
    labels: Sequence[str],
    settings: Preprocess,
    given: Collection[str],
    period: str,
) -> npt.NDArray[np.uint8]:
    """Return the code of the split of each unit, with a unit of each label in every split."""
    split = split_codes(position, settings, given)
    only_label = np.full(len(position), _SEVERAL, np.int32)
    only_label[unit] = label
    only_label[unit[only_label[unit] != label]] = _SEVERAL
    splits = [name for name in SPLITS if name not in given]
    for code, name in enumerate(labels):
        # A unit that texts of another label share is not moved: it could leave that label without a text.
        units = np.flatnonzero(only_label == code)
        units = units[np.argsort(position[units], kind="stable")]
        if len(units) < len(splits):
            raise InputError(
                f"the label {name!r} has {len(units)} different texts{period} but needs at least {len(splits)}, one in "
                f"each of {', '.join(splits)}: give more texts of it, or leave the label out (copies that differ in "
                "case or punctuation only count once, and so do near duplicates and texts of one preprocess.group)"
            )
        found = split[units]
        tests, validations = (
            0 if cut in given else max(1, int((found == CODE[cut]).sum())) for cut in (TEST, VALIDATION)
        )
        tests = min(tests, len(units) - len(splits) + 1) if tests else 0
        validations = min(validations, len(units) - tests - 1) if validations else 0
        split[units[:tests]] = CODE[TEST]
        split[units[tests : len(units) - validations]] = CODE[TRAIN]
        split[units[len(units) - validations :]] = CODE[VALIDATION]
    return split
