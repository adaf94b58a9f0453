"""Made-up reviews whose label depends on their words and on chance, and the F1 of a bundle on new ones."""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from sklearn.metrics import f1_score

from textgate.components.contracts import ModelBundle
from textgate.components.families import open_predictor

Line = dict[str, str]

WORDS = 300
WEIGHTS = np.random.default_rng(5).normal(size=WORDS)


@cache
def _review(number: int) -> tuple[str, float]:
    rng = np.random.default_rng(number)
    words = rng.integers(0, WORDS, size=14)
    return " ".join(f"Word{word}" for word in words), float(WEIGHTS[words].sum() + rng.normal(scale=1.5))


def reviews(first: int, last: int, threshold: float = 0.0, part: str = "train") -> list[Line]:
    """Return the reviews with the numbers from ``first`` to ``last``; half are ``good`` at a threshold of 0."""
    found = map(_review, range(first, last))
    return [{"text": text, "label": "good" if sum_ > threshold else "bad", "part": part} for text, sum_ in found]


def write(path: Path, lines: Iterable[Line]) -> Path:
    """Write the reviews as JSON lines; return the path."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def predicted_f1(folder: Path, lines: Sequence[Line]) -> float:
    """Return scikit-learn's F1 of ``good`` for the predictions of a bundle."""
    bundle = ModelBundle.load(folder)
    probabilities = np.asarray(open_predictor(folder, bundle).predict_proba([line["text"] for line in lines]))
    good = [bundle.labels[index] == "good" for index in bundle.calibration.predict(probabilities)]
    return float(f1_score([line["label"] == "good" for line in lines], good))


def fresh_f1(folder: Path, threshold: float = 0.0) -> float:
    """Return the F1 of a bundle on 3,000 reviews that no run has."""
    return predicted_f1(folder, reviews(10_000, 13_000, threshold))
