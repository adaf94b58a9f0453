"""Result of a run as JSON and as lines for a terminal, and the exit codes of commands that run a pipeline."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from textgate.components.contracts import JudgedScore, RunRecord, redact
from textgate.components.contracts.dataset import DatasetManifest
from textgate.pipelines.terminal import Console

if TYPE_CHECKING:
    from textgate.pipelines.runners.run_log import StepResult

EXIT_FAILED, EXIT_REJECTED = 1, 3


@contextmanager
def exit_on_failure(*errors: type[Exception]) -> Iterator[None]:
    """Exit with code 1 and one sentence if one of ``errors`` is raised."""
    try:
        yield
    except errors as error:
        for line in (f"Error: {redact(str(error))}", *getattr(error, "__notes__", ())):
            click.echo(line, err=True)
        sys.exit(EXIT_FAILED)


def exit_on_reject(record: RunRecord, fail_on_reject: bool) -> None:
    """Exit with code 3 if ``--fail-on-reject`` is given and no champion came out of the run, old or new."""
    unchanged = bool(record.decisions) and record.decisions[-1].unchanged
    if fail_on_reject and record.promotion is None and not unchanged:
        sys.exit(EXIT_REJECTED)


def decision_json(record: RunRecord) -> dict[str, object]:
    """Return what the gates decided, for ``--json``; the verdict is None if no gate was reached."""
    last = record.decisions[-1] if record.decisions else None
    return {
        "run": record.run,
        "verdict": last.verdict if last else None,
        "decision": last.message if last else None,
        "decisions": [decision.model_dump(mode="json") for decision in record.decisions],
        "model": record.recipe["model"],
        "version": record.promotion.version if record.promotion else None,
    }


def run_json(record: RunRecord) -> dict[str, object]:
    """Return the decisions, metrics and champion of a training run, for ``--json``."""
    last = record.decisions[-1]
    return {
        **decision_json(record),
        "metrics": {rule.name: rule.value.model_dump() for rule in last.rules if rule.value},
        "champion": last.champion if record.promotion is None else record.promotion.version,
    }


def data_json(dataset: DatasetManifest) -> dict[str, object]:
    """Return the account of a dataset's rows, for ``--json``."""
    account = dataset.model_dump(mode="json", include={"rows_in", "rows_filtered", "rejected", "losses", "warnings"})
    return {**account, "rows_kept": dataset.rows_out, "kept": dataset.counts}


def run_lines(record: RunRecord) -> list[tuple[str, str]]:
    """Return the score with its scale, if a gate was reached, the decision and the promotion as titled lines."""
    score = record.decisions[-1].score if record.decisions else None
    return [*(score_lines(score) if score else []), *decision_lines(record)]


def score_lines(score: JudgedScore) -> list[tuple[str, str]]:
    """Return a score as titled lines: its value, the gap to validation, earlier uses of the texts, and baselines."""
    test = f"{score.title} {score.value} (95 % interval) on {score.rows:,} texts"
    if score.validation is not None and score.gap is None:
        test += f"; {score.validation:.4f} on the validation split"
    gap = [("gap", score.gap_message)] if score.gap_message else []
    baselines = f"{score.constant:.4f} by always answering {score.constant_label!r}"
    if score.baseline:
        baselines += f", {score.baseline} by TF-IDF + logistic regression"
    uses = [("uses", score.uses.message)] if score.uses else []
    return [("test", test), *gap, *uses, ("baselines", baselines)]


def decision_lines(record: RunRecord) -> list[tuple[str, str]]:
    """Return the last gate's decision and the promoted version as titled lines."""
    decision = record.decisions[-1].message if record.decisions else "no model reached the gate"
    promoted = f"{record.promotion.model} {record.promotion.version}" if record.promotion else "nothing"
    return [("decision", decision), ("promoted", promoted)]


def print_lines(console: Console, lines: Sequence[tuple[str, str]]) -> None:
    """Print titled lines in two columns."""
    console.print()
    for title, text in lines:
        console.print(f"{title:<9} {text}", markup=False)


def print_steps(console: Console, steps: "list[StepResult]") -> None:
    """Print a table of the steps' durations."""
    table = Table("step", "seconds", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for step in steps:
        table.add_row(Text(step.name), "cached" if step.outcome == "cached" else f"{step.seconds:.1f}")
    console.print()
    console.print(table)
