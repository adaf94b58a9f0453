"""Decide whether to retrain a model: its source has new data, its log shows drift, or feedback shows a low score."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc

from textgate.components.contracts import Estimate, EvaluationManifest, Gate, InputError, ModelBundle, Recipe
from textgate.components.contracts.metric_names import GateMetric, metric_title
from textgate.components.metrics import prediction_estimates
from textgate.components.metrics.drift import DriftTest, expected_predictions
from textgate.components.sources import source_version
from textgate.components.storage import ChannelUpdate, Registry, Store
from textgate.components.storage.feedback_log import read_feedback_log
from textgate.components.storage.runs import load_evaluation, load_natural_counts, load_record, load_test_sample
from textgate.pipelines.runners.drift import DriftKind, Sample, compare, describe_drift
from textgate.pipelines.runners.retraining import Alarm, AlarmKind, Retraining, alarm_window

_DEALT_WITH = "an earlier retraining was for this cause"


@dataclass(frozen=True)
class DriftLimits:
    """Thresholds of the drift check."""

    days: int
    """Age limit of predictions and feedback."""
    min_predictions: int
    """Smallest number of different texts that is checked."""
    min_feedback: int
    """Smallest number of labels from feedback that is checked."""
    min_psi: float
    """Population stability index from which on a significant change of the labels is drift."""


@dataclass
class Check:
    """Result of the check, printed by ``textgate retrain``."""

    source_version: str
    champion: str | None = None
    answers: int = 0
    """Number of logged predictions since the champion or the last retraining."""
    texts: int = 0
    """Number of different texts among them."""
    drift: dict[DriftKind, DriftTest] = field(default_factory=dict)
    """Tests against the test split; empty without enough texts or without an evaluation to compare with."""
    feedback: int = 0
    """Number of labels from feedback since then."""
    feedback_metric: GateMetric = "f1"
    """Metric of ``feedback_score``: ``gate.metric`` of the recipe."""
    feedback_score: Estimate | None = None
    reasons: list[str] = field(default_factory=list)
    """Sentences; empty if there is no reason to retrain."""
    findings: list[str] = field(default_factory=list)
    """Sentences about what was checked and is no reason."""
    alarm: Alarm | None = None
    """Alarm to record with the retraining: new causes and those that still hold."""
    window: Sample | None = None
    """Window of the log that raised a new alarm about drift."""

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values, without what only the next check needs."""
        score = self.feedback_score.model_dump() if self.feedback_score else None
        drift = {kind: {**asdict(test), "found": test.found} for kind, test in self.drift.items()}
        return {
            **{name: getattr(self, name) for name in ("source_version", "champion", "answers", "texts", "feedback")},
            "drift": drift,
            "psi": self.drift["labels"].effect if "labels" in self.drift else None,
            "feedback_metric": self.feedback_metric,
            "feedback_score": score,
            "feedback_f1": score if self.feedback_metric == "f1" else None,
            "reasons": self.reasons,
            "findings": self.findings,
        }


