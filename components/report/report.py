"""HTML report of a gate's decision: the decision first, then the evaluation, data, training, costs and lineage."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from markupsafe import Markup

from textgate.components.contracts import (
    Candidate,
    Estimate,
    Evaluation,
    GateDecision,
    Insight,
    Recipe,
    TrainingCost,
)
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.earlier_trainings import with_earlier
from textgate.components.contracts.evaluation import ClassScores, EvaluationManifest
from textgate.components.contracts.insight import TopWord, WordContribution
from textgate.components.contracts.label_issues import LabelIssues
from textgate.components.contracts.measurement import Measurement, Measurements, MergeResult
from textgate.components.metrics import METRICS
from textgate.components.report import figures
from textgate.components.report.charts import range_bar, share_bar
from textgate.components.report.label_issues import most_suspect
from textgate.components.report.page import PageLayout, PageSection, write_page
from textgate.components.report.rejected_rows import rejected_groups
from textgate.components.report.text_map import text_maps

_MAX_ERRORS = 20
_ERROR_CHARACTERS = 600
_ERROR_WORDS = 5
"""Words of an error whose contributions are written out."""
_TOP_WORDS = 12
"""Top words per class."""
_MAX_MATRIX_LABELS = 20
"""Number of labels up to which the confusion matrix is shown; with more, the most common errors are listed."""
_COMMON_ERRORS = 30
_MIN_STRENGTH = 0.1
"""Contribution relative to the strongest word of the text from which a word is marked."""


@dataclass(frozen=True)
class ReportInputs:
    """Results of the steps that the report shows; sections of missing results are left out."""

    decision: GateDecision
    recipe: Recipe
    dataset: DatasetManifest
    evaluation: Evaluation
    """Evaluation that the decision is based on."""
    trained: Evaluation | None = None
    """Evaluation before export; map, training history and training cost come from it if ``evaluation`` has none."""
    measurements: Measurements | None = None
    """Accuracy and cost of the export targets."""
    merge: MergeResult | None = None
    """Changes from merging an adapter."""
    sweep: Sequence[Candidate] = ()
    """Candidates of a sweep."""
    label_issues: LabelIssues | None = None
    """Training texts whose label looks wrong; None if they were not looked for."""

    @property
    def before_export(self) -> Evaluation | None:
        """Evaluation before export; None if the decision is on the trained model itself."""
        if self.trained and self.trained.manifest.bundle != self.evaluation.manifest.bundle:
            return self.trained
        return None

    @property
    def evaluations(self) -> list[Evaluation]:
        """Evaluation of the decision, then the one before export."""
        return [self.evaluation, *([self.before_export] if self.before_export else [])]

    @property
    def served(self) -> Measurement | None:
        """Measurement of the served export target."""
        return self.measurements.served_target if self.measurements else None

    @property
    def training_cost(self) -> TrainingCost | None:
        """Cost of the training, if it is known."""
        costs = (evaluation.manifest.training_cost for evaluation in self.evaluations)
        return next((with_earlier(cost, self.recipe.train) for cost in costs if cost), None)


def write_report(path: Path, inputs: ReportInputs) -> None:
    """Write the report of a gate's decision as one HTML file."""
    evaluation = inputs.evaluation
    manifest = evaluation.manifest
    charts = _figures(inputs)
    versions = next((source.manifest.versions for source in inputs.evaluations if source.manifest.versions), {})
    recipe_yaml = yaml.safe_dump(inputs.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)
    title = f"{inputs.recipe.name}: {inputs.decision.verdict}"
    write_page(
        path,
        PageLayout(title, "decision.html", _sections(inputs, charts)),
        decision=inputs.decision,
        recipe=inputs.recipe,
        dataset=inputs.dataset,
        evaluation=manifest,
        rows=len(evaluation.truth),
        figures=charts,
        metrics=_metric_rows(manifest, inputs.before_export),
        classes=_class_rows(manifest),
        confusion=_confusion_rows(manifest) if len(manifest.labels) <= _MAX_MATRIX_LABELS else [],
        common_errors=_common_errors(manifest),
        errors=_errors(evaluation),
        label_check=inputs.label_issues.manifest if inputs.label_issues else None,
        label_issues=most_suspect(inputs.label_issues),
        top_words=_top_words(evaluation.insight),
        sweep=inputs.sweep,
        rejected_groups=rejected_groups(inputs.dataset),
        measurements=inputs.measurements,
        served=inputs.served,
        latencies=_latencies(inputs.served),
        merge=inputs.merge,
        cost=inputs.training_cost,
        versions=versions,
        code_sha256=_code_sha256(),
        recipe_yaml=recipe_yaml,
    )


