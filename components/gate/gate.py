"""Judge, read the champion where there is one, and leave the decision, its report and the run's note of it."""

import tempfile
from pathlib import Path

from textgate.components.contracts import Dataset, Evaluation, Gate, GateDecision, ModelBundle
from textgate.components.contracts.measurement import Measurements
from textgate.components.gate.report import write_report
from textgate.components.gate.rules import Champion, judge_served, judge_trained
from textgate.components.storage import Registry
from textgate.serving import load


def gate_trained_model(dataset: Path, trained: Path, gate: Gate, decision: Path, report: Path) -> GateDecision:
    """Gate 1; writes the decision as JSON to ``decision`` and the HTML page to ``report``."""
    evaluation = Evaluation.open(trained)
    return _write(judge_trained(evaluation, gate), Dataset.open(dataset), evaluation, decision, report)


def gate_served_model(
    dataset: Path,
    served: Path,
    trained: Path,
    measurements: Path,
    registry: Registry,
    model: str,
    gate: Gate,
    decision: Path,
    report: Path,
) -> GateDecision:
    """Gate 2, against the champion of ``model`` in the registry; writes as ``gate_trained_model`` does."""
    evaluation, measured = Evaluation.open(served), Measurements.open(measurements)
    champion = _champion(registry, model, evaluation)
    result = judge_served(evaluation, Evaluation.open(trained), measured.max_f1_loss, champion, gate)
    return _write(result, Dataset.open(dataset), evaluation, decision, report, measured)


def _champion(registry: Registry, model: str, evaluation: Evaluation) -> Champion | None:
    """The champion's answers to the evaluated texts, by the runtime that serves it."""
    move = registry.channel(model)
    if move is None:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "champion"
        bundle: ModelBundle = registry.download(model, move.version, folder)
        same = bundle.fingerprint == evaluation.manifest.bundle
        comparable = bundle.labels == evaluation.manifest.labels
        answers = load(folder).predict(evaluation.texts) if comparable and not same else None
    predicted = None if answers is None else bundle.calibration.classes(answers)
    return Champion(move.version, bundle.fingerprint, bundle.labels, predicted)


def _write(
    decision: GateDecision,
    dataset: Dataset,
    evaluation: Evaluation,
    decision_file: Path,
    report_file: Path,
    measured: Measurements | None = None,
) -> GateDecision:
    write_report(decision, dataset.manifest, evaluation, report_file, measured)
    decision_file.write_text(decision.model_dump_json(indent=2) + "\n", "utf-8")
    print(decision.words, flush=True)
    return decision
