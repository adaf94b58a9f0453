"""Judge, read the champion where there is one, and leave the decision, its report and the run's note of it."""

import tempfile
from pathlib import Path

from textgate.components.contracts import Dataset, Evaluation, Gate, GateDecision, ModelBundle
from textgate.components.contracts.measurement import Measurements, Merge, throughput
from textgate.components.families import longest_served, open_predictor
from textgate.components.families.speed import measure_speed
from textgate.components.gate.report import write_report
from textgate.components.gate.rules import Champion, Cost, judge_served, judge_trained
from textgate.components.storage import Registry


def gate_trained_model(dataset: Path, trained: Path, gate: Gate, decision: Path, report: Path) -> GateDecision:
    """Gate 1; writes the decision as JSON to ``decision`` and the HTML page to ``report``."""
    evaluation = Evaluation.open(trained)
    return _write(judge_trained(evaluation, gate), Dataset.open(dataset), evaluation, decision, report)


def gate_served_model(
    dataset: Path,
    served: Path,
    trained: Path,
    merge: Path,
    measurements: Path,
    exported: Path,
    registry: Registry,
    model: str,
    gate: Gate,
    decision: Path,
    report: Path,
) -> GateDecision:
    """Gate 2, against the champion of ``model`` in the registry; writes as ``gate_trained_model`` does.

    ``exported`` is the bundle that would be served: it is timed beside the champion where ``gate.improvement`` names
    speed.
    """
    evaluation, measured = Evaluation.open(served), Measurements.open(measurements)
    champion = _champion(registry, model, evaluation, gate)
    cost = _cost(exported, gate) if champion else None
    result = judge_served(evaluation, Evaluation.open(trained), measured, champion, gate, cost)
    return _write(result, Dataset.open(dataset), evaluation, decision, report, measured, Merge.open(merge))


def _champion(registry: Registry, model: str, evaluation: Evaluation, gate: Gate) -> Champion | None:
    """The champion's answers to the evaluated texts, by the runtime that serves it."""
    move = registry.channel(model)
    if move is None:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "champion"
        bundle: ModelBundle = registry.download(model, move.version, folder)
        same = bundle.fingerprint == evaluation.manifest.bundle
        comparable = bundle.labels == evaluation.manifest.labels
        if same or not comparable:
            return Champion(move.version, bundle.fingerprint, bundle.labels)
        predicted = bundle.calibration.classes(open_predictor(folder, bundle).predict(evaluation.texts))
        return Champion(move.version, bundle.fingerprint, bundle.labels, predicted, _cost(folder, gate))


def _cost(folder: Path, gate: Gate) -> Cost | None:
    """None where the gate asks for no improvement, which is all it is compared for."""
    if not gate.improvement:
        return None
    bundle = ModelBundle.load(folder)
    timed = "speed" in gate.improvement
    rate = throughput(measure_speed(folder, longest_served(bundle))[0]) if timed else None
    return Cost(bundle.size, rate)


def _write(
    decision: GateDecision,
    dataset: Dataset,
    evaluation: Evaluation,
    decision_file: Path,
    report_file: Path,
    measured: Measurements | None = None,
    merge: Merge | None = None,
) -> GateDecision:
    write_report(decision, dataset.manifest, evaluation, report_file, measured, merge)
    decision_file.write_text(decision.model_dump_json(indent=2) + "\n", "utf-8")
    print(decision.words, flush=True)
    return decision
