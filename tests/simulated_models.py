"""Simulated classifiers with known true scores, and predictions of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from textgate.components.metrics import scores
from textgate.components.metrics.classification import class_metrics

Predictions = tuple[np.ndarray, np.ndarray, np.ndarray]
OVERCONFIDENCE = 1.3
"""Factor on the logits of a calibrated classifier."""


def priors(classes: int, prevalence: float) -> np.ndarray:
    """Return class probabilities: class 1 of two classes, or the last of more, has ``prevalence``."""
    return np.append(np.full(classes - 1, (1 - prevalence) / (classes - 1)), prevalence)


def cell_shares(prior: np.ndarray, accuracy: float) -> np.ndarray:
    """Return the shares of true and predicted class, (classes, classes): every class is predicted equally well."""
    classes = len(prior)
    return prior[:, None] * np.where(np.eye(classes) > 0, accuracy, (1 - accuracy) / (classes - 1))


def true_cell_scores(shares: np.ndarray) -> dict[str, float]:
    """Return the metrics of predicted classes for known shares of the cells."""
    values = class_metrics(np.diag(shares), shares.sum(axis=0), shares.sum(axis=1))
    return {name: float(value) for name, value in values.items()}


@dataclass(frozen=True)
class Classifier:
    """Overconfident classifier with normal logits that predicts every class with the same accuracy."""

    classes: int
    prevalence: float
    accuracy: float

    @cached_property
    def distance(self) -> float:
        """Difference of the mean logits of the true class and the others that gives the accuracy."""
        x = np.linspace(-10, 18, 4_001)

        def excess(distance: float) -> float:
            return float(np.trapezoid(norm.pdf(x - distance) * norm.cdf(x) ** (self.classes - 1), x)) - self.accuracy

        return float(brentq(excess, 0, 12))

    def sample(self, rows: int, rng: np.random.Generator) -> Predictions:
        """Return true classes, predicted classes and probabilities; the prediction ignores the prior."""
        prior = priors(self.classes, self.prevalence)
        truth = rng.choice(self.classes, size=rows, p=prior)
        evidence = rng.normal(size=(rows, self.classes))
        evidence[np.arange(rows), truth] += self.distance
        logits = OVERCONFIDENCE * self.distance * evidence + np.log(prior)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return truth, evidence.argmax(axis=1), odds / odds.sum(axis=1, keepdims=True)

    @cached_property
    def true_scores(self) -> dict[str, float]:
        """Metrics of predicted classes in closed form, those of probabilities as the mean of large samples.

        One sample of 750,000 rows for two classes, ten of 75,000 rows for twenty: the error of the means is at most a
        sixth of the standard error on 10,000 rows.
        """
        rng, rows = np.random.default_rng(99), 1_500_000 // self.classes
        samples = [scores(*self.sample(rows, rng)) for _ in range(max(1, self.classes // 2))]
        values = {name: float(np.mean([sample[name] for sample in samples])) for name in samples[0]}
        return values | true_cell_scores(cell_shares(priors(self.classes, self.prevalence), self.accuracy))


@dataclass(frozen=True)
class Pair:
    """Candidate and champion that err independently of each other on a share of the rows.

    Args:
        classes: Number of classes.
        prevalence: Share of the last class.
        champion: Accuracy of the champion, the same in every class.
        deficit: F1 of the champion minus F1 of the candidate.
        overlap: 1 if the worse one fails wherever the better one does, 0 if they fail independently.
    """

    classes: int
    prevalence: float
    champion: float
    deficit: float
    overlap: float

    @cached_property
    def candidate(self) -> float | None:
        """Accuracy of the candidate; None if no accuracy has the deficit."""
        prior = priors(self.classes, self.prevalence)
        target = true_cell_scores(cell_shares(prior, self.champion))["f1"] - self.deficit

        def excess(accuracy: float) -> float:
            return true_cell_scores(cell_shares(prior, accuracy))["f1"] - target

        return float(brentq(excess, 1e-9, 1 - 1e-9)) if excess(1e-9) < 0 < excess(1 - 1e-9) else None

    def sample(self, rows: int, rng: np.random.Generator) -> Predictions:
        """Return true classes, the candidate's and the champion's predictions."""
        assert self.candidate is not None
        independent = self.candidate * self.champion
        both = independent + self.overlap * (min(self.candidate, self.champion) - independent)
        shares = np.array(
            [both, self.candidate - both, self.champion - both, 1 - self.candidate - self.champion + both]
        )
        truth = rng.choice(self.classes, size=rows, p=priors(self.classes, self.prevalence))
        outcome = rng.choice(4, size=rows, p=np.maximum(shares, 0) / np.maximum(shares, 0).sum())
        wrong = (truth + rng.integers(1, self.classes, (2, rows))) % self.classes
        return truth, np.where(outcome <= 1, truth, wrong[0]), np.where(outcome % 2 == 0, truth, wrong[1])
