"""Gate step: decide, compare with the registry's champion, and write the decision, its report and the model card."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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
    Rule,
    write_file,
)
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.label_issues import LabelIssues
from textgate.components.contracts.measurement import Measurements, MergeResult, throughput
from textgate.components.contracts.text_keys import TRAINED_ON
from textgate.components.families import max_benchmark_tokens, open_predictor
from textgate.components.families.speed import measure_speed
from textgate.components.gate.champion import current_champion
from textgate.components.gate.champion_rules import Champion, ServingCost
from textgate.components.gate.data_rules import data_rules
from textgate.components.gate.endpoint import endpoint_rule
from textgate.components.gate.held_out import held_out_rule, unseen_texts
from textgate.components.gate.limits import cost_rules, robustness_rules, slice_rules
from textgate.components.gate.promised_precision import check_promised_precision
from textgate.components.gate.reference import check_reference
from textgate.components.gate.rollback import reject_rolled_back
from textgate.components.gate.rules import judge_served, judge_trained
from textgate.components.gate.split_uses import PresentUse
from textgate.components.report.report import ReportInputs, write_report
from textgate.components.storage import Registry, reference_version


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
    label_issues: Path | None = None
    """Training texts whose label looks wrong; None if they were not looked for."""
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
    dataset: Path,
    trained: Path,
    registry: Registry,
    recipe: Recipe,
    run: str,
    decision: Path,
    report: Path,
    label_issues: Path | None = None,
    sweep: Path | None = None,
    changes: Sequence[str] = (),
) -> GateDecision:
    """Decide gate 1.

    Args:
        dataset: Folder of the dataset.
        trained: Evaluation of the trained bundle.
        registry: Registry that counts the uses of the test split.
        recipe: The recipe.
        run: Name of the run.
        decision: File to write the decision to, as JSON.
        report: File to write the HTML report to.
        label_issues: Training texts whose label looks wrong; None if they were not looked for.
        sweep: Results of a sweep, for the report.
        changes: Values of the recipe that were changed for this run.
    """
    evaluation = Evaluation.open(trained)
    opened, gate = Dataset.open(dataset), recipe.gate
    use = PresentUse.open(registry.judgements(recipe.model), run, opened, [evaluation])
    result = use.record(judge_trained(evaluation, gate))
    manifest, issues = opened.manifest, _open_label_issues(label_issues)
    rules = data_rules(manifest, gate, issues.manifest if issues else None)
    result = result.with_rules([*slice_rules("the trained model", evaluation, gate), *rules]).with_changes(changes)
    _write(result, decision)
    inputs = ReportInputs(result, recipe, manifest, evaluation, sweep=_read_sweep(sweep), label_issues=issues)
    write_report(report, inputs)
    return result


def gate_served_model(
    inputs: ServedModelInputs,
    registry: Registry,
    recipe: Recipe,
    run: str,
    outputs: ServedModelOutputs,
    changes: Sequence[str] = (),
) -> GateDecision:
    """Decide gate 2 against the champion and the reference of ``recipe.model`` in the registry, if there are any.

    Args:
        inputs: Files to read.
        registry: Registry with the champion, the reference and the uses of the test split.
        recipe: The recipe.
        run: Name of the run.
        outputs: Files to write.
        changes: Values of the recipe that were changed for this run.
    """
    evaluation, trained = Evaluation.open(inputs.served), Evaluation.open(inputs.trained)
    measurements, merge = Measurements.open(inputs.measurements), MergeResult.open(inputs.merge)
    dataset, sweep, gate = Dataset.open(inputs.dataset), _read_sweep(inputs.sweep), recipe.gate
    load = partial(_load, registry, recipe.model, evaluation, inputs)
    bundle = evaluation.manifest.bundle
    current = current_champion(registry, recipe.model, run, bundle, partial(load, improvement=gate.improvement))
    champion = current.compared
    cost = _serving_cost(inputs.exported, gate.improvement) if champion else None
    endpoint = endpoint_rule(inputs.exported, gate.endpoint)
    unseen = unseen_texts(dataset, evaluation, [inputs.exported])
    held_out = held_out_rule(dataset, evaluation, unseen)
    use = PresentUse.open(registry.judgements(recipe.model), run, dataset, [trained, evaluation])
    result = judge_served(evaluation, trained, measurements, champion, gate, cost, endpoint, held_out, use.full_uses)
    result = current.state_damage(result)
    reference = reference_version(registry, recipe.model)
    result = use.record(check_reference(result, evaluation, champion, reference, load, recipe))
    result = check_promised_precision(result, evaluation, recipe.export)
    result = reject_rolled_back(result, registry, recipe.model)
    issues = _open_label_issues(inputs.label_issues)
    result = result.with_rules(_limit_rules(evaluation, measurements, dataset.manifest, issues, gate))
    result = result.with_changes(changes)
    _write(result, outputs.decision)
    report = ReportInputs(result, recipe, dataset.manifest, evaluation, trained, measurements, merge, sweep, issues)
    write_report(outputs.report, report)
    manifest = inputs.exported / MANIFEST
    exported = ModelBundle.parse(manifest.read_bytes(), str(manifest))
    count = None if unseen is None else int(unseen.sum())
    card = CardInputs(exported, recipe, dataset.manifest, evaluation, trained, result, measurements, count)
    write_file(outputs.card, model_card(card))
    return result


def _limit_rules(
    served: Evaluation,
    measurements: Measurements,
    dataset: DatasetManifest,
    issues: LabelIssues | None,
    gate: Gate,
) -> Iterator[Rule]:
    """Yield the rules of gate 2 on the serving cost, robustness, slices and data."""
    yield from cost_rules(measurements, gate)
    yield from robustness_rules(served, gate)
    yield from slice_rules("the served model", served, gate)
    yield from data_rules(dataset, gate, issues.manifest if issues else None)


def _load(
    registry: Registry,
    model: str,
    evaluation: Evaluation,
    inputs: ServedModelInputs,
    version: str,
    improvement: Sequence[str] = (),
) -> Champion:
    """Return a version of the model with its predictions for the evaluated texts, by the runtime that serves it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "champion"
        bundle: ModelBundle = registry.download(model, version, folder)
        labels = evaluation.manifest.labels
        if bundle.fingerprint == evaluation.manifest.bundle or set(bundle.labels) != set(labels):
            return Champion(version, bundle.fingerprint, bundle.labels)
        probabilities = np.asarray(open_predictor(folder, bundle).predict_proba(evaluation.texts))
        # The labels may have another order, as before a change of preprocess.positive.
        index = np.array([labels.index(label) for label in bundle.labels], dtype=np.int64)
        return Champion(
            version,
            bundle.fingerprint,
            labels,
            predicted=index[bundle.calibration.predict(probabilities)],
            cost=_serving_cost(folder, improvement),
            unseen=unseen_texts(Dataset.open(inputs.dataset), evaluation, [folder, inputs.exported]),
            probabilities=probabilities[:, np.argsort(index)],
            trained_on_known=(folder / TRAINED_ON).is_file(),
        )


def _serving_cost(folder: Path, improvement: Sequence[str]) -> ServingCost | None:
    """Return size and speed of the bundle in ``folder``; None if the gate asks for no improvement."""
    if not improvement:
        return None
    bundle = ModelBundle.load(folder)
    timed = "speed" in improvement
    rate = throughput(measure_speed(folder, max_benchmark_tokens(bundle)).speeds) if timed else None
    return ServingCost(bundle.size, rate)


def _open_label_issues(path: Path | None) -> LabelIssues | None:
    return LabelIssues.open(path) if path else None


def _read_sweep(path: Path | None) -> list[Candidate]:
    return Candidates.validate_json(path.read_bytes()) if path else []


def _write(decision: GateDecision, path: Path) -> None:
    write_file(path, decision.model_dump_json(indent=2) + "\n")
    print(decision.message, flush=True)