def check_for_reasons(
    recipe: Recipe, store: Store, limits: DriftLimits, now: datetime, last: Retraining | None
) -> Check:
    """Compare the source and the champion's predictions with those at the champion's training.

    Args:
        recipe: Recipe to retrain.
        store: Store with the registry, the run records and the server's logs.
        limits: Thresholds of the drift check.
        now: Current time.
        last: Last retraining that reached a decision. Its source version is no reason for another one: a gate that
            rejected a model trained on this data would reject it again. Neither is its alarm while champion, source and
            distribution stay the same.

    Raises:
        InputError: The source or the store cannot be read.
    """
    check = Check(source_version(recipe.source))
    champion = Registry(store).channel(recipe.model)
    if champion is None:
        if last is None or last.source_version != check.source_version:
            check.reasons.append(f"{recipe.model} has no champion")
        return check
    check.champion = champion.version
    trained_on = _source_version(store, champion)
    if check.source_version not in (trained_on, last and last.source_version):
        changed = "has changed" if trained_on else "may have changed"
        check.reasons.append(f"{recipe.source.address} {changed} since the champion {champion.version} was trained")
    since = max(
        now - timedelta(days=limits.days),
        *(datetime.fromisoformat(time) for time in (champion.time, last.time if last else champion.time)),
    )
    bundle = Registry(store).bundle(recipe.model, champion.version)
    alarm = Alarm(kinds=[], champion=champion.version, source_version=check.source_version)
    if (
        last
        and last.alarm
        and (last.alarm.champion, last.alarm.source_version) == (alarm.champion, alarm.source_version)
    ):
        alarm = last.alarm
    predictions = _log(store, "predictions", champion, since)
    check.answers = len(predictions)
    window = _window(predictions, bundle)
    check.texts = window.labels.total()
    if check.texts >= max(limits.min_predictions, 1):
        alarm = _check_drift(check, window, store, champion, limits.min_psi, alarm)
    feedback = _log(store, "feedback", champion, since)
    feedback = feedback.filter(pc.is_valid(pc.field("predicted")))
    check.feedback = len(feedback)
    if check.feedback >= max(limits.min_feedback, 1):
        alarm = _check_feedback(check, feedback, predictions, bundle.labels, recipe.gate, alarm)
    check.alarm = alarm
    return check


def _source_version(store: Store, champion: ChannelUpdate) -> str | None:
    """Return the version of the source that the champion was trained on.

    It is None if unknown: a champion that was set by hand has no run, and a scheduled run does not read the version.
    """
    try:
        record = load_record(store, champion.run)
    except InputError:
        return None
    return None if record.source_version in ("", record.run) else record.source_version


def _log(store: Store, kind: Literal["predictions", "feedback"], champion: ChannelUpdate, since: datetime) -> Any:
    """Return the rows of the server's log that the champion predicted."""
    table = read_feedback_log(store, kind, champion.model, since)
    return table.filter(pc.field("version") == champion.version)


def _window(predictions: Any, bundle: ModelBundle) -> Sample:
    """Return the different texts of the log, normalized, with their last predictions.

    The test split has each text once, too. Copies, such as a text that a client sends again and again, are not
    independent observations, and retraining would not change what they are.
    """
    texts = map(bundle.normalizer, predictions.column("text").to_pylist())
    label_of = dict(zip(texts, predictions.column("label").to_pylist(), strict=True))
    return Sample(Counter(label_of.values()), list(label_of))


def _check_drift(
    check: Check, window: Sample, store: Store, champion: ChannelUpdate, min_psi: float, alarm: Alarm
) -> Alarm:
    """Compare the window with the test split, and with the window of the last alarm what was an alarm already.

    Returns:
        The alarm with new causes added.
    """
    evaluation, texts = load_evaluation(store, champion.run), load_test_sample(store, champion.run)
    if evaluation is None:
        check.findings.append(f"drift was not checked: the run {champion.run} has no evaluation to compare with")
        return alarm
    labels = _expected_labels(store, champion, evaluation, saved_texts=texts is not None)
    if labels is None:
        check.findings.append(
            f"drift of the labels was not checked: how often each occurs before balancing is unknown for the run "
            f"{champion.run}, and before textgate 0.2 preprocess.balance balanced the test split, too"
        )
    reference = Sample(labels or Counter(), texts or [])
    check.drift = compare(reference, window, min_psi)
    known = [kind for kind, test in check.drift.items() if test.found and kind in alarm.kinds]
    since_alarm = compare(alarm_window(store, champion.model, alarm), window, min_psi) if known else {}
    found: list[DriftKind] = []
    for kind, test in check.drift.items():
        sentence = describe_drift(kind, test, reference, window, "the test split")
        if kind in known and not (kind in since_alarm and since_alarm[kind].found):
            check.findings.append(f"{sentence}; {_DEALT_WITH}")
        elif test.found:
            found.append(kind)
            check.reasons.append(sentence)
        else:
            check.findings.append(sentence)
    if not found:
        return alarm
    check.window = window
    kinds: list[AlarmKind] = sorted({*alarm.kinds, *found})
    return alarm.model_copy(update={"kinds": kinds, "labels": dict(sorted(window.labels.items()))})


