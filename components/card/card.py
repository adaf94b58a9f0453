"""The model card: what a model is for, what was found out about it and what it cost, for whoever has only the model.

Mitchell et al., "Model Cards for Model Reporting" (2019, arXiv:1810.03993), in Hugging Face's format.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from textgate.components.card.energy import ACCELERATOR_WATTS, GRAMS_PER_KWH, PROCESSOR_WATTS, Energy
from textgate.components.card.limits import in_words, limits, percent
from textgate.components.card.markdown import Markdown, bullets, code, fenced, table, text
from textgate.components.card.metadata import metadata
from textgate.components.card.public import public_address, public_settings
from textgate.components.card.snippets import with_onnxruntime, with_textgate
from textgate.components.contracts import (
    Estimate,
    Evaluation,
    EvaluationManifest,
    GateDecision,
    Insight,
    ModelBundle,
    OnnxRuntime,
    Recipe,
    TransformersRuntime,
    duration,
)
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.measurement import Measurement, Measurements
from textgate.components.metrics import METRICS

_VERSION_CHARACTERS = 12
_TELLING_WORDS = 10
_BOUNDS = ["Value", "From", "To"]


def model_card(
    bundle: ModelBundle,
    recipe: Recipe,
    dataset: DatasetManifest,
    evaluation: Evaluation,
    trained: Evaluation,
    decision: GateDecision,
    measured: Measurements,
) -> str:
    """The card of ``bundle``, which ``decision`` is about.

    ``evaluation`` is what the bundle answered, ``trained`` what the model did before it was exported, ``measured`` what
    each form of it costs. No text of the data is in the card but its telling words; of addresses, what may be public.
    """
    judged = evaluation.manifest
    cost = judged.training_cost or trained.manifest.training_cost
    energy = Energy.of(cost, recipe) if cost else None
    settings = public_settings(recipe.model_dump(mode="json", exclude_none=True) | bundle.recipe)
    return _template().render(
        metadata=Markdown(metadata(bundle, recipe, judged, energy)),
        bundle=bundle,
        version=bundle.fingerprint[:_VERSION_CHARACTERS],
        recipe=recipe,
        source=public_address(recipe.source.uri),
        dataset=dataset,
        judged=judged,
        before=trained.manifest,
        decision=decision,
        labels=Markdown(", ".join(text(label) for label in bundle.labels)),
        served_here=not isinstance(bundle.runtime, TransformersRuntime),
        snippet=with_textgate(bundle),
        onnx=with_onnxruntime(bundle, bundle.runtime) if isinstance(bundle.runtime, OnnxRuntime) else None,
        around=_around(bundle),
        counts=table(
            ["Split", *dataset.labels],
            [
                [split, *(_thousands(labels.get(name, 0)) for name in dataset.labels)]
                for split, labels in dataset.counts.items()
            ],
        ),
        rejected=table(["Reason", "Rows"], [[reason, _thousands(rows)] for reason, rows in dataset.rejected.items()]),
        rules=bullets(f"{'Holds' if rule.passed else 'Fails'}: {rule.message}." for rule in decision.rules),
        metrics=table(
            ["Metric", *_BOUNDS], [[METRICS.get(name, name), *_cells(found)] for name, found in judged.metrics.items()]
        ),
        classes=_classes(judged),
        confusion=table(
            ["True label", *judged.labels],
            [[label, *map(_thousands, row)] for label, row in zip(judged.labels, judged.confusion, strict=True)],
        ),
        slices=table(
            ["Column", "Slice", "Texts", "Accuracy", "From", "To", "F1", "From", "To"],
            [
                [part.column, part.value, _thousands(part.rows), *_cells(part.accuracy), *_cells(part.f1)]
                for part in judged.slices
            ],
            words=2,
        ),
        robustness=table(
            ["Written with", "Texts", "Other answers", "F1 before", "F1", "Difference", "From", "To"],
            [
                [
                    *(tried.perturbation, _thousands(tried.rows), percent(tried.changed)),
                    *(f"{tried.f1_before.value:.4f}", f"{tried.f1.value:.4f}", *_cells(tried.f1_difference, "+.4f")),
                ]
                for tried in judged.robustness
            ],
        ),
        domains=table(
            ["Data set", "Texts", "F1", "From", "To", "Accuracy", "From", "To"],
            [
                [there.name, _thousands(there.rows), *_cells(there.f1), *_cells(there.accuracy)]
                for there in judged.out_of_domain
            ],
        ),
        limits=bullets(limits(bundle, judged)),
        telling=_telling_words(evaluation.insight),
        settings=table(
            ["Setting", "Value"], [[name, value] for name, value in _flat(settings.get("train", {}))], words=2
        ),
        serving=_serving_cost(measured) if measured.targets else None,
        cost=cost,
        energy=energy,
        processor_watts=PROCESSOR_WATTS,
        accelerator_watts=ACCELERATOR_WATTS,
        grams_per_kwh=GRAMS_PER_KWH,
        versions=table(["Library", "Version"], sorted(bundle.versions.items()), words=2),
        yaml=fenced(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=120), "yaml"),
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
        autoescape=False,  # noqa: S701 (HTML's; ``finalize`` escapes for Markdown)
    )
    environment.filters |= {
        "code": code,
        "duration": duration,
        "figure": _figure,
        "in_words": in_words,
        "thousands": _thousands,
    }
    return environment.get_template("card.md")


def _classes(judged: EvaluationManifest) -> Markdown:
    names = [f"{name}{bound}" for name in ("Precision", "Recall", "F1") for bound in ("", " from", " to")]
    return table(
        ["Label", "Texts", *names],
        [
            [label, _thousands(found.rows), *_cells(found.precision), *_cells(found.recall), *_cells(found.f1)]
            for label, found in judged.per_class.items()
        ],
    )


def _serving_cost(measured: Measurements) -> Markdown:
    columns = ["Form", "MB", "Texts a second", "Peak MB", "F1", "Agreement with the trained model", "Served"]
    return table(columns, [_target(found, found.target == measured.served) for found in measured.targets])


def _target(found: Measurement, served: bool) -> list[str]:
    return [
        found.target,
        f"{found.bytes / 1e6:,.1f}",
        f"{found.texts_per_second:,.0f}",
        f"{found.peak_memory / 1e6:,.0f}",
        f"{found.f1.value:.4f}",
        f"{found.agreement:.4f}",
        "yes" if served else "no",
    ]


def _telling_words(insight: Insight) -> Markdown:
    return bullets(
        f"{label}: " + ", ".join(f"{found.word} ({found.contribution:+.2f})" for found in words[:_TELLING_WORDS])
        for label, words in insight.top_words.items()
        if words
    )


def _around(bundle: ModelBundle) -> str:
    """What happens to a text before the model sees it, and to the model's answer after."""
    cleaning = ", ".join(
        f"{name} {json.dumps(value)}" for name, value in bundle.normalizer.model_dump().items() if value
    )
    calibration = bundle.calibration
    sentences = [f"Texts are cleaned first as the normalizer of bundle.json says: {cleaning or 'not at all'}."]
    if calibration.temperature != 1:
        sentences.append(
            f"Probabilities are brought to the temperature {calibration.temperature:.4g}, "
            "fitted on the validation split."
        )
    if calibration.threshold is not None:
        sentences.append(f"{bundle.labels[1]} is answered from the probability {calibration.threshold:.4f} on.")
    return " ".join(sentences)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings as the command line names them, ``head.kind``."""
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cells(estimate: Estimate, form: str = ".4f") -> list[str]:
    return [format(number, form) for number in (estimate.value, estimate.low, estimate.high)]


def _thousands(rows: int) -> str:
    return f"{rows:,}"


def _figure(number: float) -> str:
    """Two digits that count, or whole numbers."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}"
