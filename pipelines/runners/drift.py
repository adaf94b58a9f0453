"""Drift of what a model is asked and answers, compared with its test split or with an earlier window of its log.

Three tests share the level 5 %: on the predicted labels, on the lengths of the texts, and on whether a classifier tells
the texts apart. The last two need the texts of both samples.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from textgate.components.metrics.drift import (
    LEVEL,
    POWER,
    DriftTest,
    correct,
    label_drift,
    separation,
    share_at_index,
    value_drift,
)
from textgate.components.metrics.resampling import SEED

DriftKind = Literal["labels", "length", "inputs"]

MIN_DISTANCE = 0.1
"""Smallest Kolmogorov-Smirnov distance of text lengths that counts as drift."""
MIN_AUC = 0.6
"""Smallest ROC-AUC of the classifier on the texts that counts as drift."""
MIN_TEXTS = 100
"""Smallest number of texts in each sample for the tests on texts."""
_CLASSIFIED_TEXTS = 2_000
_CLASSIFIED_CHARACTERS = 500
"""Longest beginning of a text that the classifier reads."""
_LEVEL_EACH = LEVEL / len(get_args(DriftKind))


@dataclass(frozen=True)
class Sample:
    """Different texts with the labels that a model predicts for them."""

    labels: Counter[str]
    """Number of texts by predicted label; empty if it is unknown how often each is predicted."""
    texts: list[str]
    """The normalized texts, or a random part of them; empty if only the labels are known."""


def compare(reference: Sample, sample: Sample, min_psi: float) -> dict[DriftKind, DriftTest]:
    """Test whether a sample differs from a reference sample; the tests together have the level 5 %.

    What a sample does not have is not compared: the labels if it has none, the texts if it has fewer than 100.

    Args:
        reference: Sample to compare with.
        sample: Sample to judge.
        min_psi: Smallest population stability index of the labels that counts as drift.
    """
    tests: dict[DriftKind, DriftTest] = {}
    if reference.labels:
        tests["labels"] = label_drift(reference.labels, sample.labels, min_psi, _LEVEL_EACH)
    if min(len(reference.texts), len(sample.texts)) >= MIN_TEXTS:
        before, after = (list(map(len, texts)) for texts in (reference.texts, sample.texts))
        tests["length"] = value_drift(before, after, MIN_DISTANCE, _LEVEL_EACH)
        tests["inputs"] = separation(*_domain_scores(reference.texts, sample.texts), MIN_AUC, _LEVEL_EACH)
    return correct(tests)


def describe_drift(kind: DriftKind, test: DriftTest, reference: Sample, sample: Sample, source: str) -> str:
    """Return a test's result as a sentence without a full stop.

    Args:
        kind: What was compared.
        test: The result.
        reference: Sample that was compared with.
        sample: Sample that was judged.
        source: Name of the reference sample, such as ``the test split``.
    """
    texts = sample.labels.total()
    p_value = f"p = {test.p_value:.2g}"
    if kind == "labels":
        effect = f"population stability index without bias {test.effect:.3f}, limit {test.smallest:g}, {p_value}"
        if not test.found:
            example = _example(reference, test.detectable)
            return (
                f"the labels predicted for the last {texts:,} texts show no drift: {effect}; an index of "
                f"{test.detectable:.3f}{example} would have been found with a probability of {POWER:.0%}"
            )
        return (
            f"the labels predicted for the last {texts:,} texts are distributed differently from those on {source}: "
            f"{_largest_change(reference, sample)}; {effect}"
        )
    if kind == "length":
        effect = f"Kolmogorov-Smirnov distance {test.effect:.3f}, limit {test.smallest:g}, {p_value}"
        if not test.found:
            return (
                f"the lengths of the texts show no drift: {effect}; a distance of {test.detectable:.3f} would have "
                f"been found with a probability of {POWER:.0%}"
            )
        usual, now = (round(median(map(len, texts))) for texts in (reference.texts, sample.texts))
        return f"the texts have a median length of {now:,} characters, those of {source} of {usual:,}: {effect}"
    effect = f"ROC-AUC {test.effect:.3f}, limit {test.smallest:g}, {p_value}"
    if not test.found:
        return (
            f"a classifier does not tell the texts from those of {source}: {effect}; a ROC-AUC of "
            f"{test.detectable:.3f} would have been found with a probability of {POWER:.0%}"
        )
    return f"a classifier tells the texts from those of {source}: {effect}"


def _example(reference: Sample, index: float) -> str:
    """Return the change of one label's share that has this index: the label with the largest share up to a half."""
    shares = {label: count / reference.labels.total() for label, count in reference.labels.items() if count}
    shares = {label: share for label, share in shares.items() if share <= 0.5}
    if not shares:
        return ""
    label = max(shares, key=lambda label: (shares[label], label))
    risen = share_at_index(shares[label], index)
    return f" ({label!r} {shares[label]:.1%} -> {risen:.1%})"


def _largest_change(reference: Sample, sample: Sample) -> str:
    """Return the label whose share differs most, with both shares; of two labels, the one that rises."""
    before, after = (
        {label: count / counts.total() for label, count in counts.items()}
        for counts in (reference.labels, sample.labels)
    )
    changes = {label: after.get(label, 0) - before.get(label, 0) for label in sorted({*before, *after})}
    label = max(changes, key=lambda label: (round(abs(changes[label]), 9), changes[label]))
    return f"{label!r} {before.get(label, 0):.1%} -> {after.get(label, 0):.1%}"


def _domain_scores(
    reference: Sequence[str], sample: Sequence[str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Train a classifier to tell two samples apart on one half of each, and return its scores on the other halves.

    It is a logistic regression on hashed counts of 1 to 3 characters within words, which need no word boundaries of any
    particular language.
    """
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(SEED)
    # Equally many of each, so that neither class is favoured.
    rows = min(len(reference), len(sample), _CLASSIFIED_TEXTS)
    vectorizer = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 3), n_features=2**18)
    vectors = [
        vectorizer.transform(texts[index][:_CLASSIFIED_CHARACTERS] for index in rng.permutation(len(texts))[:rows])
        for texts in (reference, sample)
    ]
    half = rows // 2
    classifier = LogisticRegression(C=10.0, max_iter=200)
    classifier.fit(vstack([part[:half] for part in vectors]), np.repeat([0, 1], half))
    first, second = (classifier.decision_function(part[half:]) for part in vectors)
    return first, second