def _expected_labels(
    store: Store, champion: ChannelUpdate, evaluation: EvaluationManifest, saved_texts: bool
) -> Counter[str] | None:
    """Return how often each label is predicted on texts with the natural shares of the labels.

    That is so on the test split, unless a run before textgate 0.2 has balanced it; such a run has saved no texts.

    Returns:
        The counts; None if the test split was or may have been balanced, and the natural shares are not recorded.
    """
    labels = evaluation.labels
    if not saved_texts and _may_be_balanced(store, champion):
        natural = load_natural_counts(store, champion.run, evaluation.dataset)
        if natural is None or set(natural) != set(labels):
            return None
        counts = expected_predictions(evaluation.confusion, [natural[label] for label in labels])
        return Counter(dict(zip(labels, counts, strict=True)))
    predicted = map(sum, zip(*evaluation.confusion, strict=True))
    return Counter(dict(zip(labels, predicted, strict=True)))


def _may_be_balanced(store: Store, champion: ChannelUpdate) -> bool:
    """Return whether a run before textgate 0.2 balanced its test split, or has left no record that says so."""
    try:
        recipe = load_record(store, champion.run).recipe
    except InputError:
        return True
    # A test split that the source gave was taken as it was.
    return bool(recipe.get("preprocess", {}).get("balance")) and not recipe.get("source", {}).get("test")


def _check_feedback(
    check: Check, feedback: Any, predictions: Any, labels: list[str], gate: Gate, alarm: Alarm
) -> Alarm:
    """Compare the champion's ``gate.metric`` on the labels from feedback with the gate's threshold for it.

    Feedback is not a random sample, so even the upper end of the confidence interval must be below the threshold.

    Returns:
        The alarm with this cause added if it is new.
    """
    columns = (feedback.column(name).to_pylist() for name in ("request_id", "index", "label", "predicted"))
    title, threshold = metric_title(gate.metric, labels), gate.thresholds.get(gate.metric)
    if threshold is None:
        check.findings.append(f"feedback was not checked: gate.min has no threshold for gate.metric ({title})")
        return alarm
    if gate.metric == "pr_auc":
        check.findings.append(f"feedback was not checked: {title} needs the probabilities of all labels")
        return alarm
    # The last label of a text counts.
    given = {(request, index): (true, predicted) for request, index, true, predicted in zip(*columns, strict=True)}
    known = {key: pair for key, pair in given.items() if set(pair) <= set(labels)}
    if not known:
        return alarm
    truth, predicted = np.array([[labels.index(label) for label in pair] for pair in known.values()], np.int64).T
    score = prediction_estimates(truth, predicted, len(labels))[gate.metric]
    check.feedback_metric, check.feedback_score = gate.metric, score
    answered = set(zip(*(predictions.column(name).to_pylist() for name in ("request_id", "index")), strict=True))
    share = (
        f"{len(answered & known.keys()):,} of the {len(answered):,} logged answers have it"
        if answered
        else "how many answers were given is not known, because predictions are not logged"
    )
    below = score.high < threshold
    sentence = (
        f"{title} on the feedback on {len(known):,} texts is {score}, {'' if below else 'not '}below the "
        f"threshold {threshold:g}; feedback is no random sample: {share}"
    )
    if not below:
        check.findings.append(sentence)
    elif (
        "feedback" in alarm.kinds
        and alarm.feedback_metric == gate.metric
        and alarm.feedback_score
        and score.high >= alarm.feedback_score.low
    ):
        check.findings.append(f"{sentence}; {_DEALT_WITH}")
    else:
        check.reasons.append(sentence)
        kinds: list[AlarmKind] = sorted({*alarm.kinds, "feedback"})
        return alarm.model_copy(
            update={"kinds": kinds, "feedback_metric": gate.metric, "feedback_score": score},
        )
    return alarm
