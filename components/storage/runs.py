"""What a run leaves under ``runs/<run>/`` but artifacts.

That is decisions/, evaluation.json, README.md (the model card), promotion.json and record.json.
"""

from pathlib import Path

from textgate.components.contracts import EvaluationManifest, GateDecision, InputError, Promotion, RunRecord
from textgate.components.contracts.evaluation import MANIFEST
from textgate.components.contracts.parse import parse_json
from textgate.components.storage.s3 import Store

_CARD = "README.md"


def save_decision(store: Store, run: str, decision: GateDecision) -> None:
    """Keep a gate's decision under its run."""
    store.put(f"runs/{run}/decisions/{decision.gate}.json", decision.model_dump_json(indent=2).encode())


def save_evaluation(store: Store, run: str, evaluation: Path) -> None:
    """Keep what the served model was found to answer on the test split: what its answers are compared to later."""
    store.put(f"runs/{run}/{MANIFEST}", (evaluation / MANIFEST).read_bytes())


def save_card(store: Store, run: str, card: Path) -> None:
    """Keep the card of the model that the run would serve."""
    store.put(f"runs/{run}/{_CARD}", card.read_bytes())


def save_promotion(store: Store, run: str, promotion: Promotion) -> None:
    """Keep the promotion under the run that made it."""
    store.put(f"runs/{run}/promotion.json", promotion.model_dump_json(indent=2).encode())


def load_decisions(store: Store, run: str) -> list[GateDecision]:
    """The decisions a run has come to so far, gate 1 first."""
    found = (store.get(f"runs/{run}/decisions/{gate}.json") for gate in ("trained", "served"))
    return [GateDecision.parse(stored.data, f"run {run}") for stored in found if stored]


def load_evaluation(store: Store, run: str) -> EvaluationManifest | None:
    """What the model that the run would serve was found to answer, if the run came so far."""
    stored = store.get(f"runs/{run}/{MANIFEST}")
    return parse_json(EvaluationManifest, stored.data, f"{MANIFEST} of run {run}", "an evaluation") if stored else None


def load_card(store: Store, run: str) -> str | None:
    """The card of the model that the run would serve, if the run came so far."""
    stored = store.get(f"runs/{run}/{_CARD}")
    return stored.data.decode("utf-8") if stored else None


def load_promotion(store: Store, run: str) -> Promotion | None:
    """What the run promoted, if it did."""
    stored = store.get(f"runs/{run}/promotion.json")
    return parse_json(Promotion, stored.data, f"promotion.json of run {run}", "a promotion") if stored else None


def save_record(store: Store, record: RunRecord) -> None:
    """Keep what a run came to."""
    store.put(f"runs/{record.run}/record.json", record.model_dump_json(indent=2).encode())


def load_record(store: Store, run: str) -> RunRecord:
    """What a run came to.

    Raises:
        InputError: the run has left no record, or one that cannot be read.
    """
    stored = store.get(f"runs/{run}/record.json")
    if stored is None:
        raise InputError(f"the run {run} has left no record in {store.uri(f'runs/{run}/')}")
    return parse_json(RunRecord, stored.data, store.uri(f"runs/{run}/record.json"), "the record of a run")
