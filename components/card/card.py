"""Model card: intended use, limitations, evaluation and costs of a model, in Hugging Face's format.

Mitchell et al., "Model Cards for Model Reporting" (2019, arXiv:1810.03993).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from textgate.components.card.energy import ACCELERATOR_WATTS, CORE_WATTS, GRAMS_PER_KWH, Energy
from textgate.components.card.limits import limits
from textgate.components.card.markdown import Markdown, bullets, code, fenced, table, text
from textgate.components.card.metadata import metadata
from textgate.components.card.public import public_address, public_settings
from textgate.components.card.snippets import onnxruntime_snippet, textgate_snippet
from textgate.components.contracts import (
    EnsembleTraining,
    Estimate,
    Evaluation,
    EvaluationManifest,
    GateDecision,
    Insight,
    ModelBundle,
    OnnxRuntime,
    Recipe,
    TrainingCost,
    TransformersRuntime,
    bundle_references,
    duration,
)
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.earlier_trainings import with_earlier
from textgate.components.contracts.formatting import count, percent, signed, with_interval
from textgate.components.contracts.measurement import Measurements
from textgate.components.contracts.metric_names import metric_title
from textgate.components.metrics import METRICS

_VERSION_CHARACTERS = 12
_TOP_WORDS = 10


@dataclass(frozen=True)
class CardInputs:
    """Results of the steps that the model card shows."""

    bundle: ModelBundle
    recipe: Recipe
    dataset: DatasetManifest
    evaluation: Evaluation
    """Evaluation of ``bundle``."""
    trained: Evaluation
    """Evaluation of the model before export."""
    decision: GateDecision
    """Decision on ``bundle``."""
    measurements: Measurements
    """Accuracy and cost of the export targets."""
    unseen: int | None
    """Number of evaluated texts that neither the model nor its members or its teacher were trained or validated on;
    None if that is unknown."""


def model_card(inputs: CardInputs) -> str:
    """Return the model card of a bundle.

    It contains no text of the data except the top words, and only the public part of addresses.
    """
    bundle, recipe, evaluation = inputs.bundle, inputs.recipe, inputs.evaluation.manifest
    cost = evaluation.training_cost or inputs.trained.manifest.training_cost
    cost = with_earlier(cost, recipe.train) if cost else None
    energy = Energy.of(cost, recipe) if cost else None
    settings = public_settings(recipe.model_dump(mode="json", exclude_none=True) | bundle.recipe)
    train_settings = [[name, value] for name, value in _flatten(settings.get("train", {}))]
    return _template().render(
        metadata=Markdown(metadata(bundle, recipe, evaluation, energy)),
        bundle=bundle,
        version=bundle.fingerprint[:_VERSION_CHARACTERS],
        recipe=recipe,
        source=", ".join(public_address(source.uri) for source in recipe.source.sources.values()),
        dataset=inputs.dataset,
        evaluation=evaluation,
        f1_title=metric_title("f1", bundle.labels),
        trained=inputs.trained.manifest,
        decision=inputs.decision,
        labels=Markdown(", ".join(text(label) for label in bundle.labels)),
        usable_with_textgate=not isinstance(bundle.runtime, TransformersRuntime),
        textgate_snippet=textgate_snippet(),
        onnx_snippet=onnxruntime_snippet(bundle, bundle.runtime) if isinstance(bundle.runtime, OnnxRuntime) else None,
        processing=_processing(bundle),
        class_counts=_class_counts(inputs.dataset),
        rejected_rows=table(["Reason", "Rows"], [[name, count(n)] for name, n in inputs.dataset.rejected.items()]),
        rules=bullets(f"{'Passed' if rule.passed else 'Failed'}: {rule.message}." for rule in inputs.decision.rules),
        metrics=_metrics(evaluation),
        class_scores=_class_scores(evaluation),
        confusion=_confusion(evaluation),
        slices=_slices(evaluation),
        robustness=_robustness(evaluation),
        out_of_domain=_out_of_domain(evaluation),
        limits=bullets(limits(bundle, evaluation)),
        top_words=_top_words(inputs.evaluation.insight),
        train_settings=table(["Setting", "Value"], train_settings, text_columns=2),
        export_targets=_export_targets(inputs.measurements) if inputs.measurements.targets else None,
        cost=cost,
        energy=energy,
        held_out=_held_out(inputs),
        public_address=public_address,
        cost_note=cost.note(public_address) if cost else "",
        teachers=_teachers(cost, recipe) if cost else [],
        core_watts=CORE_WATTS,
        accelerator_watts=ACCELERATOR_WATTS,
        grams_per_kwh=GRAMS_PER_KWH,
        versions=table(["Library", "Version"], sorted(bundle.versions.items()), text_columns=2),
        recipe_yaml=fenced(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=120), "yaml"),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("textgate.components.card", "."),
        finalize=text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (this is HTML's; ``finalize`` escapes for Markdown)
    )
    environment.filters |= {
        "code": code,
        "duration": duration,
        "two_digits": _two_digits,
        "with_interval": with_interval,
        "count": count,
    }
    return environment.get_template("card.md")


def _held_out(inputs: CardInputs) -> str:
    """Return a sentence on how many of the evaluated texts were not used in training."""
    training, rows = inputs.recipe.train, sum(map(sum, inputs.evaluation.manifest.confusion))
    others = "members" if isinstance(training, EnsembleTraining) else "teacher" if bundle_references(training) else None
    models = f"the model and of its {others}" if others else "the model"
    if inputs.unseen is None:
        return f"How many of its {count(rows)} texts were used in training or validation of {models} is unknown."
    return f"Of its {count(rows)} texts, {count(inputs.unseen)} were not used in training or validation of {models}" + (
        ", and the others were: the scores are too high." if inputs.unseen < rows else "."
    )


def _teachers(cost: TrainingCost, recipe: Recipe) -> list[tuple[str, TrainingCost, Energy]]:
    """Return name, cost and energy of the teachers whose cost is known."""
    return [
        (public_address(each.bundle), each.cost, Energy.of(each.cost, recipe)) for each in cost.teachers if each.cost
    ]


def _class_counts(dataset: DatasetManifest) -> Markdown:
    rows = [
        [split, *(count(counts.get(name, 0)) for name in dataset.labels)] for split, counts in dataset.counts.items()
    ]
    return table(["Split", *dataset.labels], rows)


def _metrics(evaluation: EvaluationManifest) -> Markdown:
    rows = [[METRICS.get(name, name), *_cells(estimate)] for name, estimate in evaluation.metrics.items()]
    return table(["Metric", "Value", "From", "To"], rows)


def _class_scores(evaluation: EvaluationManifest) -> Markdown:
    names = [f"{name}{bound}" for name in ("Precision", "Recall", "F1") for bound in ("", " from", " to")]
    rows = [
        [label, count(scores.rows), *_cells(scores.precision), *_cells(scores.recall), *_cells(scores.f1)]
        for label, scores in evaluation.per_class.items()
    ]
    return table(["Label", "Texts", *names], rows)


def _confusion(evaluation: EvaluationManifest) -> Markdown:
    rows = [[label, *map(count, row)] for label, row in zip(evaluation.labels, evaluation.confusion, strict=True)]
    return table(["True label", *evaluation.labels], rows)


def _slices(evaluation: EvaluationManifest) -> Markdown:
    columns = ["Column", "Slice", "Texts", "Accuracy", "From", "To", "F1", "From", "To", "Worse than the rest"]
    rows = [
        [
            each.column,
            each.value,
            count(each.rows),
            *_cells(each.accuracy),
            *(_cells(each.f1) if each.f1 else ["one label", "", ""]),
            "yes" if each.is_worse else "no",
        ]
        for each in evaluation.slices
    ]
    return table(columns, rows, text_columns=2)


def _robustness(evaluation: EvaluationManifest) -> Markdown:
    columns = ["Perturbation", "Texts", "Changed predictions", "F1 before", "F1 after", "Difference", "From", "To"]
    rows = []
    for result in evaluation.robustness:
        f1 = [f"{result.f1_before.value:.4f}", f"{result.f1.value:.4f}"]
        difference = [signed(number) for number in _numbers(result.f1_difference)]
        rows.append([result.perturbation, count(result.rows), percent(result.changed), *f1, *difference])
    return table(columns, rows)


def _out_of_domain(evaluation: EvaluationManifest) -> Markdown:
    columns = ["Data set", "Texts", "F1", "From", "To", "Accuracy", "From", "To"]
    rows = [
        [each.name, count(each.rows), *_cells(each.f1), *_cells(each.accuracy)] for each in evaluation.out_of_domain
    ]
    return table(columns, rows)


def _export_targets(measurements: Measurements) -> Markdown:
    split = measurements.targets[0].split
    columns = ["Export target", "MB", "Texts per second", "Peak MB", f"F1 ({split})", f"Agreement ({split})", "Served"]
    rows = [
        [
            target.target,
            f"{target.bytes / 1e6:,.1f}",
            count(target.texts_per_second),
            count(target.peak_memory / 1e6),
            f"{target.f1.value:.4f}",
            f"{target.agreement:.4f}",
            "yes" if target.target == measurements.served else "no",
        ]
        for target in measurements.targets
    ]
    return table(columns, rows)


def _top_words(insight: Insight) -> Markdown:
    return bullets(
        f"{label}: " + ", ".join(f"{word.word} ({signed(word.contribution, 2)})" for word in words[:_TOP_WORDS])
        for label, words in insight.top_words.items()
        if words
    )


def _processing(bundle: ModelBundle) -> str:
    """Return sentences on the normalization of a text and the calibration of the prediction."""
    cleaning = ", ".join(
        f"{name} {json.dumps(value)}" for name, value in bundle.normalizer.model_dump().items() if value
    )
    calibration = bundle.calibration
    sentences = [f"Texts are normalized first (normalizer of bundle.json): {cleaning or 'unchanged'}."]
    if calibration.temperature != 1:
        sentences.append(
            f"Probabilities are calibrated by temperature scaling (T = {calibration.temperature:.4g}, fitted on the "
            "validation split)."
        )
    if calibration.threshold is not None:
        sentences.append(f"{bundle.labels[1]} is predicted from a probability of {calibration.threshold:.4f}.")
    return " ".join(sentences)


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted keys, such as ``head.kind``, and values of nested settings."""
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cells(estimate: Estimate) -> list[str]:
    if estimate.withheld:
        return [f"{estimate.value:.4f}", "no interval", estimate.withheld]
    value, low, high = (f"{number:.4f}" for number in _numbers(estimate))
    return [value, low, high + estimate.mark]


def _numbers(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _two_digits(number: float) -> str:
    """Format a number with two significant digits, or as a whole number from 100."""
    return count(number) if number >= 100 else f"{number:.2g}"
