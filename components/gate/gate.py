"""Judge, read the champion where there is one, and leave the decision, its report and the run's note of it."""

import tempfile
from pathlib import Path

from textgate.components.card.card import model_card
from textgate.components.contracts import (
    Candidate,
    Candidates,
    Dataset,
    Evaluation,
    Gate,
    GateDecision,
    ModelBundle,
    Recipe,
)
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.contracts.measurement import Measurements, MergeResult, throughput
from textgate.components.families import max_benchmark_tokens, open_predictor
from textgate.components.families.speed import measure_speed
from textgate.components.gate.rules import Champion, Cost, judge_served, judge_trained
from textgate.components.report.report import write_report
from textgate.components.storage import Registry


def gate_trained_model(
    dataset: Path, trained: Path, recipe: Recipe, decision: Path, report: Path, sweep: Path | None = None
) -> GateDecision:
    """Gate 1; writes the decision as JSON to ``decision`` and the HTML page to ``report``."""
    evaluation = Evaluation.open(trained)
    result = judge_trained(evaluation, recipe.gate)
    _write(result, decision)
    write_report(report, result, recipe, Dataset.open(dataset).manifest, evaluation, sweep=_sweep(sweep))
    return result


def gate_served_model(
    dataset: Path,
    served: Path,
    trained: Path,
    merge: Path,
    measurements: Path,
    exported: Path,
    registry: Registry,
    recipe: Recipe,
    decision: Path,
    report: Path,
    card: Path,
    sweep: Path | None = None,
) -> GateDecision:
    """Gate 2, against the champion of the recipe's model in the registry; writes the model card too, to ``card``.

    ``exported`` is the bundle that would be served: it is timed beside the champion where ``gate.improvement`` names
    speed.
    """
    evaluation, before, measured = Evaluation.open(served), Evaluation.open(trained), Measurements.open(measurements)
    champion = _champion(registry, recipe.model, evaluation, recipe.gate)
    cost = _cost(exported, recipe.gate) if champion else None
    result = judge_served(evaluation, before, measured, champion, recipe.gate, cost)
    _write(result, decision)
    data = Dataset.open(dataset).manifest
    write_report(
        report, result, recipe, data, evaluation, before, measured, MergeResult.open(merge), sweep=_sweep(sweep)
    )
    bundle = ModelBundle.parse((exported / MANIFEST).read_bytes(), str(exported / MANIFEST))
    card.write_text(model_card(bundle, recipe, data, evaluation, before, result, measured), "utf-8")
    return result


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
        predicted = bundle.calibration.predict(open_predictor(folder, bundle).predict_proba(evaluation.texts))
        return Champion(move.version, bundle.fingerprint, bundle.labels, predicted, _cost(folder, gate))


def _cost(folder: Path, gate: Gate) -> Cost | None:
    """None where the gate asks for no improvement, which is all it is compared for."""
    if not gate.improvement:
        return None
    bundle = ModelBundle.load(folder)
    timed = "speed" in gate.improvement
    rate = throughput(measure_speed(folder, max_benchmark_tokens(bundle))[0]) if timed else None
    return Cost(bundle.size, rate)


def _sweep(table: Path | None) -> list[Candidate]:
    return Candidates.validate_json(table.read_bytes()) if table else []


def _write(decision: GateDecision, file: Path) -> None:
    file.write_text(decision.model_dump_json(indent=2) + "\n", "utf-8")
    print(decision.message, flush=True)
