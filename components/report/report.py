"""The report of a run: one HTML page, decision first, then what it rests on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from textgate.components.contracts import Candidate, Estimate, Evaluation, GateDecision, Insight, Recipe
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.evaluation import EvaluationManifest, TopWord, WordContribution
from textgate.components.contracts.measurement import Measurement, Measurements, MergeResult
from textgate.components.metrics import METRICS
from textgate.components.report import figures
from textgate.components.report.charts import range_bar, share_bar
from textgate.components.report.page import ROOM, Part, write_page

_ERRORS = 20
_ERROR_CHARACTERS = 600
_WORDS = 12
"""Telling words shown of each class."""
_MATRIX = 20
"""Labels up to which the confusion is a matrix; of more, its commonest errors are listed."""
_COMMON_ERRORS = 30
_FAINT = 0.1
"""Share of the strongest word's contribution below which a word is not marked."""


def write_report(
    path: Path,
    decision: GateDecision,
    recipe: Recipe,
    dataset: DatasetManifest,
    judged: Evaluation,
    trained: Evaluation | None = None,
    measured: Measurements | None = None,
    merge: MergeResult | None = None,
    sweep: Sequence[Candidate] = (),
) -> None:
    """Write the page of a gate's decision on ``judged``; what is not known has no place on it.

    ``trained`` is the evaluation before export: the map of the texts and the course of training are taken from it where
    ``judged`` has none.
    """
    before = trained if trained and trained.manifest.bundle != judged.manifest.bundle else None
    sources = [evaluation for evaluation in (judged, before) if evaluation]
    points = next((source.insight.map for source in sources if source.insight.map), [])
    history = next((source.manifest.history for source in sources if source.manifest.history), [])
    cost = next((source.manifest.training_cost for source in sources if source.manifest.training_cost), None)
    served = next((found for found in measured.targets if found.target == measured.served), None) if measured else None
    manifest = judged.manifest
    drawn = {
        "curves": figures.curves(judged),
        "calibration": figures.calibration(judged),
        "slices": figures.slices(manifest),
        "robustness": figures.robustness(manifest),
        "data": figures.texts(judged, dataset),
        "map": figures.maps(judged, points),
        "training": [*figures.training(history), *figures.sweep(sweep)],
    }
    parts = [
        Part("metrics", "Metrics", "metrics.html"),
        Part("confusion", "Classes", "classes.html"),
        *([Part("curves", "Curves", "plots.html")] if drawn["curves"] else []),
        Part("calibration", "Calibration", "calibration.html"),
        *([Part("slices", "Slices", "slices.html")] if manifest.slices else []),
        *([Part("robustness", "Robustness", "robustness.html")] if manifest.robustness else []),
        *([Part("domains", "Out of domain", "domains.html")] if manifest.out_of_domain else []),
        Part("data", "Data", "data.html"),
        *([Part("map", "Map of the texts", "map.html")] if points else []),
        *([Part("training", "Training", "training.html")] if drawn["training"] or sweep else []),
        Part("errors", "Most confident errors", "errors.html"),
        *([Part("words", "Telling words", "words.html")] if any(judged.insight.top_words.values()) else []),
        *([Part("serving", "Ways to serve it", "serving.html")] if measured and measured.targets else []),
        *([Part("cost", "Cost", "cost.html")] if cost or served else []),
        Part("lineage", "Lineage", "lineage.html"),
    ]
    write_page(
        path,
        ROOM,
        f"{recipe.name}: {decision.verdict}",
        "decision.html",
        parts,
        decision=decision,
        recipe=recipe,
        dataset=dataset,
        judged=manifest,
        rows=len(judged.truth),
        figures=drawn,
        metrics=_metrics(manifest, before),
        per_class=[(label, found, range_bar(found.f1)) for label, found in manifest.per_class.items()],
        matrix=_matrix(manifest) if len(manifest.labels) <= _MATRIX else [],
        common_errors=_common_errors(manifest),
        errors=_errors(judged),
        top_words=_telling_words(judged.insight),
        sweep=sweep,
        measured=measured,
        served=served,
        latencies=_latencies(served),
        merge=merge,
        cost=cost,
        versions=next((source.manifest.versions for source in sources if source.manifest.versions), {}),
        code=_code(),
        recipe_yaml=yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100),
    )


class _Metric(NamedTuple):
    title: str
    found: Estimate
    bar: object
    trained: Estimate | None


