"""Test texts that a model was trained on: the rule of gate 2 that there are none, and the texts to compare on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Dataset, Evaluation, InputError, Rule
from textgate.components.contracts.text_keys import read_trained_on

_MAX_SEEN = 0.01
"""Largest share of test texts that the model was trained on: it raises a score of 0.8 by at most 0.002."""


def held_out_rule(dataset: Dataset, evaluation: Evaluation, unseen: npt.NDArray[np.bool_] | None) -> Rule:
    """Return the rule that a bundle was trained or validated on at most 1 % of the evaluated texts.

    The texts of an ensemble's members and of a student's teacher count. The rule passes if they are unknown.

    Args:
        dataset: Dataset of the evaluation.
        evaluation: Evaluation of the bundle.
        unseen: Result of ``unseen_texts`` for the bundle.
    """
    rows = len(evaluation.ids)
    copies = (dataset.manifest.near_duplicates or {}).get(evaluation.manifest.split, 0)
    counted = f"{rows:,} test texts" + (f" ({copies:,} of them copies of others)" if copies else "")
    if unseen is None:
        message = f"it is unknown whether it was trained on some of the {counted}"
        return Rule(name="held_out", threshold=None, value=None, passed=True, message=message)
    seen = int((~unseen).sum())
    passed = seen <= _MAX_SEEN * rows
    message = f"it, its members or its teacher were trained or validated on {seen:,} of the {counted}"
    if not passed:
        message += ", so its scores are too high: train them on this dataset"
    return Rule(name="held_out", threshold=None, value=None, passed=passed, message=message)


def unseen_texts(dataset: Dataset, evaluation: Evaluation, bundles: Sequence[Path]) -> npt.NDArray[np.bool_] | None:
    """Return which evaluated texts none of the bundles was trained or validated on, (n,) bool.

    None if a bundle does not say what it was trained on, or the dataset was written before its rows had keys.

    Raises:
        InputError: The evaluation is of another dataset.
    """
    seen = [keys for keys in map(read_trained_on, bundles) if keys is not None]
    keys = dataset.keys(evaluation.manifest.split) if evaluation.manifest.split in dataset.manifest.counts else None
    if keys is None or len(seen) < len(bundles):
        return None
    if dataset.manifest.fingerprint != evaluation.manifest.dataset:
        raise InputError(f"the served model was evaluated on another dataset than {dataset.path}")
    return ~np.isin(keys, np.concatenate(seen))
