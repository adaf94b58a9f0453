"""Uses of the test split: what earlier candidates of a model were judged on, and the record of this judgement.

Every judgement is one look at the test texts. Among candidates that are judged on the same texts, the one that looks
best by chance tends to become champion, so its score is too high. A decision therefore states how often its texts were
used, and gate 2 adds the score corrected for this selection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from textgate.components.contracts import Dataset, Estimate, Evaluation, GateDecision, JudgedScore, Rule, SplitUses
from textgate.components.contracts.key_sketch import key_sketch, share_in_sketch
from textgate.components.contracts.text_keys import Keys
from textgate.components.metrics.proportions import CONFIDENCE
from textgate.components.metrics.selection import corrected_for_selection
from textgate.components.storage import Judgement, Judgements

_MOSTLY = 0.5
"""Smallest share of the present texts that a score was measured on to be used in a correction."""


class EarlierUse(NamedTuple):
    """Use of some of the present test texts by another candidate."""

    judgement: Judgement
    share: float
    """Share of the present texts that it was judged on."""


@dataclass(frozen=True)
class PresentUse:
    """Use of the test split by the run that judges now, with the earlier uses of its texts."""

    judgements: Judgements
    """Judgements of the model's candidates."""
    run: str
    bundles: list[str]
    """Fingerprint of the trained bundle and, at gate 2, of the exported bundle."""
    keys: Keys | None
    """Keys of the test texts, (n,) uint64; None for a dataset whose rows have none, of which nothing is counted."""
    earlier: list[EarlierUse]
    """Uses by other candidates, newest first."""
    damaged: int = 0
    """Number of judgements that cannot be read. Each counts as a use of all texts by another candidate, because a
    lower count would make the rules laxer."""

    @classmethod
    def open(
        cls, judgements: Judgements, run: str, dataset: Dataset, evaluations: Sequence[Evaluation]
    ) -> "PresentUse":
        """Read the earlier uses of the texts that a run judges on.

        Args:
            judgements: Judgements of the model's candidates.
            run: Name of the run.
            dataset: Dataset of the evaluations.
            evaluations: Evaluation of the trained model and, at gate 2, of the served model.
        """
        split, bundles = evaluations[-1].manifest.split, [evaluation.manifest.bundle for evaluation in evaluations]
        keys = dataset.keys(split) if split in dataset.manifest.counts else None
        if keys is None:
            return cls(judgements, run, bundles, None, [])
        earlier = judgements.earlier(run, bundles)
        uses = [EarlierUse(judgement, share_in_sketch(keys, judgement.sketch)) for judgement in earlier.readable]
        return cls(judgements, run, bundles, keys, [use for use in uses if use.share > 0], earlier.damaged)

    @property
    def full_uses(self) -> float:
        """Mean number of earlier uses of a text."""
        return self.damaged + sum(use.share for use in self.earlier)

    def record(self, decision: GateDecision) -> GateDecision:
        """Save the judgement, and return the decision with the earlier uses of its test texts.

        At gate 2, the score corrected for selection is added, too.
        """
        if decision.score is None or self.keys is None:
            return decision
        score = decision.score
        judgement = Judgement(
            run=self.run,
            time=datetime.now(UTC).isoformat(timespec="microseconds"),
            bundles=self.bundles,
            metric=score.metric,
            title=score.title,
            value=score.value,
            noise=_noise(score, decision.rules),
            rows=score.rows,
            sketch=key_sketch(self.keys),
        )
        self.judgements.save(judgement)
        corrected = _corrected(judgement, self.earlier) if decision.gate == "served" else None
        uses = SplitUses(candidates=len(self.earlier) + self.damaged, full_uses=self.full_uses, corrected=corrected)
        return decision.model_copy(update={"score": score.model_copy(update={"uses": uses})})


def _corrected(present: Judgement, earlier: Sequence[EarlierUse]) -> float:
    """Return the score of a judgement, corrected for the selection among those on mostly the same texts."""
    metric = (present.metric, present.title)
    same = [use for use in earlier if use.share >= _MOSTLY and (use.judgement.metric, use.judgement.title) == metric]
    values = [*(use.judgement.value.value for use in same), present.value.value]
    errors = [*(_error_on_present_texts(use, present.rows) for use in same), present.noise]
    return corrected_for_selection(np.array(values), np.array(errors))


def _noise(score: JudgedScore, rules: Sequence[Rule]) -> float:
    """Return the standard error of a score on given texts: what is left of it when another model predicts them, too.

    It is that of the difference from the champion, which has the noise of two models. Without a champion it is that of
    the score, which is too large.
    """
    difference = next((rule.value for rule in rules if rule.name == "margin" and rule.value), None)
    own = _standard_error(score.value)
    paired = own if difference is None else min(own, _standard_error(difference) / float(np.sqrt(2)))
    return max(paired, 0.5 / score.rows)


def _standard_error(estimate: Estimate) -> float:
    return (estimate.high - estimate.low) / float(2 * norm.ppf((1 + CONFIDENCE) / 2))


def _error_on_present_texts(use: EarlierUse, rows: int) -> float:
    """Return the standard error of an earlier score as an estimate of that model's score on the present texts.

    Besides the model's own noise it has that of the texts: means over n and m texts, k of which are the same, have a
    difference with (1/n + 1/m - 2 k / (n m)) times the variance of one text.

    Args:
        use: Earlier use of some of the present texts.
        rows: Number of present texts.
    """
    judgement = use.judgement
    of_one_text = max(0.0, _standard_error(judgement.value) ** 2 - judgement.noise**2) * judgement.rows
    other_texts = max(0.0, 1 / judgement.rows + 1 / rows - 2 * use.share / judgement.rows)
    return float(np.sqrt(judgement.noise**2 + of_one_text * other_texts))