def _metrics(judged: EvaluationManifest, trained: Evaluation | None) -> list[_Metric]:
    before = trained.manifest.metrics if trained else {}
    return [
        _Metric(METRICS.get(name, name), found, range_bar(found), before.get(name))
        for name, found in judged.metrics.items()
    ]


def _telling_words(insight: Insight) -> dict[str, list[tuple[TopWord, object]]]:
    """The words of each class with their bars, as shares of the most telling of all."""
    most = max((abs(word.contribution) for words in insight.top_words.values() for word in words), default=0.0)
    return {
        label: [(word, share_bar(abs(word.contribution) / (most or 1.0))) for word in words[:_WORDS]]
        for label, words in insight.top_words.items()
        if words
    }


class _Cell(NamedTuple):
    texts: int
    share: float
    """Of the rows of its true label."""
    right: bool


def _matrix(judged: EvaluationManifest) -> list[tuple[str, list[_Cell]]]:
    """A row of cells for each true label."""
    return [
        (
            judged.labels[truth],
            [_Cell(count, count / max(sum(row), 1), truth == answer) for answer, count in enumerate(row)],
        )
        for truth, row in enumerate(judged.confusion)
    ]


class _CommonError(NamedTuple):
    label: str
    answered: str
    texts: int
    share: float
    """Of the rows of its true label."""


def _common_errors(judged: EvaluationManifest) -> list[_CommonError]:
    found = [
        _CommonError(judged.labels[truth], judged.labels[answer], count, count / sum(row))
        for truth, row in enumerate(judged.confusion)
        for answer, count in enumerate(row)
        if truth != answer and count
    ]
    return sorted(found, key=lambda error: -error.texts)[:_COMMON_ERRORS]


class _Span(NamedTuple):
    """A piece of a text: ``kind`` is ``for``, ``against`` or empty, ``strength`` from 0 to 1."""

    words: str
    kind: str = ""
    strength: float = 0.0


class _Error(NamedTuple):
    id: str
    label: str
    answered: str
    probability: float
    spans: list[_Span]
    speaking: list[WordContribution]
    """The words that do most, for and against."""
    text: str


def _errors(evaluation: Evaluation) -> list[_Error]:
    """The wrong answers given with the highest probability, most confident first; explained where they were."""
    labels, predicted = evaluation.manifest.labels, evaluation.predicted
    confidence = evaluation.probabilities[np.arange(len(predicted)), predicted]
    explained = {error.row: error.contributions for error in evaluation.insight.errors}
    wrong = np.flatnonzero(predicted != evaluation.truth)
    worst = [int(row) for row in wrong[np.argsort(-confidence[wrong], kind="stable")]]
    shown = (list(explained) or worst)[:_ERRORS]
    return [
        _Error(
            evaluation.ids[row],
            labels[evaluation.truth[row]],
            labels[predicted[row]],
            float(confidence[row]),
            _spans(evaluation.texts[row], explained.get(row, [])),
            sorted(explained.get(row, []), key=lambda word: -abs(word.contribution))[:5],
            evaluation.texts[row],
        )
        for row in shown
    ]


def _spans(text: str, contributions: Sequence[WordContribution]) -> list[_Span]:
    """The beginning of a text in pieces, those that contribute marked."""
    end = min(len(text), _ERROR_CHARACTERS)
    most = max((abs(word.contribution) for word in contributions), default=0.0)
    spans, place = [], 0
    for word in sorted(contributions, key=lambda word: word.start):
        strength = abs(word.contribution) / most if most else 0.0
        if strength < _FAINT or word.start < place or word.end > end:
            continue
        spans.append(_Span(text[place : word.start]))
        spans.append(_Span(text[word.start : word.end], "for" if word.contribution > 0 else "against", strength))
        place = word.end
    rest = text[place:end] + ("…" if end < len(text) else "")
    return [span for span in [*spans, _Span(rest)] if span.words]


def _latencies(served: Measurement | None) -> list[tuple[int, float]]:
    """Tokens and milliseconds of one text asked about alone, the shortest first."""
    alone = [speed for speed in served.speeds if speed.batch == 1] if served else []
    return sorted((speed.tokens, speed.milliseconds) for speed in alone)


def _code() -> str:
    """Sha256 of the sources of every step, as installed where this page is written."""
    digest, folder = hashlib.sha256(), Path(__file__).parents[1]
    for source in sorted(folder.rglob("*.py")):
        digest.update(f"{source.relative_to(folder)}\0".encode() + source.read_bytes() + b"\0")
    return digest.hexdigest()
