"""Rules on the scores of one model: thresholds, floors of single labels, enough texts, better than simple answers."""

from collections.abc import Iterator

from textgate.components.contracts import Estimate, Evaluation, Gate, InputError, JudgedScore, Rule
from textgate.components.contracts.metric_names import metric_title
from textgate.components.metrics import estimates
from textgate.components.metrics.constant_answers import best_constant_answer
from textgate.components.metrics.differences import validation_gap


def judged_score(evaluation: Evaluation, trained: Evaluation, gate: Gate) -> JudgedScore:
    """Return the score of a model in ``gate.metric``, with the scores that give it a scale.

    Args:
        evaluation: Evaluation of the judged model.
        trained: Evaluation of the trained model, which holds the score on the validation split and the baseline; in a
            comparison, ``evaluation`` holds the latter.
        gate: Conditions of the recipe.

    Raises:
        InputError: The metric is not defined on the test split.
    """
    labels = evaluation.manifest.labels
    constant = best_constant_answer(gate.metric, evaluation.truth, len(labels))
    baseline = trained.manifest.baseline or evaluation.manifest.baseline
    return JudgedScore(
        metric=gate.metric,
        title=metric_title(gate.metric, labels),
        value=metric_estimate(evaluation, gate.metric),
        rows=len(evaluation.ids),
        constant_label=labels[constant.class_index],
        constant=constant.value,
        baseline=baseline.metrics.get(gate.metric) if baseline else None,
        validation=trained.manifest.validation.get(gate.metric),
        gap=_gap(trained, gate.metric),
    )


def _gap(trained: Evaluation, metric: str) -> Estimate | None:
    """Return the validation score of the trained model minus its test score; None if either is not known."""
    manifest, answers = trained.manifest, trained.probabilities
    validation, rows = manifest.validation.get(metric), manifest.validation_rows
    test = manifest.metrics.get(metric)
    if manifest.calibration.threshold is not None:
        # The validation score is by the most probable label, not by the threshold.
        test = estimates(trained.truth, answers.argmax(axis=1), answers).get(metric)
    if validation is None or rows is None or test is None:
        return None
    return validation_gap(validation, rows, test, len(trained.ids))


def score_rules(model: str, evaluation: Evaluation, score: JudgedScore, gate: Gate) -> Iterator[Rule]:
    """Yield the rules that a model must pass whatever it is compared with.

    Args:
        model: The judged model in sentences, such as ``the served model``.
        evaluation: Its evaluation.
        score: Its score in ``gate.metric``.
        gate: Conditions of the recipe.

    Raises:
        InputError: A metric is not defined on the test split, or a label with a floor does not exist.
    """
    labels, rows = evaluation.manifest.labels, len(evaluation.ids)
    for metric, threshold in gate.thresholds.items():
        value = metric_estimate(evaluation, metric)
        measured = f"{model} has {metric_title(metric, labels)} {value} on {rows:,} test texts"
        yield _threshold_rule(f"min_{metric}", measured, value, threshold, gate)
    for name, floors in (("recall", gate.min_recall), ("precision", gate.min_precision)):
        for label, threshold in floors.items():
            scores = evaluation.manifest.per_class.get(label)
            if scores is None:
                raise InputError(f"gate.min_{name} names {label!r}, but the labels are {', '.join(labels)}")
            value = scores.recall if name == "recall" else scores.precision
            measured = f"{model} has {name} of {label!r} {value} on {rows:,} test texts, {scores.rows:,} of this label,"
            yield _threshold_rule(f"min_{name}.{label}", measured, value, threshold, gate)
    yield _rows_rule(rows, gate.min_test_rows)
    if gate.beats_constant:
        yield _constant_rule(model, score)
    if gate.beats_baseline:
        yield _baseline_rule(model, score)


def metric_estimate(evaluation: Evaluation, metric: str) -> Estimate:
    """Return a metric of an evaluation.

    Raises:
        InputError: The metric is not defined, because a label has no text in the test split.
    """
    value = evaluation.manifest.metrics.get(metric)
    if value is None:
        raise InputError(
            f"{metric} cannot be computed, because a label has no text in the test split: choose another metric in "
            "gate.metric and gate.min"
        )
    return value


def judged_value(value: Estimate, gate: Gate) -> tuple[float, str]:
    """Return the end of an estimate that ``gate.on`` compares with thresholds, and its name in sentences."""
    return (value.value, "point estimate") if gate.on == "point" else (value.low, "lower end of the interval")


def _threshold_rule(name: str, measured: str, value: Estimate, threshold: float, gate: Gate) -> Rule:
    """Compare a value, or the lower end of its interval, with a threshold; ``measured`` begins the sentence."""
    judged, compared = judged_value(value, gate)
    passed = judged >= threshold
    message = f"{measured} and the {compared} {'reaches' if passed else 'does not reach'} the threshold {threshold:g}"
    return Rule(name=name, threshold=threshold, value=value, passed=passed, message=message)


def _rows_rule(rows: int, min_rows: int) -> Rule:
    passed = rows >= min_rows
    message = (
        f"{rows:,} test texts are {'enough to judge on' if passed else 'too few to judge on'}: gate.min_test_rows is "
        f"{min_rows:,}"
    )
    return Rule(name="min_test_rows", threshold=min_rows, value=None, passed=passed, message=message)


def _constant_rule(model: str, score: JudgedScore) -> Rule:
    """Require that the interval of the score lies above the best constant answer."""
    passed = score.value.low > score.constant
    constant = f"always answering {score.constant_label!r}"
    message = (
        f"its {score.title} {score.value} on {score.rows:,} test texts is above the {score.constant:.4f} of {constant}"
        if passed
        else f"{model} is no better than {constant}: {score.title} is {score.value} on {score.rows:,} test texts, and "
        f"this interval does not lie above the {score.constant:.4f} of the constant answer"
    )
    return Rule(name="beats_constant", threshold=score.constant, value=score.value, passed=passed, message=message)


def _baseline_rule(model: str, score: JudgedScore) -> Rule:
    """Require that the score is above that of TF-IDF + logistic regression."""
    if score.baseline is None:
        message = "there is no TF-IDF baseline to compare with: set evaluate.baseline_texts above 0"
        return Rule(name="beats_baseline", threshold=None, value=score.value, passed=False, message=message)
    passed = score.value.value > score.baseline.value
    message = (
        f"{model} has {score.title} {score.value} on {score.rows:,} test texts, {'above' if passed else 'not above'} "
        f"the {score.baseline} of TF-IDF + logistic regression"
    )
    threshold = score.baseline.value
    return Rule(name="beats_baseline", threshold=threshold, value=score.value, passed=passed, message=message)
