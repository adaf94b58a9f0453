"""Rules of the two gates: gate 1 for the trained model, gate 2 for the served model before it becomes champion."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Estimate, Evaluation, Gate, GateDecision, InputError, Rule
from textgate.components.contracts.measurement import Measurements
from textgate.components.metrics import accuracy_estimate, f1_difference

_NOTICEABLE_RATIO = 1.1
"""Smallest ratio that counts as faster or smaller; less is within the noise of the machine."""


class ServingCost(NamedTuple):
    """Size and speed of a served model."""

    bytes: int
    """Size of the files that the runtime reads."""
    texts_per_second: float | None = None
    """Throughput on the machine of the gate; None if the recipe does not ask for it."""


class Champion(NamedTuple):
    """The current champion, with its predictions for the test texts of the evaluation."""

    version: str
    """Version in the registry."""
    bundle: str
    """Fingerprint of its bundle."""
    labels: list[str]
    """Label names in the order of its classes."""
    predicted: npt.NDArray[np.int64] | None = None
    """Index of the predicted class per text, (n,) int64; None if they are not comparable or not needed."""
    cost: ServingCost | None = None
    """Its size and speed; None if the recipe asks for no improvement."""
    unseen: npt.NDArray[np.bool_] | None = None
    """Test texts that neither the champion nor the served model was trained or validated on, (n,) bool; None if the
    champion or the served model does not say what it was trained on."""


def judge_trained(evaluation: Evaluation, gate: Gate) -> GateDecision:
    """Decide gate 1: whether the trained model reaches the F1 threshold, before effort is spent on its export."""
    return GateDecision(
        gate="trained",
        bundle=evaluation.manifest.bundle,
        dataset=evaluation.manifest.dataset,
        rules=[_min_f1_rule("the trained model", evaluation, gate)],
    )


def judge_served(
    served: Evaluation,
    trained: Evaluation,
    measurements: Measurements,
    champion: Champion | None,
    gate: Gate,
    cost: ServingCost | None = None,
    endpoint: Rule | None = None,
) -> GateDecision:
    """Decide gate 2: compare the served model with the F1 threshold, the trained model and the champion.

    Args:
        served: Evaluation of the model that would be served.
        trained: Evaluation of the trained model on the same texts.
        measurements: Measurements of the export, with the losses that were allowed. They are compared by the most
            probable class.
        champion: The current champion; None if there is none.
        gate: Thresholds of the recipe.
        cost: Size and speed of the served model; required if the recipe asks for an improvement on a champion.
        endpoint: Rule that the endpoint can serve the model; see ``endpoint_rule``.

    Raises:
        InputError: The evaluations are of different texts.
    """
    if served.ids != trained.ids or served.manifest.dataset != trained.manifest.dataset:
        raise InputError(
            "the served and the trained model were evaluated on different texts: evaluate both on one dataset"
        )
    rules = [
        _min_f1_rule("the served model", served, gate),
        _agreement_rule(served, trained, measurements.min_agreement),
        _export_loss_rule(served, trained, measurements.max_f1_loss),
    ]
    if champion is not None:
        rules += _champion_rules(served, champion, gate, cost)
    if endpoint is not None:
        rules.append(endpoint)
    return GateDecision(
        gate="served",
        bundle=served.manifest.bundle,
        dataset=served.manifest.dataset,
        champion=champion.version if champion else None,
        rules=rules,
    )


def _min_f1_rule(model: str, evaluation: Evaluation, gate: Gate) -> Rule:
    value = evaluation.manifest.f1
    passed = value.value >= gate.min_f1
    verb = "reaches" if passed else "does not reach"
    message = f"{model} has F1 {value} on {len(evaluation.ids):,} test texts and {verb} the threshold {gate.min_f1:g}"
    return Rule(name="min_f1", threshold=gate.min_f1, value=value, passed=passed, message=message)


def _agreement_rule(served: Evaluation, trained: Evaluation, min_agreement: float) -> Rule:
    # Compared by the most probable class, because only the served model has a decision threshold.
    value = accuracy_estimate(served.probabilities.argmax(axis=1), trained.probabilities.argmax(axis=1))
    passed = value.value >= min_agreement
    verb = "at least" if passed else "fewer than"
    message = (
        f"the served model answers as the trained one on {value.value:.2%} of the test texts, "
        f"{verb} the {min_agreement:.2%} asked for"
    )
    return Rule(name="min_agreement", threshold=min_agreement, value=value, passed=passed, message=message)


def _export_loss_rule(served: Evaluation, trained: Evaluation, max_f1_loss: float) -> Rule:
    predicted, reference = (evaluation.probabilities.argmax(axis=1) for evaluation in (served, trained))
    value = f1_difference(served.truth, predicted, reference, len(served.manifest.labels))
    passed = value.value >= -max_f1_loss
    message = (
        f"its F1 differs from the trained model's by {value.value:+.4f} [{value.low:+.4f}, {value.high:+.4f}]: "
        f"{'not' if passed else 'it is'} lower by more than {max_f1_loss:g}"
    )
    return Rule(name="export_loss", threshold=-max_f1_loss, value=value, passed=passed, message=message)


def _champion_rules(served: Evaluation, champion: Champion, gate: Gate, cost: ServingCost | None) -> list[Rule]:
    if champion.bundle == served.manifest.bundle:
        message = f"it is the champion already (version {champion.version}), so there is nothing to promote"
        return [Rule(name="differs_from_champion", threshold=None, value=None, passed=False, message=message)]
    if champion.labels != served.manifest.labels or champion.predicted is None:
        message = (
            f"the champion {champion.version} answers {', '.join(champion.labels)}, not "
            f"{', '.join(served.manifest.labels)}: give this model a name of its own (--set model=…)"
        )
        return [Rule(name="same_labels", threshold=None, value=None, passed=False, message=message)]
    value = f1_difference(served.truth, served.predicted, champion.predicted, len(served.manifest.labels))
    passed = value.low >= -gate.margin
    outcome = "not worse" if passed else "may be worse"
    message = (
        f"the F1 differs from champion {champion.version} by {value.value:+.4f} [{value.low:+.4f}, {value.high:+.4f}] "
        f"(paired bootstrap, 95 %): {outcome} by more than {gate.margin:g}"
    )
    rules = [Rule(name="margin", threshold=-gate.margin, value=value, passed=passed, message=message)]
    if gate.improvement and cost and champion.cost:
        rules.append(_improvement_rule(gate.improvement, value, cost, champion.cost))
    return rules


def _improvement_rule(accepted: Sequence[str], f1: Estimate, cost: ServingCost, champion: ServingCost) -> Rule:
    """Return the rule that the served model is better than the champion in one of the ``accepted`` respects.

    Args:
        accepted: Some of ``f1``, ``speed`` and ``size``.
        f1: F1 of the served model minus that of the champion.
        cost: Size and speed of the served model.
        champion: Size and speed of the champion.
    """
    improvements: list[str] = []
    if "f1" in accepted and f1.low > 0:
        improvements.append("its F1 is higher")
    if "speed" in accepted and cost.texts_per_second and champion.texts_per_second:
        ratio = cost.texts_per_second / champion.texts_per_second
        if ratio >= _NOTICEABLE_RATIO:
            improvements.append(f"it answers {ratio:.2f} times as many texts a second")
    if "size" in accepted and cost.bytes <= champion.bytes / _NOTICEABLE_RATIO:
        improvements.append(f"it takes {cost.bytes / champion.bytes:.0%} of the bytes")
    message = (
        f"against the champion, {' and '.join(improvements)}"
        if improvements
        else f"it is no improvement on the champion in {' or '.join(accepted)}"
    )
    return Rule(name="improvement", threshold=None, value=None, passed=bool(improvements), message=message)
