"""Judgements: which candidates of a model the gates have judged, with what score, on which texts.

    judgements/<model>/<run>.json      the Judgement of a run; gate 2 replaces that of gate 1

They are not under ``models/``, because a model whose candidates were all rejected has no version there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from textgate.components.contracts import Estimate
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.metric_names import GateMetric
from textgate.components.contracts.parse import parse_json
from textgate.components.storage.s3 import Store


class Judgement(FrozenModel):
    """Record of the use of a test split by one run. It holds no text."""

    run: str
    time: str
    """UTC, ISO 8601 with microseconds."""
    bundles: list[str]
    """Fingerprint of the trained bundle and, from gate 2, of the exported bundle."""
    metric: GateMetric
    """Name of the metric of the score."""
    title: str
    """Name of the metric with the class that it is about."""
    value: Estimate
    """Score on the test split."""
    noise: float
    """Standard error of the score on these test texts: how much equally good models differ on them by chance."""
    rows: int
    """Number of texts of the test split."""
    sketch: list[str]
    """Sketch of the keys of these texts; see ``key_sketch``."""

    def is_of(self, bundles: Sequence[str]) -> bool:
        """Return whether a run with these bundles has the same candidate, as far as both runs came."""
        return self.bundles[-1] in bundles or bundles[-1] in self.bundles


@dataclass(frozen=True)
class Judgements:
    """Judgements of the candidates of one model."""

    store: Store
    model: str

    def all(self) -> list[Judgement]:
        """Return the judgement of every run, newest first.

        Raises:
            InputError: A judgement is damaged.
        """
        objects = ((item.key, self.store.get(item.key)) for item in self.store.objects(f"judgements/{self.model}/"))
        judgements = [
            parse_json(Judgement, stored.data, self.store.uri(key), "a judgement") for key, stored in objects if stored
        ]
        return sorted(judgements, key=lambda judgement: (judgement.time, judgement.run), reverse=True)

    def earlier(self, run: str, bundles: Sequence[str]) -> list[Judgement]:
        """Return the last judgement of each other candidate, newest first.

        A candidate that is judged again on the same texts gives no new information about them, so it counts once, and
        the candidate of ``run`` itself does not count.

        Args:
            run: Name of the run that judges now.
            bundles: Bundles of its candidate, as in ``Judgement``.
        """
        candidates: list[Judgement] = []
        for judgement in self.all():
            known = any(judgement.is_of(other.bundles) for other in candidates)
            if judgement.run != run and not judgement.is_of(bundles) and not known:
                candidates.append(judgement)
        return candidates

    def save(self, judgement: Judgement) -> None:
        """Save the judgement of a run; a repetition of the run replaces it, and is no second use."""
        key = f"judgements/{self.model}/{judgement.run}.json"
        self.store.put(key, (judgement.model_dump_json(indent=2) + "\n").encode("utf-8"))
