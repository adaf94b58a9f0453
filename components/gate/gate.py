"""Gate step: decide, compare with the registry's champion, and write the decision, its report and the model card."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textgate.components.card.card import CardInputs, model_card
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
from textgate.components.gate.champion_rules import Champion, ServingCost
from textgate.components.gate.endpoint import endpoint_rule
from textgate.components.gate.held_out import held_out_rule, unseen_texts
from textgate.components.gate.promised_precision import check_promised_precision
from textgate.components.gate.rollback import reject_rolled_back
from textgate.components.gate.rules import judge_served, judge_trained
from textgate.components.report.report import ReportInputs, write_report
from textgate.components.storage import Registry


@dataclass(frozen=True)
class ServedModelInputs:
    """Files that gate 2 reads, each written by an earlier step."""

    dataset: Path
    """Folder of the dataset."""
    served: Path
    """Evaluation of the exported bundle."""
    trained: Path
    """Evaluation of the trained bundle, on the same texts."""
    merge: Path
    """Effect of merging an adapter, as JSON."""
    measurements: Path
    """Measurements of the export targets, as JSON."""
    exported: Path
    """Bundle that would be served."""
    sweep: Path | None = None
    """Results of a sweep, as JSON; None without one."""


@dataclass(frozen=True)
class ServedModelOutputs:
    """Files that gate 2 writes."""

    decision: Path
    """Decision as JSON."""
    report: Path
    """HTML page."""
    card: Path
    """Model card in Markdown."""


def gate_trained_model(
    dataset: Path, trained: Path, recipe: Recipe, decision: Path, report: Path, sweep: Path | None = None
) -> GateDecision:
    """Decide gate 1.

    Args:
        dataset: Folder of the dataset, for the report.
        trained: Evaluation of the trained bundle.
        recipe: The recipe.
        decision: File to write the decision to, as JSON.
        report: File to write the HTML report to.
        sweep: Results of a sweep, for the report.
    """
    evaluation = Evaluation.open(trained)
    result = judge_trained(evaluation, recipe.gate)
    _write(result, decision)
    manifest = Dataset.open(dataset).manifest
    write_report(report, ReportInputs(result, recipe, manifest, evaluation, sweep=_read_sweep(sweep)))
    return result


def gate_served_model(
    inputs: ServedModelInputs, registry: Registry, recipe: Recipe, outputs: ServedModelOutputs
) -> GateDecision:
    """Decide gate 2 against the champion of ``recipe.model`` in the registry, if there is one."""
    evaluation, trained = Evaluation.open(inputs.served), Evaluation.open(inputs.trained)
    measurements, merge = Measurements.open(inputs.measurements), MergeResult.open(inputs.merge)
    champion = _champion(registry, recipe.model, evaluation, recipe.gate, inputs)
    cost = _serving_cost(inputs.exported, recipe.gate) if champion else None
    endpoint = endpoint_rule(inputs.exported, recipe.gate.endpoint)
    unseen = unseen_texts(Dataset.open(inputs.dataset), evaluation, [inputs.exported])
    held_out = held_out_rule(Dataset.open(inputs.dataset), evaluation, unseen)
    result = judge_served(evaluation, trained, measurements, champion, recipe.gate, cost, endpoint, held_out)
    result = check_promised_precision(result, evaluation, recipe.export)
    result = reject_rolled_back(result, registry, recipe.model)
    _write(result, outputs.decision)
    dataset, sweep = Dataset.open(inputs.dataset).manifest, _read_sweep(inputs.sweep)
    write_report(outputs.report, ReportInputs(result, recipe, dataset, evaluation, trained, measurements, merge, sweep))
    manifest = inputs.exported / MANIFEST
    bundle = ModelBundle.parse(manifest.read_bytes(), str(manifest))
    count = None if unseen is None else int(unseen.sum())
    card = model_card(CardInputs(bundle, recipe, dataset, evaluation, trained, result, measurements, count))
    outputs.card.write_text(card, "utf-8")
    return result


def _champion(
    registry: Registry, model: str, evaluation: Evaluation, gate: Gate, inputs: ServedModelInputs
) -> Champion | None:
    """Return the champion with its predictions for the evaluated texts, by the runtime that serves it."""
    channel = registry.channel(model)
    if channel is None:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "champion"
        bundle: ModelBundle = registry.download(model, channel.version, folder)
        labels = evaluation.manifest.labels
        if bundle.fingerprint == evaluation.manifest.bundle or set(bundle.labels) != set(labels):
            return Champion(channel.version, bundle.fingerprint, bundle.labels)
        probabilities = np.asarray(open_predictor(folder, bundle).predict_proba(evaluation.texts))
        # The labels may have another order, as before a change of preprocess.positive.
        index = np.array([labels.index(label) for label in bundle.labels], dtype=np.int64)
        predicted = index[bundle.calibration.predict(probabilities)]
        cost = _serving_cost(folder, gate)
        unseen = unseen_texts(Dataset.open(inputs.dataset), evaluation, [folder, inputs.exported])
        ordered = probabilities[:, np.argsort(index)]
        return Champion(channel.version, bundle.fingerprint, labels, predicted, cost, unseen, ordered)


def _serving_cost(folder: Path, gate: Gate) -> ServingCost | None:
    """Return size and speed of the bundle in ``folder``; None if the gate asks for no improvement."""
    if not gate.improvement:
        return None
    bundle = ModelBundle.load(folder)
    timed = "speed" in gate.improvement
    rate = throughput(measure_speed(folder, max_benchmark_tokens(bundle))[0]) if timed else None
    return ServingCost(bundle.size, rate)


def _read_sweep(path: Path | None) -> list[Candidate]:
    return Candidates.validate_json(path.read_bytes()) if path else []


def _write(decision: GateDecision, path: Path) -> None:
    path.write_text(decision.model_dump_json(indent=2) + "\n", "utf-8")
    print(decision.message, flush=True)