def _figures(inputs: ReportInputs) -> dict[str, list[Markup]]:
    """Return the figures of each section."""
    evaluation = inputs.evaluation
    points = next((source.insight.map for source in inputs.evaluations if source.insight.map), [])
    history = next((source.manifest.history for source in inputs.evaluations if source.manifest.history), [])
    return {
        "curves": figures.curves(evaluation),
        "calibration": figures.calibration(evaluation),
        "slices": figures.slices(evaluation.manifest),
        "robustness": figures.robustness(evaluation.manifest),
        "data": figures.dataset_figures(evaluation, inputs.dataset),
        "map": text_maps(evaluation, points),
        "training": [*figures.training(history), *figures.sweep(inputs.sweep)],
    }


def _sections(inputs: ReportInputs, charts: dict[str, list[Markup]]) -> list[PageSection]:
    """Return the sections that have content."""
    manifest, measurements = inputs.evaluation.manifest, inputs.measurements
    top_words = any(inputs.evaluation.insight.top_words.values())
    sections = [
        (PageSection("metrics", "Metrics", "metrics.html"), True),
        (PageSection("confusion", "Classes", "classes.html"), True),
        (PageSection("curves", "Curves", "plots.html"), charts["curves"]),
        (PageSection("calibration", "Calibration", "calibration.html"), True),
        (PageSection("slices", "Slices", "slices.html"), manifest.slices),
        (PageSection("robustness", "Robustness", "robustness.html"), manifest.robustness),
        (PageSection("domains", "Out of domain", "domains.html"), manifest.out_of_domain),
        (PageSection("data", "Data", "data.html"), True),
        (PageSection("labels", "Doubtful labels", "label_issues.html"), inputs.label_issues),
        (PageSection("map", "Map of the texts", "map.html"), charts["map"]),
        (PageSection("training", "Training", "training.html"), charts["training"] or inputs.sweep),
        (PageSection("errors", "Most confident errors", "errors.html"), True),
        (PageSection("words", "Top words", "words.html"), top_words),
        (PageSection("serving", "Export targets", "serving.html"), measurements and measurements.targets),
        (PageSection("cost", "Cost", "cost.html"), inputs.training_cost or inputs.served),
        (PageSection("lineage", "Lineage", "lineage.html"), True),
    ]
    return [section for section, content in sections if content]


class _MetricRow(NamedTuple):
    title: str
    estimate: Estimate
    bar: Markup
    before_export: Estimate | None


def _metric_rows(evaluation: EvaluationManifest, before_export: Evaluation | None) -> list[_MetricRow]:
    before = before_export.manifest.metrics if before_export else {}
    return [
        _MetricRow(METRICS.get(name, name), estimate, range_bar(estimate), before.get(name))
        for name, estimate in evaluation.metrics.items()
    ]


class _ClassRow(NamedTuple):
    label: str
    scores: ClassScores
    f1_bar: Markup


def _class_rows(evaluation: EvaluationManifest) -> list[_ClassRow]:
    return [_ClassRow(label, scores, range_bar(scores.f1)) for label, scores in evaluation.per_class.items()]


class _TopWordRow(NamedTuple):
    word: TopWord
    bar: Markup


def _top_words(insight: Insight) -> dict[str, list[_TopWordRow]]:
    """Return the top words of each class; the bars are relative to the largest contribution of all."""
    largest = max((abs(word.contribution) for words in insight.top_words.values() for word in words), default=0.0)
    return {
        label: [_TopWordRow(word, share_bar(abs(word.contribution) / (largest or 1.0))) for word in words[:_TOP_WORDS]]
        for label, words in insight.top_words.items()
        if words
    }


