"""The two gates: what a model must reach to go on, and what the served one must reach to become champion."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Estimate, Evaluation, Gate, GateDecision, InputError, Rule
from textgate.components.contracts.measurement import Measurements
from textgate.components.metrics import accuracy_estimate, f1_difference

_NOTICEABLE = 1.1
"""Times the champion's, that counts as faster, or as smaller: less is lost in the noise of the machine."""


class Cost(NamedTuple):
    """What a served model takes to answer."""

    bytes: int
    texts_per_second: float | None = None
    """Timed on the machine of the gate; None where the recipe does not ask for it."""


class Champion(NamedTuple):
    """The model that answers today, on the same test texts."""

    version: str
    bundle: str
    """Fingerprint of its bundle."""
    labels: list[str]
    predicted: npt.NDArray[np.int64] | None = None
    """Its classes (n,) int64 for the texts of the evaluation; None where they were not needed."""
    cost: Cost | None = None


def judge_trained(evaluation: Evaluation, gate: Gate) -> GateDecision:
    """Gate 1: the trained model against the absolute threshold, before anything is spent on exporting it."""
    return GateDecision(
        gate="trained",
        bundle=evaluation.manifest.bundle,
        dataset=evaluation.manifest.dataset,
        rules=[_f1_rule("the trained model", evaluation, gate)],
    )


def judge_served(
    served: Evaluation,
    trained: Evaluation,
    measured: Measurements,
    champion: Champion | None,
    gate: Gate,
    cost: Cost | None = None,
) -> GateDecision:
    """Gate 2: the model that would be served, against the threshold, the trained model and the champion.

    How far it may stray from the trained model is what was allowed its export, by the most probable class of each.
    ``cost`` is needed where there is a champion and the gate asks for an improvement.

    Raises:
        InputError: the evaluations are not of the same texts.
    """
    if served.ids != trained.ids or served.manifest.dataset != trained.manifest.dataset:
        raise InputError(
            "the served and the trained model were evaluated on different texts: evaluate both on one dataset"
        )
    rules = [
        _f1_rule("the served model", served, gate),
        _agreement_rule(served, trained, measured.min_agreement),
        _loss_rule(served, trained, measured.max_f1_loss),
    ]
    if champion is not None:
        rules += _champion_rules(served, champion, gate, cost)
    return GateDecision(
        gate="served",
        bundle=served.manifest.bundle,
        dataset=served.manifest.dataset,
        champion=champion.version if champion else None,
        rules=rules,
    )


def _f1_rule(who: str, evaluation: Evaluation, gate: Gate) -> Rule:
    value = evaluation.manifest.f1
    passed = value.value >= gate.min_f1
    verb = "reaches" if passed else "does not reach"
    words = f"{who} has F1 {value} on {len(evaluation.ids):,} test texts and {verb} the threshold {gate.min_f1:g}"
    return Rule(name="min_f1", threshold=gate.min_f1, value=value, passed=passed, message=words)


def _agreement_rule(served: Evaluation, trained: Evaluation, min_agreement: float) -> Rule:
    # By the most probable class: a threshold, which only the served model has, is no disagreement.
    value = accuracy_estimate(served.probabilities.argmax(axis=1), trained.probabilities.argmax(axis=1))
    passed = value.value >= min_agreement
    verb = "at least" if passed else "fewer than"
    words = (
        f"the served model answers as the trained one on {value.value:.2%} of the test texts, "
        f"{verb} the {min_agreement:.2%} asked for"
    )
    return Rule(name="min_agreement", threshold=min_agreement, value=value, passed=passed, message=words)


def _loss_rule(served: Evaluation, trained: Evaluation, max_f1_loss: float) -> Rule:
    ours, theirs = (evaluation.probabilities.argmax(axis=1) for evaluation in (served, trained))
    value = f1_difference(served.truth, ours, theirs, len(served.manifest.labels))
    passed = value.value >= -max_f1_loss
    words = (
        f"its F1 differs from the trained model's by {value.value:+.4f} [{value.low:+.4f}, {value.high:+.4f}]: "
        f"{'not' if passed else 'it is'} lower by more than {max_f1_loss:g}"
    )
    return Rule(name="export_loss", threshold=-max_f1_loss, value=value, passed=passed, message=words)


def _champion_rules(served: Evaluation, champion: Champion, gate: Gate, cost: Cost | None) -> list[Rule]:
    if champion.bundle == served.manifest.bundle:
        words = f"it is the champion already (version {champion.version}), so there is nothing to promote"
        return [Rule(name="differs_from_champion", threshold=None, value=None, passed=False, message=words)]
    if champion.labels != served.manifest.labels or champion.predicted is None:
        words = (
            f"the champion {champion.version} answers {', '.join(champion.labels)}, not "
            f"{', '.join(served.manifest.labels)}: give this model a name of its own (--set model=…)"
        )
        return [Rule(name="same_labels", threshold=None, value=None, passed=False, message=words)]
    value = _difference(served, champion.predicted)
    passed = value.low >= -gate.margin
    outcome = "not worse" if passed else "may be worse"
    words = (
        f"the F1 differs from champion {champion.version} by {value.value:+.4f} [{value.low:+.4f}, {value.high:+.4f}] "
        f"(paired bootstrap, 95 %): {outcome} by more than {gate.margin:g}"
    )
    rules = [Rule(name="margin", threshold=-gate.margin, value=value, passed=passed, message=words)]
    if gate.improvement and cost and champion.cost:
        rules.append(_improvement_rule(gate.improvement, value, cost, champion.cost))
    return rules


def _improvement_rule(asked: Sequence[str], f1: Estimate, cost: Cost, champion: Cost) -> Rule:
    better: list[str] = []
    if "f1" in asked and f1.low > 0:
        better.append("its F1 is higher")
    if "speed" in asked and cost.texts_per_second and champion.texts_per_second:
        ratio = cost.texts_per_second / champion.texts_per_second
        if ratio >= _NOTICEABLE:
            better.append(f"it answers {ratio:.2f} times as many texts a second")
    if "size" in asked and cost.bytes <= champion.bytes / _NOTICEABLE:
        better.append(f"it takes {cost.bytes / champion.bytes:.0%} of the bytes")
    words = (
        f"against the champion, {' and '.join(better)}"
        if better
        else f"it is no improvement on the champion in {' or '.join(asked)}"
    )
    return Rule(name="improvement", threshold=None, value=None, passed=bool(better), message=words)


def _difference(served: Evaluation, champion: npt.NDArray[np.int64]) -> Estimate:
    return f1_difference(served.truth, served.predicted, champion, len(served.manifest.labels))
