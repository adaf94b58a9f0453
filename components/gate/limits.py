"""Rules on latency and size of the served model, on its robustness, and on the accuracy of each slice."""

from collections.abc import Iterator

from textgate.components.contracts import Evaluation, Gate, Rule
from textgate.components.contracts.measurement import LATENCY_TOKENS, Measurement, Measurements
from textgate.components.contracts.metric_names import metric_title
from textgate.components.gate.score_rules import judged_value


def cost_rules(measurements: Measurements, gate: Gate) -> Iterator[Rule]:
    """Yield the rules on the serving cost that the recipe asks for; they fail if the export measured nothing."""
    served = measurements.served_target
    if gate.max_latency_ms is not None:
        yield _latency_rule(served, gate.max_latency_ms)
    if gate.max_size_mb is not None:
        yield _size_rule(served, gate.max_size_mb)


def robustness_rules(served: Evaluation, gate: Gate) -> Iterator[Rule]:
    """Yield the rule that no perturbation lowers F1 by more than ``gate.max_robustness_loss``, if it is set.

    The difference is paired, on the sampled test texts that the perturbation changes, and F1 is over the labels that
    occur in them. The rule fails if no perturbation could be measured.
    """
    limit = gate.max_robustness_loss
    if limit is None:
        return
    results = served.manifest.robustness
    if not results:
        message = (
            f"the loss of F1 cannot be compared with gate.max_robustness_loss={limit:g}, because no perturbation of "
            "evaluate.robustness changes test texts of two labels"
        )
        yield Rule(name="max_robustness_loss", threshold=-limit, value=None, passed=False, message=message)
        return
    worst = min(results, key=lambda result: judged_value(result.f1_difference, gate)[0])
    difference, (judged, compared) = worst.f1_difference, judged_value(worst.f1_difference, gate)
    passed = judged >= -limit
    others = f", the worst of {len(results)} perturbations," if len(results) > 1 else ""
    message = (
        f"the perturbation {worst.perturbation}{others} changes {metric_title('f1', served.manifest.labels)} of the "
        f"served model from {worst.f1_before.value:.4f} to {worst.f1.value:.4f}, by {difference.value:+.4f} "
        f"[{difference.low:+.4f}, {difference.high:+.4f}], on {worst.rows:,} perturbed test texts, and the {compared} "
        f"{'keeps to' if passed else 'is beyond'} gate.max_robustness_loss={limit:g}"
    )
    yield Rule(name="max_robustness_loss", threshold=-limit, value=difference, passed=passed, message=message)


def slice_rules(model: str, evaluation: Evaluation, gate: Gate) -> Iterator[Rule]:
    """Yield the rule that each slice with enough texts has ``gate.min_slice_accuracy``, if it is set.

    The rule fails if no slice has ``gate.min_test_rows`` texts.

    Args:
        model: The judged model in sentences, such as ``the served model``.
        evaluation: Its evaluation.
        gate: Conditions of the recipe.
    """
    threshold = gate.min_slice_accuracy
    if threshold is None:
        return
    slices = [each for each in evaluation.manifest.slices if each.rows >= gate.min_test_rows]
    smaller = len(evaluation.manifest.slices) - len(slices)
    not_judged = f"; {smaller:,} smaller {'slice is' if smaller == 1 else 'slices are'} not judged" if smaller else ""
    enough = f"at least {gate.min_test_rows:,} test texts (gate.min_test_rows)"
    if not slices:
        message = f"no slice can be compared with gate.min_slice_accuracy={threshold:g}: none has {enough}{not_judged}"
        yield Rule(name="min_slice_accuracy", threshold=threshold, value=None, passed=False, message=message)
        return
    worst = min(slices, key=lambda each: judged_value(each.accuracy, gate)[0])
    judged, compared = judged_value(worst.accuracy, gate)
    passed = judged >= threshold
    message = (
        f"{model} has accuracy {worst.accuracy} on the {worst.rows:,} test texts of {worst.column} {worst.value}, the "
        f"worst of {len(slices):,} slices with {enough}, and the {compared} "
        f"{'reaches' if passed else 'does not reach'} gate.min_slice_accuracy={threshold:g}{not_judged}"
    )
    yield Rule(name="min_slice_accuracy", threshold=threshold, value=worst.accuracy, passed=passed, message=message)


def _latency_rule(served: Measurement | None, max_latency_ms: float) -> Rule:
    latency = served.latency if served else None
    if served is None or latency is None:
        passed, message = False, "the latency of the served model was not measured, so gate.max_latency_ms fails"
    else:
        passed = latency.milliseconds <= max_latency_ms
        machine = f"on {served.machine}" if served.machine else "on an unknown machine"
        short = f", the longest it reads up to {LATENCY_TOKENS}," if latency.tokens < LATENCY_TOKENS else ""
        message = (
            f"the served model ({served.target}) answers one text of {latency.tokens} tokens{short} in "
            f"{latency.milliseconds:.2f} ms (median, {machine}), "
            f"{'within' if passed else 'more than'} gate.max_latency_ms={max_latency_ms:g}"
        )
    return Rule(name="max_latency_ms", threshold=max_latency_ms, value=None, passed=passed, message=message)


def _size_rule(served: Measurement | None, max_size_mb: float) -> Rule:
    if served is None:
        passed, message = False, "the size of the served model was not measured, so gate.max_size_mb fails"
    else:
        passed = served.bytes <= max_size_mb * 1e6
        message = (
            f"the files of the served model ({served.target}) take {served.bytes / 1e6:,.2f} MB, "
            f"{'within' if passed else 'more than'} gate.max_size_mb={max_size_mb:g}"
        )
    return Rule(name="max_size_mb", threshold=max_size_mb, value=None, passed=passed, message=message)
