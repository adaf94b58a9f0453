"""Decide whether to retrain a model: because its source has new data, or because its predictions have drifted.

Object in the store:

    retrain/<model>.json      reasons of the last retraining, so that the same reason does not start another one
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc

from textgate.components.contracts import Estimate, EvaluationManifest, InputError, Recipe
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.parse import parse_json
from textgate.components.metrics import f1_estimate
from textgate.components.sources import content_version
from textgate.components.storage import ChannelUpdate, Registry, Store
from textgate.components.storage.runs import load_evaluation, load_record
from textgate.serving.feedback import read_feedback_log


class Retraining(FrozenModel):
    """Content of ``retrain/<model>.json``."""

    format_version: Literal[1] = 1
    run: str
    source_version: str
    reasons: list[str]
    time: str
    """UTC time in ISO 8601."""


@dataclass(frozen=True)
class DriftLimits:
    """Thresholds of the drift check."""

    days: int
    """Age limit of predictions and feedback."""
    min_predictions: int
    """Smallest number of predictions that is checked."""
    min_feedback: int
    """Smallest number of labels from feedback that is checked."""
    max_psi: float
    """Population stability index from which on the labels have drifted."""


@dataclass
class Check:
    """Result of the check, printed by ``textgate retrain --json``."""

    source_version: str
    champion: str | None = None
    answers: int = 0
    """Number of predictions since the champion or the last retraining."""
    psi: float | None = None
    """Population stability index; None without enough predictions or without an evaluation to compare with."""
    feedback: int = 0
    """Number of labels from feedback since then."""
    feedback_f1: Estimate | None = None
    reasons: list[str] = field(default_factory=list)
    """Sentences; empty if there is no reason to retrain."""


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
            rejected a model trained on this data would reject it again.

    Raises:
        InputError: The source or the store cannot be read.
    """
    check = Check(content_version(recipe.source.uri))
    champion = Registry(store).channel(recipe.model)
    if champion is None:
        if last is None or last.source_version != check.source_version:
            check.reasons.append(f"{recipe.model} has no champion")
        return check
    check.champion = champion.version
    trained_on = _source_version(store, champion)
    if check.source_version not in (trained_on, last and last.source_version):
        changed = "has changed" if trained_on else "may have changed"
        check.reasons.append(f"{recipe.source.uri} {changed} since the champion {champion.version} was trained")
    since = max(
        now - timedelta(days=limits.days),
        *(datetime.fromisoformat(time) for time in (champion.time, last.time if last else champion.time)),
    )
    predictions = _log(store, "predictions", champion, since)
    evaluation = load_evaluation(store, champion.run)
    check.answers = len(predictions)
    if evaluation is not None and check.answers >= limits.min_predictions:
        _check_predictions(check, predictions, evaluation, limits.max_psi)
    feedback = _log(store, "feedback", champion, since)
    feedback = feedback.filter(pc.is_valid(pc.field("predicted")))
    check.feedback = len(feedback)
    if check.feedback >= limits.min_feedback:
        labels = Registry(store).bundle(recipe.model, champion.version).labels
        _check_feedback(check, feedback, labels, recipe.gate.min_f1)
    return check


def population_stability_index(expected: Mapping[str, int], actual: Mapping[str, int]) -> float:
    """Return the distance of two label distributions: the sum of (a - e) ln(a / e) over their shares a and e.

    Half a row is added to every count, so that a label with count 0 does not make the index infinite. By convention an
    index below 0.1 is no change and one from 0.25 on a major change. Its expected value without a change is about
    (1/n + 1/m) (labels - 1): 0.006 for two labels and 500 rows in each sample. See Yurdakul and Naranjo, Statistical
    properties of the population stability index, Journal of Risk Model Validation 14(4), 2020.

    Args:
        expected: Count of each label in the first sample.
        actual: Count of each label in the second sample.
    """
    labels = sorted({*expected, *actual})
    total_expected = sum(expected.values()) + len(labels) / 2
    total_actual = sum(actual.values()) + len(labels) / 2
    index = 0.0
    for label in labels:
        e = (expected.get(label, 0) + 0.5) / total_expected
        a = (actual.get(label, 0) + 0.5) / total_actual
        index += (a - e) * math.log(a / e)
    return index


def last_retraining(store: Store, model: str) -> Retraining | None:
    """Return the last retraining of a model, or None."""
    stored = store.get(_key(model))
    return parse_json(Retraining, stored.data, store.uri(_key(model)), "a retraining") if stored else None


def record_retraining(store: Store, recipe: Recipe, run: str, check: Check, now: datetime) -> None:
    """Write the reasons of a retraining to the store."""
    last = Retraining(
        run=run,
        source_version=check.source_version,
        reasons=check.reasons,
        time=now.isoformat(timespec="seconds"),
    )
    store.put(_key(recipe.model), last.model_dump_json(indent=2).encode())


def _key(model: str) -> str:
    return f"retrain/{model}.json"


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


def _check_predictions(check: Check, predictions: Any, evaluation: EvaluationManifest, max_psi: float) -> None:
    """Compare the labels that the champion predicts with those that it predicted on the test split."""
    actual = Counter(predictions.column("label").to_pylist())
    check.psi = population_stability_index(_predicted_labels(evaluation), actual)
    if check.psi >= max_psi:
        check.reasons.append(
            f"the labels of the last {check.answers:,} predictions are distributed differently from those on the test "
            f"split: population stability index {check.psi:.3f}, limit {max_psi:g}"
        )


def _check_feedback(check: Check, feedback: Any, labels: list[str], min_f1: float) -> None:
    """Compare the champion's F1 on the labels from feedback with the gate's threshold.

    Feedback is not a random sample, so even the upper end of the confidence interval must be below the threshold.
    """
    pairs = zip(feedback.column("label").to_pylist(), feedback.column("predicted").to_pylist(), strict=True)
    known = [
        (labels.index(true), labels.index(predicted)) for true, predicted in pairs if {true, predicted} <= set(labels)
    ]
    if not known:
        return
    truth, predicted = np.array(known, dtype=np.int64).T
    check.feedback_f1 = f1_estimate(truth, predicted, len(labels))
    if check.feedback_f1.high < min_f1:
        check.reasons.append(
            f"F1 on the feedback of {len(known):,} texts is {check.feedback_f1}, below the threshold {min_f1:g}"
        )


def _predicted_labels(evaluation: EvaluationManifest) -> dict[str, int]:
    """Return how often each label was predicted on the test split."""
    columns = zip(*evaluation.confusion, strict=True)
    return {label: sum(column) for label, column in zip(evaluation.labels, columns, strict=True)}