class _ConfusionCell(NamedTuple):
    texts: int
    share: float
    """Share of the rows with this true label."""
    correct: bool


def _confusion_rows(evaluation: EvaluationManifest) -> list[tuple[str, list[_ConfusionCell]]]:
    """Return the true label and the cells of each row of the confusion matrix."""
    return [
        (
            evaluation.labels[truth],
            [_ConfusionCell(count, count / max(sum(row), 1), truth == column) for column, count in enumerate(row)],
        )
        for truth, row in enumerate(evaluation.confusion)
    ]


class _CommonError(NamedTuple):
    label: str
    predicted: str
    texts: int
    share: float
    """Share of the rows with this true label."""


def _common_errors(evaluation: EvaluationManifest) -> list[_CommonError]:
    """Return the pairs of classes that are confused most often."""
    errors = [
        _CommonError(evaluation.labels[truth], evaluation.labels[column], count, count / sum(row))
        for truth, row in enumerate(evaluation.confusion)
        for column, count in enumerate(row)
        if truth != column and count
    ]
    return sorted(errors, key=lambda error: -error.texts)[:_COMMON_ERRORS]


class _Span(NamedTuple):
    """Part of a text: ``kind`` is ``for``, ``against`` or empty, ``strength`` is between 0 and 1."""

    text: str
    kind: str = ""
    strength: float = 0.0


class _Error(NamedTuple):
    id: str
    label: str
    predicted: str
    probability: float
    spans: list[_Span]
    top_words: list[tuple[str, float]]
    """Words with the largest contributions, for or against the prediction, and these contributions."""


def _errors(evaluation: Evaluation) -> list[_Error]:
    """Return the explained errors, or the most confident ones if none were explained."""
    labels, predicted = evaluation.manifest.labels, evaluation.predicted
    confidence = evaluation.probabilities[np.arange(len(predicted)), predicted]
    explained = {error.row: error.contributions for error in evaluation.insight.errors}
    wrong = np.flatnonzero(predicted != evaluation.truth)
    most_confident = [int(row) for row in wrong[np.argsort(-confidence[wrong], kind="stable")]]
    errors = []
    for row in (list(explained) or most_confident)[:_MAX_ERRORS]:
        text, contributions = evaluation.texts[row], explained.get(row, [])
        strongest = sorted(contributions, key=lambda word: -abs(word.contribution))[:_ERROR_WORDS]
        errors.append(
            _Error(
                evaluation.ids[row],
                labels[evaluation.truth[row]],
                labels[predicted[row]],
                float(confidence[row]),
                _spans(text, contributions),
                [(text[word.start : word.end], word.contribution) for word in strongest],
            )
        )
    return errors


def _spans(text: str, contributions: Sequence[WordContribution]) -> list[_Span]:
    """Split the beginning of a text into spans, of which those with a contribution are marked."""
    end = min(len(text), _ERROR_CHARACTERS)
    largest = max((abs(word.contribution) for word in contributions), default=0.0)
    spans, position = [], 0
    for word in sorted(contributions, key=lambda word: word.start):
        strength = abs(word.contribution) / largest if largest else 0.0
        if strength < _MIN_STRENGTH or word.start < position or word.end > end:
            continue
        spans.append(_Span(text[position : word.start]))
        spans.append(_Span(text[word.start : word.end], "for" if word.contribution > 0 else "against", strength))
        position = word.end
    rest = text[position:end] + ("…" if end < len(text) else "")
    return [span for span in [*spans, _Span(rest)] if span.text]


def _latencies(served: Measurement | None) -> list[tuple[int, float]]:
    """Return length in tokens and milliseconds of single texts, by length."""
    single = [speed for speed in served.speeds if speed.batch == 1] if served else []
    return sorted((speed.tokens, speed.milliseconds) for speed in single)


def _code_sha256() -> str:
    """Return the sha256 of the installed sources of all components."""
    digest, folder = hashlib.sha256(), Path(__file__).parents[1]
    for source in sorted(folder.rglob("*.py")):
        digest.update(f"{source.relative_to(folder)}\0".encode() + source.read_bytes() + b"\0")
    return digest.hexdigest()
