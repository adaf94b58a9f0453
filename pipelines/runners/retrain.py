"""Is there a reason to train a model again? New data behind its source, or answers that are no longer what they were.

retrain/<model>.json      what the last retraining was for, so that nothing is trained twice for the same reason
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

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
    """``retrain/<model>.json``."""

    format_version: Literal[1] = 1
    run: str
    source_version: str
    reasons: list[str]
    time: str
    """UTC, ISO 8601."""


@dataclass(frozen=True)
class DriftLimits:
    """When answers count as changed."""

    days: int
    """How far back answers and feedback are looked at."""
    rows: int
    """Fewer answers say nothing."""
    feedback: int
    """Fewer right labels say nothing."""
    psi: float
    """From here on the labels have changed; see ``population_stability_index``."""


@dataclass
class Check:
    """What was looked at, and what speaks for training again."""

    source_version: str
    champion: str | None = None
    answers: int = 0
    psi: float | None = None
    """None where there are too few answers, or nothing to compare them with."""
    feedback: int = 0
    feedback_f1: Estimate | None = None
    reasons: list[str] = field(default_factory=list)
    """Sentences; none where there is nothing to do."""


def check_for_reasons(
    recipe: Recipe, store: Store, limits: DriftLimits, now: datetime, last: Retraining | None
) -> Check:
    """Compare what stands behind the source, and what the champion answers, with what the champion was made of.

    What the ``last`` retraining that came to a decision was for is no reason again: a gate that rejected what the
    present data make would reject it again.

    Raises:
        InputError: the source or the store cannot be asked.
    """
    found = Check(content_version(recipe.source.uri))
    champion = Registry(store).channel(recipe.model)
    if champion is None:
        if last is None or last.source_version != found.source_version:
            found.reasons.append(f"{recipe.model} has no champion")
        return found
    found.champion = champion.version
    made_of = _source_version(store, champion)
    if found.source_version not in (made_of, last and last.source_version):
        different = "is not what" if made_of else "may not be what"
        found.reasons.append(f"what {recipe.source.uri} holds {different} the champion {champion.version} was made of")
    since = max(
        now - timedelta(days=limits.days),
        *(datetime.fromisoformat(time) for time in (champion.time, last.time if last else champion.time)),
    )
    _look_at_answers(found, recipe, store, champion, limits, since)
    _look_at_feedback(found, recipe, store, champion, limits, since)
    return found


def population_stability_index(expected: Mapping[str, int], actual: Mapping[str, int]) -> float:
    """How far two distributions of labels are apart: the sum of (a - e) ln(a / e) over their shares; 0 for equal ones.

    Half a row is added to every label, so that one that was not met does not make it infinite. By custom below 0.1 is
    no change and from 0.25 on a major one; by chance it is about (1/n + 1/m) (labels - 1), 0.006 for two labels and 500
    rows on either side. Yurdakul and Naranjo, Statistical properties of the population stability index, Journal of Risk
    Model Validation 14(4), 2020.
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
    """The last retraining, if there was one."""
    stored = store.get(_key(model))
    return parse_json(Retraining, stored.data, store.uri(_key(model)), "a retraining") if stored else None


def record_retraining(store: Store, recipe: Recipe, run: str, checked: Check, now: datetime) -> None:
    """Keep what a retraining is for."""
    last = Retraining(
        run=run,
        source_version=checked.source_version,
        reasons=checked.reasons,
        time=now.isoformat(timespec="seconds"),
    )
    store.put(_key(recipe.model), last.model_dump_json(indent=2).encode())


def _key(model: str) -> str:
    return f"retrain/{model}.json"


def _source_version(store: Store, champion: ChannelUpdate) -> str | None:
    """What the champion was made of, where that is known: a move by hand has no run, and a schedule does not look."""
    try:
        record = load_record(store, champion.run)
    except InputError:
        return None
    return None if record.source_version in ("", record.run) else record.source_version


def _look_at_answers(
    found: Check, recipe: Recipe, store: Store, champion: ChannelUpdate, limits: DriftLimits, since: datetime
) -> None:
    """Does the champion answer with other shares of labels than it did on the test split?"""
    judged = load_evaluation(store, champion.run)
    table = read_feedback_log(store, "predictions", recipe.model, since)
    table = table.filter(pc.field("version") == champion.version)
    found.answers = len(table)
    if judged is None or found.answers < limits.rows:
        return
    found.psi = population_stability_index(_answered(judged), Counter(table.column("label").to_pylist()))
    if found.psi >= limits.psi:
        found.reasons.append(
            f"the labels of the last {found.answers:,} answers are spread otherwise than on the test split: population "
            f"stability index {found.psi:.3f}, {limits.psi:g} or more"
        )


def _look_at_feedback(
    found: Check, recipe: Recipe, store: Store, champion: ChannelUpdate, limits: DriftLimits, since: datetime
) -> None:
    """Do the right labels that the endpoint was told leave the champion below the gate's threshold?

    Who sends feedback is not drawn at random, so even the upper end of the interval must lie below it.
    """
    table = read_feedback_log(store, "feedback", recipe.model, since)
    table = table.filter((pc.field("version") == champion.version) & pc.is_valid(pc.field("predicted")))
    found.feedback = len(table)
    if found.feedback < limits.feedback:
        return
    labels = Registry(store).bundle(recipe.model, champion.version).labels
    known = [
        (labels.index(right), labels.index(answered))
        for right, answered in zip(
            table.column("label").to_pylist(), table.column("predicted").to_pylist(), strict=True
        )
        if right in labels and answered in labels
    ]
    if not known:
        return
    truth, predicted = np.array(known, dtype=np.int64).T
    found.feedback_f1 = f1_estimate(truth, predicted, len(labels))
    if found.feedback_f1.high < recipe.gate.min_f1:
        found.reasons.append(
            f"F1 on the feedback of {len(known):,} texts is {found.feedback_f1}, below the threshold "
            f"{recipe.gate.min_f1:g}"
        )


def _answered(judged: EvaluationManifest) -> dict[str, int]:
    """How often each label was answered on the test split."""
    columns = zip(*judged.confusion, strict=True)
    return {label: sum(column) for label, column in zip(judged.labels, columns, strict=True)}
