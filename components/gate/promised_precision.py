"""Rule of gate 2 that the served model has the precision that its recipe promises."""

from textgate.components.contracts import Evaluation, Export, GateDecision, Rule


def check_promised_precision(decision: GateDecision, served: Evaluation, export: Export) -> GateDecision:
    """Return the decision with the rule that the second label has ``export.min_precision`` on the test split.

    The decision is unchanged if the recipe promises no precision. The rule fails if the export step found no threshold
    that has the precision with 95 % confidence.

    Args:
        decision: Decision without this rule.
        served: Evaluation of the model that would be served, at its threshold.
        export: Section ``export`` of the recipe.
    """
    if export.min_precision is None:
        return decision
    label, predicted = served.manifest.labels[-1], int((served.predicted == 1).sum())
    value = served.manifest.metrics["precision"] if predicted else None
    promise = f"the precision of {label!r} that export.min_precision={export.min_precision:g} promises"
    passed = False
    if served.manifest.calibration.threshold is None:
        message = f"no threshold has {promise} with 95 % confidence on the validation split: lower it, or add texts"
    elif value is None:
        message = f"{promise} cannot be checked: {label!r} is predicted for no test text"
    else:
        passed = value.value >= export.min_precision
        verb = "is reached" if passed else "is not reached"
        message = f"{promise} {verb} on the {predicted:,} test texts for which it is predicted: {value}"
    rule = Rule(name="promised_precision", threshold=export.min_precision, value=value, passed=passed, message=message)
    return decision.with_rules([rule])
