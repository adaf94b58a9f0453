"""The decision as one self-contained HTML page: decision first, then what it rests on."""

from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from textgate.components.contracts import Evaluation, GateDecision
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.measurement import Measurements, Merge

_ERRORS_SHOWN = 20
_ERROR_CHARACTERS = 300


def write_report(
    decision: GateDecision,
    dataset: DatasetManifest,
    evaluation: Evaluation,
    path: Path,
    measured: Measurements | None = None,
    merge: Merge | None = None,
) -> None:
    """Write the page; everything that comes from data is escaped, and nothing is loaded from elsewhere."""
    environment = Environment(
        loader=PackageLoader("textgate.components.gate", "."), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html").render(
        decision=decision,
        dataset=dataset,
        judged=evaluation.manifest,
        errors=_confident_errors(evaluation),
        measured=measured,
        merge=merge,
    )
    path.write_text(page, "utf-8")


def _confident_errors(evaluation: Evaluation) -> list[dict[str, object]]:
    """The wrong answers given with the highest probability, most confident first."""
    labels, predicted = evaluation.manifest.labels, evaluation.predicted
    confidence = evaluation.probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != evaluation.classes)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:_ERRORS_SHOWN]
    return [
        {
            "id": evaluation.ids[row],
            "text": evaluation.texts[row][:_ERROR_CHARACTERS],
            "label": labels[evaluation.classes[row]],
            "predicted": labels[predicted[row]],
            "confidence": confidence[row],
        }
        for row in worst
    ]
