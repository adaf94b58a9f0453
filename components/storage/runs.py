"""Files that a run keeps in the store under ``runs/<run>/``, next to the pipeline's artifacts.

decisions/<gate>.json    decisions of the gates
evaluation.json          evaluation of the served model on the test split
README.md                model card
promotion.json           promotion, if there was one
record.json              outcome of the run
"""

from pathlib import Path

from textgate.components.contracts import EvaluationManifest, GateDecision, InputError, Promotion, RunRecord
from textgate.components.contracts.evaluation import MANIFEST
from textgate.components.contracts.parse import parse_json
from textgate.components.storage.s3 import Store

_CARD = "README.md"


def save_decision(store: Store, run: str, decision: GateDecision) -> None:
    """Save the decision of a gate."""
    store.put(f"runs/{run}/decisions/{decision.gate}.json", decision.model_dump_json(indent=2).encode())


def save_evaluation(store: Store, run: str, evaluation: Path) -> None:
    """Save the manifest of the served model's evaluation, with which live predictions are compared later.

    Args:
        store: Store of the run.
        run: Name of the run.
        evaluation: Folder of the evaluation.
    """
    store.put(f"runs/{run}/{MANIFEST}", (evaluation / MANIFEST).read_bytes())


def save_card(store: Store, run: str, card: Path) -> None:
    """Save the model card.

    Args:
        store: Store of the run.
        run: Name of the run.
        card: File of the card.
    """
    store.put(f"runs/{run}/{_CARD}", card.read_bytes())


def save_promotion(store: Store, run: str, promotion: Promotion) -> None:
    """Save the promotion that a run made."""
    store.put(f"runs/{run}/promotion.json", promotion.model_dump_json(indent=2).encode())


def save_record(store: Store, record: RunRecord) -> None:
    """Save the outcome of a run."""
    store.put(f"runs/{record.run}/record.json", record.model_dump_json(indent=2).encode())


def load_decisions(store: Store, run: str) -> list[GateDecision]:
    """Return the decisions of a run so far, gate 1 first."""
    stored_decisions = (store.get(f"runs/{run}/decisions/{gate}.json") for gate in ("trained", "served"))
    return [GateDecision.parse(stored.data, f"run {run}") for stored in stored_decisions if stored]


def load_evaluation(store: Store, run: str) -> EvaluationManifest | None:
    """Return the evaluation of the served model, or None if the run has none."""
    stored = store.get(f"runs/{run}/{MANIFEST}")
    return parse_json(EvaluationManifest, stored.data, f"{MANIFEST} of run {run}", "an evaluation") if stored else None


def load_card(store: Store, run: str) -> str | None:
    """Return the model card in Markdown, or None if the run has none."""
    stored = store.get(f"runs/{run}/{_CARD}")
    return stored.data.decode("utf-8") if stored else None


def load_promotion(store: Store, run: str) -> Promotion | None:
    """Return the promotion that a run made, or None if it made none."""
    stored = store.get(f"runs/{run}/promotion.json")
    return parse_json(Promotion, stored.data, f"promotion.json of run {run}", "a promotion") if stored else None


def load_record(store: Store, run: str) -> RunRecord:
    """Return the outcome of a run.

    Raises:
        InputError: The run has left no record, or the record cannot be read.
    """
    stored = store.get(f"runs/{run}/record.json")
    if stored is None:
        raise InputError(f"the run {run} has left no record in {store.uri(f'runs/{run}/')}")
    return parse_json(RunRecord, stored.data, store.uri(f"runs/{run}/record.json"), "the record of a run")
