"""Rule of gate 2 that a model is not worse than the reference, and which model is the reference after a promotion.

The reference is the champion that no later one was shown to be better than. If each champion may be worse than the one
before by less than the margin, their scores can fall without end, which is known from clinical trials as biocreep
(D'Agostino, Massaro and Sullivan, Non-inferiority trials: design concepts and issues, Statistics in Medicine 22, 2003).
So a model must also not be worse than the reference by more than the margin.
"""

from collections.abc import Callable

from textgate.components.contracts import (
    Evaluation,
    GateDecision,
    InputError,
    NextReference,
    Recipe,
    Rule,
    StoreError,
)
from textgate.components.contracts.metric_names import metric_title
from textgate.components.gate.champion_rules import Champion, margin_rule
from textgate.components.storage.model_ref import VERSION_CHARACTERS


def check_reference(
    decision: GateDecision,
    served: Evaluation,
    champion: Champion | None,
    reference: str | None,
    load: Callable[[str], Champion],
    recipe: Recipe,
) -> GateDecision:
    """Add the comparison with the reference to a decision, and which model is the reference if it is promoted.

    A reference that is the champion, or the judged model itself, adds no rule. One that cannot be read any more, or
    answers other labels, adds a rule that passes and says so.

    Args:
        decision: Decision that compares the model with the champion.
        served: Evaluation of the model that would be served.
        champion: The current champion, or an earlier one that stands in for it; None if there is none to compare with.
        reference: Version of the reference; None if there is no champion.
        load: Function that returns a version of the model with its predictions for the evaluated texts.
        recipe: The recipe.

    Raises:
        StoreError: The store does not answer.
    """
    version = decision.bundle[:VERSION_CHARACTERS]
    if reference is None:
        return _with_reference(decision, version, "it is the first champion of the model")
    # The champion itself, or a model with other labels: not promoted.
    if champion is not None and champion.predicted is None:
        return decision
    title = metric_title(recipe.gate.metric, served.manifest.labels)
    if reference == version:
        return _with_reference(decision, version, "it is the reference already")
    if champion is not None and reference == champion.version:
        (margin,) = (rule for rule in decision.rules if rule.name == "margin")
        return _with_reference(decision, *_next_reference(version, champion, margin, title))
    try:
        earlier = load(reference)
    except StoreError:
        raise
    except InputError as error:
        return _without_comparison(decision, version, f"the reference {reference} cannot be compared with: {error}")
    if earlier.predicted is None:
        labels = f"{', '.join(earlier.labels)}, not {', '.join(served.manifest.labels)}"
        message = f"the reference {reference} cannot be compared with, because it answers {labels}"
        return _without_comparison(decision, version, message)
    rule = margin_rule("reference_margin", f"reference {reference}", served, earlier, recipe.gate)
    if not rule.passed:
        message = f"{rule.message}; no later champion was shown to be better than the reference"
        if champion is not None:
            message += f" (textgate models move {recipe.model} reference {champion.version} gives it up)"
        rule = rule.model_copy(update={"message": message})
    judged = decision.with_rules([rule])
    return _with_reference(judged, *_next_reference(version, earlier, rule, title))


def _next_reference(version: str, reference: Champion, margin: Rule, title: str) -> tuple[str, str]:
    """Return the version of the reference after a promotion of ``version``, and why it is this one.

    Args:
        version: Version of the judged model.
        reference: The reference so far.
        margin: Rule that compares the two.
        title: Name of the metric of the rule.
    """
    if not reference.trained_on_known:
        return version, f"it is unknown what the reference {reference.version} was trained on"
    difference = margin.value
    if difference is None or difference.low <= 0:
        return reference.version, f"{version} was not shown to be better than the reference {reference.version}"
    return version, (
        f"its {title} is higher than that of the reference {reference.version} by {difference.value:+.4f} "
        f"[{difference.low:+.4f}, {difference.high:+.4f}]"
    )


def _without_comparison(decision: GateDecision, version: str, message: str) -> GateDecision:
    rule = Rule(name="reference_margin", threshold=None, value=None, passed=True, message=message)
    return _with_reference(decision.with_rules([rule]), version, message)


def _with_reference(decision: GateDecision, version: str, message: str) -> GateDecision:
    return decision.model_copy(update={"reference": NextReference(version=version, message=message)})
