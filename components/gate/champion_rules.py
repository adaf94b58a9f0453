"""Rules of gate 2 that compare the served model with the champion: labels, non-inferiority, improvement.

The comparison is a non-inferiority test: the lower end of the 95 % interval of the paired difference must not be below
the margin (Committee for Proprietary Medicinal Products, Points to Consider on Switching between Superiority and
Non-Inferiority, 2000). Too few texts make the interval wide, so they reject a model rather than promote a worse one;
each decision says from which margin on an equally good model would pass with a power of 80 %.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Estimate, Evaluation, Gate, Rule
from textgate.components.contracts.decision import IS_CHAMPION
from textgate.components.contracts.metric_names import metric_title
from textgate.components.metrics.differences import (
    POWER,
    comparison_level,
    lower_bound,
    metric_difference,
    minimum_detectable_difference,
    pr_auc_difference,
)

_NOTICEABLE_RATIO = 1.1
"""Smallest ratio that counts as faster or smaller; less is within the noise of the machine."""

Classes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class ServingCost(NamedTuple):
    """Size and speed of a served model."""

    bytes: int
    """Size of the files that the runtime reads."""
    texts_per_second: float | None = None
    """Throughput on the machine of the gate; None if the recipe does not ask for it."""


class Champion(NamedTuple):
    """The current champion, or an earlier one, with its predictions for the test texts of the evaluation."""

    version: str
    """Version in the registry."""
    bundle: str
    """Fingerprint of its bundle."""
    labels: list[str]
    """Label names in the order of its classes."""
    predicted: Classes | None = None
    """Index of the predicted class per text, (n,) int64; None if they are not comparable or not needed."""
    cost: ServingCost | None = None
    """Its size and speed; None if the recipe asks for no improvement."""
    unseen: Mask | None = None
    """Test texts that neither the champion nor the served model was trained or validated on, (n,) bool; None if the
    champion or the served model does not say what it was trained on."""
    probabilities: Floats | None = None
    """Probabilities per text, (n, classes) float64; None where ``predicted`` is None."""
    trained_on_known: bool = True
    """Whether its bundle says what it was trained on."""


def champion_rules(
    served: Evaluation, champion: Champion, gate: Gate, cost: ServingCost | None, uses: float = 0
) -> Iterator[Rule]:
    """Yield the rules that compare the served model with the champion.

    Args:
        served: Evaluation of the model that would be served.
        champion: The current champion.
        gate: Conditions of the recipe.
        cost: Size and speed of the served model; required if the recipe asks for an improvement.
        uses: Number of full uses of the test texts before.
    """
    labels = served.manifest.labels
    if champion.bundle == served.manifest.bundle:
        message = f"it is the champion already (version {champion.version}), so there is nothing to promote"
        yield Rule(name=IS_CHAMPION, threshold=None, value=None, passed=False, message=message)
        return
    if champion.labels != labels or champion.predicted is None:
        message = (
            f"the champion {champion.version} answers {', '.join(champion.labels)}, not {', '.join(labels)}: give this "
            "model a name of its own (--set model=…)"
        )
        yield Rule(name="same_labels", threshold=None, value=None, passed=False, message=message)
        return
    margin = margin_rule("margin", f"champion {champion.version}", served, champion, gate)
    yield margin
    if margin.value and gate.improvement and cost and champion.cost:
        title = metric_title(gate.metric, labels)
        level = comparison_level(uses)
        yield _improvement_rule(gate.improvement, title, margin.value, cost, champion.cost, level)


def margin_rule(name: str, title: str, served: Evaluation, champion: Champion, gate: Gate) -> Rule:
    """Return the rule that the served model is not worse than a champion by more than ``gate.margin``.

    Args:
        name: Name of the rule.
        title: The champion in a sentence, such as ``champion 605127f62e6b``.
        served: Evaluation of the model that would be served.
        champion: The current champion or an earlier one, with predictions.
        gate: Conditions of the recipe.

    Returns:
        The rule, with the difference of the two as its value; None if too few texts are left to compare them on.
    """
    if champion.predicted is None:
        raise ValueError(f"{title} has no predictions to compare with")
    labels = served.manifest.labels
    rows = np.ones(len(served.ids), dtype=bool) if champion.unseen is None else champion.unseen
    lack = None
    if rows.sum() < gate.min_test_rows:
        lack = f"are too few to compare them on: gate.min_test_rows is {gate.min_test_rows:,}"
    elif gate.metric == "pr_auc" and len(np.unique(served.truth[rows])) < len(labels):
        lack = "have no text of some label, so that PR-AUC cannot be computed on them"
    if lack:
        message = (
            f"neither this model nor {title} was trained on {rows.sum():,} of {len(rows):,} test texts, which {lack}"
        )
        return Rule(name=name, threshold=-gate.margin, value=None, passed=False, message=message)
    difference = _difference(gate.metric, served, champion.predicted, champion.probabilities, rows)
    passed = difference.low >= -gate.margin
    compared = int(rows.sum())
    texts = (
        f"{compared:,} test texts, of which it is unknown whether {title} was trained on them"
        if champion.unseen is None
        else f"{compared:,} of {len(rows):,} test texts, on which neither was trained"
    )
    message = (
        f"the {metric_title(gate.metric, labels)} differs from {title} by {difference.value:+.4f} "
        f"[{difference.low:+.4f}, {difference.high:+.4f}] (paired, 95 %): {'not worse' if passed else 'may be worse'} "
        f"by more than {gate.margin:g}, judged on {texts}; an equally good model passes in {POWER:.0%} of the cases "
        f"from a margin of {minimum_detectable_difference(difference):.4f} on"
    )
    return Rule(name=name, threshold=-gate.margin, value=difference, passed=passed, message=message)


def _difference(
    metric: str, served: Evaluation, predicted: Classes, probabilities: Floats | None, rows: Mask
) -> Estimate:
    """Return a metric of the served model minus that of the champion, on some of the test texts.

    Args:
        metric: The recipe's ``gate.metric``.
        served: Evaluation of the served model, with n texts.
        predicted: Classes that the champion predicts, (n,) int64.
        probabilities: Probabilities of the champion, (n, classes) float64; required for ``pr_auc``.
        rows: Texts to compare on, (n,) bool.
    """
    truth = served.truth[rows]
    if metric == "pr_auc" and probabilities is not None:
        return pr_auc_difference(truth, served.probabilities[rows], probabilities[rows])
    return metric_difference(metric, truth, served.predicted[rows], predicted[rows], len(served.manifest.labels))


def _improvement_rule(
    accepted: Sequence[str], title: str, score: Estimate, cost: ServingCost, champion: ServingCost, level: float
) -> Rule:
    """Return the rule that the served model is better than the champion in one of the ``accepted`` respects.

    Args:
        accepted: Some of ``f1``, ``speed`` and ``size``.
        title: Name of the metric of ``score``.
        score: Score of the served model minus that of the champion.
        cost: Size and speed of the served model.
        champion: Size and speed of the champion.
        level: Probability of a higher score by chance that is accepted.
    """
    improvements: list[str] = []
    if "f1" in accepted and lower_bound(score, level) > 0:
        improvements.append(f"its {title} is higher (p < {level:.2g}, for the uses of these test texts so far)")
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
