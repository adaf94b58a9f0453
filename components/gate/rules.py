"""Rules of the two gates: gate 1 for the trained model, gate 2 for the served model before it becomes champion."""

from textgate.components.contracts import Evaluation, Gate, GateDecision, InputError, Rule
from textgate.components.contracts.measurement import Measurements
from textgate.components.contracts.metric_names import metric_title
from textgate.components.gate.champion_rules import Champion, ServingCost, champion_rules
from textgate.components.gate.score_rules import judged_score, score_rules
from textgate.components.metrics import accuracy_estimate, f1_difference


def judge_trained(evaluation: Evaluation, gate: Gate) -> GateDecision:
    """Decide gate 1: whether the trained model is good enough by itself, before effort is spent on its export.

    Raises:
        InputError: A metric of the gate is not defined on the test split, or a label does not exist.
    """
    score = judged_score(evaluation, evaluation, gate)
    return GateDecision(
        gate="trained",
        bundle=evaluation.manifest.bundle,
        dataset=evaluation.manifest.dataset,
        score=score,
        rules=list(score_rules("the trained model", evaluation, score, gate)),
    )


def judge_served(
    served: Evaluation,
    trained: Evaluation,
    measurements: Measurements,
    champion: Champion | None,
    gate: Gate,
    cost: ServingCost | None = None,
    endpoint: Rule | None = None,
    held_out: Rule | None = None,
    uses: float = 0,
) -> GateDecision:
    """Decide gate 2: compare the served model with the thresholds, the trained model and the champion.

    Args:
        served: Evaluation of the model that would be served.
        trained: Evaluation of the trained model on the same texts.
        measurements: Measurements of the export, with the losses that were allowed. They are compared by the most
            probable class.
        champion: The current champion; None if there is none.
        gate: Conditions of the recipe.
        cost: Size and speed of the served model; required if the recipe asks for an improvement on a champion.
        endpoint: Rule that the endpoint can serve the model; see ``endpoint_rule``.
        held_out: Rule that the model was not trained on the test texts; see ``held_out_rule``.
        uses: Number of full uses of the test texts before.

    Raises:
        InputError: The evaluations are of different texts, a metric of the gate is not defined on the test split, or a
            label does not exist.
    """
    if served.ids != trained.ids or served.manifest.dataset != trained.manifest.dataset:
        raise InputError(
            "the served and the trained model were evaluated on different texts: evaluate both on one dataset"
        )
    score = judged_score(served, trained, gate)
    rules = [
        *score_rules("the served model", served, score, gate),
        _agreement_rule(served, trained, measurements.min_agreement),
        _export_loss_rule(served, trained, measurements.max_f1_loss),
    ]
    if held_out is not None:
        rules.append(held_out)
    if champion is not None:
        rules += champion_rules(served, champion, gate, cost, uses)
    if endpoint is not None:
        rules.append(endpoint)
    return GateDecision(
        gate="served",
        bundle=served.manifest.bundle,
        dataset=served.manifest.dataset,
        champion=champion.version if champion else None,
        score=score,
        rules=rules,
    )


def _agreement_rule(served: Evaluation, trained: Evaluation, min_agreement: float) -> Rule:
    # Compared by the most probable class, because only the served model has a decision threshold.
    value = accuracy_estimate(served.probabilities.argmax(axis=1), trained.probabilities.argmax(axis=1))
    passed = value.value >= min_agreement
    verb = "at least" if passed else "fewer than"
    message = (
        f"the served model answers as the trained one on {value.value:.2%} of the {len(served.ids):,} test texts, "
        f"{verb} the {min_agreement:.2%} asked for"
    )
    return Rule(name="min_agreement", threshold=min_agreement, value=value, passed=passed, message=message)


def _export_loss_rule(served: Evaluation, trained: Evaluation, max_f1_loss: float) -> Rule:
    predicted, reference = (evaluation.probabilities.argmax(axis=1) for evaluation in (served, trained))
    value = f1_difference(served.truth, predicted, reference, len(served.manifest.labels))
    passed = value.value >= -max_f1_loss
    title = metric_title("f1", served.manifest.labels)
    message = (
        f"its {title} differs from the trained model's by {value.value:+.4f} [{value.low:+.4f}, {value.high:+.4f}] on "
        f"{len(served.ids):,} test texts: {'not' if passed else 'it is'} lower by more than {max_f1_loss:g}"
    )
    return Rule(name="export_loss", threshold=-max_f1_loss, value=value, passed=passed, message=message)
