"""Simulated weekly retrainings, judged by gate 2, with a registry whose judgements are in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import numpy as np
from gate.evaluations import MEASURED, evaluation
from scipy.stats import norm

from textgate.components.contracts import Gate, GateDecision
from textgate.components.gate.champion_rules import Champion, ServingCost
from textgate.components.gate.rules import judge_served
from textgate.components.gate.split_uses import PresentUse
from textgate.components.storage import Judgements

Regime = Literal["same", "growing", "sliding"]
TRUE_F1 = 0.8


@dataclass
class MemoryStore:
    """The part of a store that judgements need."""

    content: dict[str, bytes] = field(default_factory=dict)

    def objects(self, prefix: str) -> Iterator[SimpleNamespace]:
        return (SimpleNamespace(key=key, etag="") for key in sorted(self.content) if key.startswith(prefix))

    def get(self, key: str) -> SimpleNamespace:
        return SimpleNamespace(data=self.content[key])

    def put(self, key: str, data: bytes) -> None:
        self.content[key] = data

    def uri(self, key: str) -> str:
        return f"memory://{key}"


class Texts(NamedTuple):
    """Test texts with equally frequent labels; a hard text is wrong in most retrainings."""

    keys: np.ndarray
    truth: np.ndarray
    difficulty: np.ndarray

    @classmethod
    def sample(cls, rows: int, rng: np.random.Generator) -> "Texts":
        keys = rng.integers(0, 2**64, rows, dtype=np.uint64)
        return cls(keys, rng.integers(0, 2, rows), rng.normal(size=rows))

    def of_week(self, week: int, regime: Regime, rows: int, new_rows: int) -> "Texts":
        """Return the test split of a week: ``rows`` at first, with ``new_rows`` more a week."""
        last = rows + (0 if regime == "same" else week * new_rows)
        first = last - rows if regime == "sliding" else 0
        return Texts(*(values[first:last] for values in self))


class Model(NamedTuple):
    """Model with a true F1, whose errors are correlated with those of other models."""

    f1: float
    correlation: float
    """Correlation of the latent scores of two models."""
    seed: int

    def predict(self, texts: Texts) -> np.ndarray:
        """Return predictions that depend on the model and each text only, so that they do not change with the split."""
        own = norm.ppf((((texts.keys ^ np.uint64(self.seed)) * _ODD) >> np.uint64(11)) / 2.0**53 + 2.0**-54)
        return np.where(self._shared(texts) + np.sqrt(1 - self.correlation) * own > 0, 1 - texts.truth, texts.truth)

    def expected_f1(self, texts: Texts) -> float:
        """Return the F1 that models like this one have on these texts on average."""
        wrong = norm.cdf(self._shared(texts) / np.sqrt(1 - self.correlation))
        positive = texts.truth == 1
        found, false = (1 - wrong[positive]).sum(), wrong[~positive].sum()
        return float(2 * found / (positive.sum() + found + false))

    def _shared(self, texts: Texts) -> np.ndarray:
        return np.sqrt(self.correlation) * texts.difficulty - norm.ppf(self.f1)


_ODD = np.uint64(0x9E3779B97F4A7C15)


class Week(NamedTuple):
    """Decision of a week, and how far the champion's reported F1 is above the true one, as judged and corrected.

    The expectation over all retrainings on the same texts takes the place of the true F1: it differs from it only by
    the luck of the texts, which is the same for all models and 0 on average.
    """

    decision: GateDecision
    plain: float
    corrected: float


def retrain(
    regime: Regime,
    gate: Gate,
    weeks: int,
    seed: int,
    correlation: float = 0.8,
    rows: int = 1_280,
    new_rows: int = 64,
    better: dict[int, float] | None = None,
) -> list[Week]:
    """Judge a new model every week, and promote it if it passes.

    Args:
        regime: Whether the test split stays the same, grows, or slides.
        gate: Conditions of the recipe.
        weeks: Number of weeks.
        seed: Seed of texts and models.
        correlation: Correlation of the models' errors; at 0.8, two models differ on 14 % of the texts.
        rows: Texts of the first test split.
        new_rows: New test texts a week, unless the split stays the same.
        better: Week to true F1 of a model that is better than the others.
    """
    rng = np.random.default_rng(seed)
    texts = Texts.sample(rows + weeks * new_rows, rng)
    judgements = Judgements(MemoryStore(), "model")  # type: ignore[arg-type]
    champion: tuple[str, Model] | None = None
    errors = (0.0, 0.0)
    results = []
    for week in range(weeks):
        model = Model((better or {}).get(week, TRUE_F1), correlation, int(rng.integers(2**63)))
        split = texts.of_week(week, regime, rows, new_rows)
        served = evaluation(model.predict(split), bundle=str(week), truth=split.truth)
        use = PresentUse.open(judgements, f"run-{week:04d}", _dataset(split.keys), [served])
        current = None
        if champion:
            predicted = champion[1].predict(split)
            current = Champion("v", champion[0], served.manifest.labels, predicted, ServingCost(1))
        arguments: Any = {"cost": ServingCost(1), "uses": use.full_uses}
        decision = use.record(judge_served(served, served, MEASURED, current, gate, **arguments))
        if decision.passed:
            champion = (str(week), model)
            assert decision.score is not None
            assert decision.score.uses is not None
            assert decision.score.uses.corrected is not None
            expected = model.expected_f1(split)
            errors = (decision.score.value.value - expected, decision.score.uses.corrected - expected)
        results.append(Week(decision, *errors))
    return results


def _dataset(keys: np.ndarray) -> Any:
    """Return the part of a dataset that the count of uses needs."""
    return SimpleNamespace(manifest=SimpleNamespace(counts={"test": {}}), keys=lambda split: keys)
