"""What is logged of a finished run: its recipe, the scores, the gates' decisions, the report and the bundle."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from textgate.components.card.public import public_settings
from textgate.components.contracts import Estimate, EvaluationManifest, GateDecision, RunRecord, redact
from textgate.components.storage import Store
from textgate.components.storage.runs import load_evaluation, load_report
from textgate.components.tracking.services import configured_services
from textgate.components.tracking.tracked_run import RunIdentity, TrackedRun


@dataclass(frozen=True)
class RunResult:
    """Result of a pipeline run."""

    parameters: dict[str, Any]
    """Values of the recipe by key, such as ``train.learning_rate``, without passwords, signatures and local paths."""
    metrics: dict[str, float]
    """Scores of the served model (``test/f1``, with ``_low`` and ``_high``) and values of the gates' rules
    (``gate_served/min_f1/value`` with ``low``, ``high``, ``threshold`` and ``passed``)."""
    tags: dict[str, str]
    """Verdict, model, version, address and fingerprint of the bundle, and the like."""
    report: str | None
    """Path of the report, an HTML page; None if no gate was reached."""
    failed: bool
    """Whether the run failed; a rejected model is no failure."""


def track_finished_run(record: RunRecord, store: Store) -> None:
    """Log a finished run to the configured services; a service that fails costs a warning."""
    if not configured_services():
        return
    run = TrackedRun(RunIdentity(f"{record.recipe['name']} {record.run}", record.run, record.run))
    with tempfile.TemporaryDirectory() as folder:
        report = None
        if (page := load_report(store, record.run)) is not None:
            report = Path(folder) / "report.html"
            report.write_bytes(page)
        run.finish(**asdict(run_result(record, load_evaluation(store, record.run), store, report)))
        run.close()


def run_result(
    record: RunRecord, evaluation: EvaluationManifest | None, store: Store, report: Path | None
) -> RunResult:
    """Return the result of a run from its record and the evaluation of its served model."""
    metrics = dict(_scores(evaluation)) if evaluation else {}
    for decision in record.decisions:
        metrics.update(_rules(decision))
    return RunResult(
        parameters=dict(_flat(public_settings(record.recipe))),
        metrics=metrics,
        tags=_tags(record, store),
        report=str(report) if report else None,
        failed=record.state != "SUCCEEDED",
    )


def _scores(evaluation: EvaluationManifest) -> Iterator[tuple[str, float]]:
    for name, estimate in evaluation.metrics.items():
        yield f"test/{name}", estimate.value
        yield from _interval(f"test/{name}_", estimate)
    if cost := evaluation.training_cost:
        yield "training/seconds", cost.seconds
        yield "training/peak_memory", cost.peak_memory


def _rules(decision: GateDecision) -> Iterator[tuple[str, float]]:
    seen: Counter[str] = Counter()
    for rule in decision.rules:
        seen[rule.name] += 1
        # Several slices have the same rule.
        name = rule.name if seen[rule.name] == 1 else f"{rule.name}_{seen[rule.name]}"
        key = f"gate_{decision.gate}/{name}/"
        yield f"{key}passed", float(rule.passed)
        if rule.threshold is not None:
            yield f"{key}threshold", rule.threshold
        if rule.value is not None:
            yield f"{key}value", rule.value.value
            yield from _interval(key, rule.value)


def _interval(prefix: str, estimate: Estimate) -> Iterator[tuple[str, float]]:
    if not estimate.withheld:
        yield f"{prefix}low", estimate.low
        yield f"{prefix}high", estimate.high


def _tags(record: RunRecord, store: Store) -> dict[str, str]:
    """Return the tags that are known."""
    last = record.decisions[-1] if record.decisions else None
    promotion = record.promotion
    tags = {
        "model": record.recipe["model"],
        "recipe": record.recipe["name"],
        "state": record.state,
        "error": record.error,
        "verdict": last and last.verdict,
        "decision": last and last.message,
        "bundle_fingerprint": last and last.bundle,
        "dataset_fingerprint": last and last.dataset,
        "source_version": record.source_version,
        "version": promotion and promotion.version,
        "previous_version": promotion and promotion.previous,
        "bundle": promotion and store.uri(f"models/{promotion.model}/versions/{promotion.version}/"),
        "record": store.uri(f"runs/{record.run}/record.json"),
    }
    return {name: redact(value) for name, value in tags.items() if value}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested settings by dotted key; None and empty values are left out."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value not in (None, [], ""):
            yield f"{prefix}{key}", redact(value) if isinstance(value, str) else value
