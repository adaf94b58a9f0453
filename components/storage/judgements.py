"""Judgements: which candidates of a model the gates have judged, with what score, on which texts.

    judgements/<model>/<run>.json      the Judgement of a run; gate 2 replaces that of gate 1

They are not under ``models/``, because a model whose candidates were all rejected has no version there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple

from pydantic import Field

from textgate.components.contracts import Estimate
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.metric_names import GateMetric
from textgate.components.contracts.parse import parse_json
from textgate.components.storage.damage import read_object, skip_damaged
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
    sequence: int = Field(default=0, ge=0, exclude_if=lambda sequence: sequence == 0)
    """One more than that of every judgement of the model that the run could read (a Lamport timestamp, as in
    ``ChannelUpdate``); 0 in judgements before 0.2, which are older than all others and ordered by time."""

    @property
    def order(self) -> tuple[int, str, str]:
        """Sort key of the judgements of a model, the oldest first."""
        return self.sequence, "" if self.sequence else self.time, self.run

    def is_of(self, bundles: Sequence[str]) -> bool:
        """Return whether a run with these bundles has the same candidate, as far as both runs came."""
        return self.bundles[-1] in bundles or bundles[-1] in self.bundles


class EarlierJudgements(NamedTuple):
    """Judgements of other candidates for the same model."""

    readable: list[Judgement]
    """The last one of each candidate, newest first."""
    damaged: int
    """Number of runs whose judgement cannot be read."""


@dataclass(frozen=True)
class Judgements:
    """Judgements of the candidates of one model."""

    store: Store
    model: str

    def all(self) -> list[Judgement]:
        """Return the judgement of every run, newest first; damaged ones are left out, with a warning each."""
        return self._read()[0]

    def earlier(self, run: str, bundles: Sequence[str]) -> EarlierJudgements:
        """Return the last judgement of each other candidate.

        A candidate that is judged again on the same texts gives no new information about them, so it counts once, and
        the candidate of ``run`` itself does not count.

        Args:
            run: Name of the run that judges now.
            bundles: Bundles of its candidate, as in ``Judgement``.
        """
        candidates: list[Judgement] = []
        judgements, damaged = self._read()
        for judgement in judgements:
            known = any(judgement.is_of(other.bundles) for other in candidates)
            if judgement.run != run and not judgement.is_of(bundles) and not known:
                candidates.append(judgement)
        return EarlierJudgements(candidates, len(damaged - {run}))

    def _read(self) -> tuple[list[Judgement], set[str]]:
        """Return the judgements, newest first, and the names of the runs whose judgement is damaged."""
        judgements, damaged = [], set()
        for item in self.store.objects(f"judgements/{self.model}/"):
            run = PurePosixPath(item.key).stem
            damaged.add(run)
            with skip_damaged("it counts as a use of the whole test split"):
                if read := read_object(self.store, item.key, partial(parse_json, Judgement, what="a judgement")):
                    judgements.append(read[0])
                damaged.remove(run)
        return sorted(judgements, key=lambda judgement: judgement.order, reverse=True), damaged

    def save(self, judgement: Judgement) -> Judgement:
        """Save the judgement of a run as the newest; a repetition of the run replaces it, and is no second use.

        Returns:
            The judgement with its sequence number.
        """
        sequence = 1 + max((other.sequence for other in self.all()), default=0)
        judgement = judgement.model_copy(update={"sequence": sequence})
        key = f"judgements/{self.model}/{judgement.run}.json"
        self.store.put(key, (judgement.model_dump_json(indent=2) + "\n").encode("utf-8"))
        return judgement
