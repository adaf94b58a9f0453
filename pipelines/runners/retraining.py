"""Record of a model's last retraining, so that the same cause does not start another one.

Objects in the store:

    retrain/<model>.json             the last Retraining
    retrain/<model>.window.parquet   texts of the window that raised its last alarm
"""

from collections import Counter
from datetime import datetime
from typing import Literal, get_args

from pydantic import Field

from textgate.components.contracts import Estimate
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.metric_names import GateMetric
from textgate.components.contracts.parse import parse_json
from textgate.components.storage import Store
from textgate.components.storage.runs import load_texts, save_texts
from textgate.pipelines.runners.drift import DriftKind, Sample

AlarmKind = Literal[DriftKind, "feedback"]
DRIFT_KINDS: tuple[DriftKind, ...] = get_args(DriftKind)


class Alarm(FrozenModel):
    """What started a retraining. It starts no other one while champion, source and distribution stay the same."""

    kinds: list[AlarmKind]
    """Tests that found a change, since the champion was promoted or the source changed."""
    champion: str
    """Version of the champion."""
    source_version: str
    """Version of the source."""
    labels: dict[str, int] = {}
    """Number of different texts by predicted label, in the window of the last alarm."""
    feedback_metric: GateMetric = "f1"
    """Metric of ``feedback_score``."""
    feedback_score: Estimate | None = Field(default=None, alias="feedback_f1")
    """Score on the feedback that raised the alarm."""

    def holds_for(self, champion: str, source_version: str) -> bool:
        """Return whether neither champion nor source have changed since."""
        return (self.champion, self.source_version) == (champion, source_version)


class Retraining(FrozenModel):
    """Content of ``retrain/<model>.json``."""

    format_version: Literal[1] = 1
    run: str
    source_version: str
    reasons: list[str]
    time: str
    """UTC time in ISO 8601."""
    alarm: Alarm | None = None
    """Last alarm; None if there was none for this champion and this source, or if textgate was older than 0.2."""


def last_retraining(store: Store, model: str) -> Retraining | None:
    """Return the last retraining of a model, or None.

    Raises:
        InputError: The record is damaged.
    """
    stored = store.get(_key(model))
    return parse_json(Retraining, stored.data, store.uri(_key(model)), "a retraining") if stored else None


def alarm_window(store: Store, model: str, alarm: Alarm) -> Sample:
    """Return the window that raised an alarm.

    Raises:
        InputError: The saved texts are damaged.
    """
    return Sample(Counter(alarm.labels), load_texts(store, _window_key(model)) or [])


def record_retraining(
    store: Store,
    model: str,
    run: str,
    source_version: str,
    reasons: list[str],
    now: datetime,
    alarm: Alarm | None,
    window: Sample | None,
) -> None:
    """Write a retraining to the store.

    Args:
        store: Store to write to.
        model: Name of the model.
        run: Id of the run that was started.
        source_version: Version of the source.
        reasons: Reasons as sentences.
        now: Current time.
        alarm: Alarm to remember.
        window: Window that raised a new alarm about drift; None keeps the saved one.
    """
    if window is not None:
        save_texts(store, _window_key(model), window.texts)
    last = Retraining(
        run=run,
        source_version=source_version,
        reasons=reasons,
        time=now.isoformat(timespec="microseconds"),
        alarm=alarm,
    )
    store.put(_key(model), last.model_dump_json(indent=2).encode())


def _key(model: str) -> str:
    return f"retrain/{model}.json"


def _window_key(model: str) -> str:
    return f"retrain/{model}.window.parquet"
