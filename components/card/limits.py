"""Known limitations of a model as sentences: its worst results, and what was not evaluated."""

from collections.abc import Iterator

from textgate.components.contracts import EvaluationManifest, ModelBundle
from textgate.components.contracts.formatting import percent, signed, signed_interval, with_interval


def limits(bundle: ModelBundle, evaluation: EvaluationManifest) -> list[str]:
    """Return the limitations that the evaluation of a bundle shows, the worst result of each kind."""
    kinds = [_worst_class, _most_common_error, _worst_slice, _length_bias, _robustness, _out_of_domain, _calibration]
    return [*(sentence for kind in kinds for sentence in kind(evaluation)), *_max_length(bundle)]


def _worst_class(evaluation: EvaluationManifest) -> Iterator[str]:
    if evaluation.per_class:
        label, scores = min(evaluation.per_class.items(), key=lambda item: item[1].f1.value)
        yield (
            f"The label with the lowest F1 is {label}: {with_interval(scores.f1)} on {scores.rows:,} texts, with "
            f"recall {percent(scores.recall.value)} and precision {percent(scores.precision.value)}."
        )


def _most_common_error(evaluation: EvaluationManifest) -> Iterator[str]:
    errors = [
        (count, truth, predicted)
        for truth, row in zip(evaluation.labels, evaluation.confusion, strict=True)
        for predicted, count in zip(evaluation.labels, row, strict=True)
        if truth != predicted and count
    ]
    if errors:
        count, truth, predicted = max(errors, key=lambda error: error[0])
        texts = sum(evaluation.confusion[evaluation.labels.index(truth)])
        yield f"The most common error is to predict {predicted} for {truth}: {count:,} of {texts:,} texts."


def _worst_slice(evaluation: EvaluationManifest) -> Iterator[str]:
    """Choose by accuracy, because a slice with a single label has no F1."""
    if not evaluation.slices:
        yield "No slices of the test texts were evaluated: the effect of length or source is not known."
        return
    marked = [each for each in evaluation.slices if each.is_worse]
    worst = min(marked or evaluation.slices, key=lambda each: each.accuracy.value)
    scope = " among those that chance does not explain" if marked else ""
    yield (
        f"The slice with the lowest accuracy{scope} is {worst.column} {worst.value}: {with_interval(worst.accuracy)} "
        f"on {worst.rows:,} texts, {evaluation.accuracy.value:.4f} on all"
        f"{'' if marked else '; this can be chance'}."
    )


def _length_bias(evaluation: EvaluationManifest) -> Iterator[str]:
    bias = evaluation.length_bias
    if bias is not None and not bias.low <= 0 <= bias.high:
        yield (
            f"Accuracy is {'lower' if bias.value < 0 else 'higher'} on long texts: that on the longest quarter minus "
            f"that on the shortest is {signed(bias.value)} ({signed_interval(bias)})."
        )


def _robustness(evaluation: EvaluationManifest) -> Iterator[str]:
    if not evaluation.robustness:
        yield "Robustness to typos, changed case or synonyms was not evaluated."
        return
    worst = min(evaluation.robustness, key=lambda result: result.f1_difference.value)
    if worst.f1_difference.high < 0:
        yield (
            f"The most harmful perturbation is {worst.perturbation}: F1 falls from {worst.f1_before.value:.4f} to "
            f"{worst.f1.value:.4f} (by {signed_interval(worst.f1_difference)}), and {percent(worst.changed)} of the "
            "predictions change."
        )
    else:
        names = ", ".join(result.perturbation for result in evaluation.robustness)
        yield f"No perturbation ({names}) lowers F1 by more than chance."


def _out_of_domain(evaluation: EvaluationManifest) -> Iterator[str]:
    if not evaluation.out_of_domain:
        yield "Texts from other sources were not evaluated: expect lower scores on them."
        return
    worst = min(evaluation.out_of_domain, key=lambda each: each.f1.value)
    yield (
        f"The out-of-domain data set with the lowest F1 is {worst.name}: {with_interval(worst.f1)}, against "
        f"{evaluation.f1.value:.4f} on the test split."
    )


def _calibration(evaluation: EvaluationManifest) -> Iterator[str]:
    error = evaluation.metrics.get("calibration_error")
    if error is not None:
        yield (
            "Predicted probabilities differ from the share of correct predictions by "
            f"{with_interval(error)} on average (expected calibration error)."
        )


def _max_length(bundle: ModelBundle) -> Iterator[str]:
    if bundle.max_tokens:
        yield f"The model reads the first {bundle.max_tokens:,} tokens of a text and ignores the rest."
