"""The limits that were found, as sentences: where the figures are worst, and what nobody looked at."""

from collections.abc import Iterator

from textgate.components.contracts import Estimate, EvaluationManifest, ModelBundle


def limits(bundle: ModelBundle, judged: EvaluationManifest) -> list[str]:
    """What the evaluation of a bundle found against it, worst of each kind."""
    found = [_worst_class, _commonest_error, _worst_slice, _length_bias, _weakest, _elsewhere, _calibration]
    return [*(sentence for look in found for sentence in look(judged)), *_length(bundle)]


def in_words(estimate: Estimate) -> str:
    """A number with its interval."""
    return f"{estimate.value:.4f} ({estimate.low:.4f} to {estimate.high:.4f})"


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.1f} %"


def _worst_class(judged: EvaluationManifest) -> Iterator[str]:
    if judged.per_class:
        label, scores = min(judged.per_class.items(), key=lambda item: item[1].f1.value)
        right = percent(scores.precision.value)
        yield (
            f"Of the labels, {label} is told worst: F1 {in_words(scores.f1)} on its {scores.rows:,} texts. It finds "
            f"{percent(scores.recall.value)} of them; of the answers {label}, {right} are right."
        )


def _commonest_error(judged: EvaluationManifest) -> Iterator[str]:
    errors = [
        (count, truth, answer)
        for truth, row in zip(judged.labels, judged.confusion, strict=True)
        for answer, count in zip(judged.labels, row, strict=True)
        if truth != answer and count
    ]
    if errors:
        count, truth, answer = max(errors, key=lambda error: error[0])
        texts = sum(judged.confusion[judged.labels.index(truth)])
        yield f"Its commonest error takes {truth} for {answer}: {count:,} of {texts:,} texts."


def _worst_slice(judged: EvaluationManifest) -> Iterator[str]:
    """By accuracy: F1 says little of a slice that holds one label only."""
    if not judged.slices:
        yield "No slices of the test texts were looked at: how it fares by length or origin is not known."
        return
    worst = min(judged.slices, key=lambda part: part.accuracy.value)
    clearly = worst.accuracy.high < judged.accuracy.value
    yield (
        f"Of the slices, it is wrong most often where {worst.column} is {worst.value}: accuracy "
        f"{in_words(worst.accuracy)} on {worst.rows:,} texts, {judged.accuracy.value:.4f} on all; "
        f"{'more than chance makes of it' if clearly else 'that can be chance'}."
    )


def _length_bias(judged: EvaluationManifest) -> Iterator[str]:
    bias = judged.length_bias
    if bias is not None and not bias.low <= 0 <= bias.high:
        yield (
            f"It is {'less' if bias.value < 0 else 'more'} often right on long texts: accuracy on the longest quarter "
            f"less that on the shortest is {bias.value:+.4f} ({bias.low:+.4f} to {bias.high:+.4f})."
        )


def _weakest(judged: EvaluationManifest) -> Iterator[str]:
    if not judged.robustness:
        yield "How it stands typos, other case or synonyms was not tried."
        return
    worst = min(judged.robustness, key=lambda tried: tried.f1_difference.value)
    if worst.f1_difference.high < 0:
        yield (
            f"It stands {worst.perturbation} worst: F1 goes from {worst.f1_before.value:.4f} to {worst.f1.value:.4f} "
            f"(by {worst.f1_difference.low:+.4f} to {worst.f1_difference.high:+.4f}), and {percent(worst.changed)} "
            "of the texts get another answer."
        )
    else:
        names = ", ".join(tried.perturbation for tried in judged.robustness)
        yield f"None of {names} costs it F1 beyond what chance can make of it."


def _elsewhere(judged: EvaluationManifest) -> Iterator[str]:
    if not judged.out_of_domain:
        yield "Texts of other origin than its data were not tried: expect it to do worse on them."
        return
    worst = min(judged.out_of_domain, key=lambda domain: domain.f1.value)
    yield (
        f"On texts of other origin it does worst on {worst.name}: F1 {in_words(worst.f1)}, against "
        f"{judged.f1.value:.4f} on texts like those it learnt from."
    )


def _calibration(judged: EvaluationManifest) -> Iterator[str]:
    error = judged.metrics.get("calibration_error")
    if error is not None:
        yield (
            f"Its probabilities differ from the share that is right by {in_words(error)} on average (expected "
            "calibration error)."
        )


def _length(bundle: ModelBundle) -> Iterator[str]:
    if bundle.max_tokens:
        yield f"It reads the first {bundle.max_tokens:,} tokens of a text; what comes after has no say."
