"""Files that a run keeps in the store under ``runs/<run>/``, next to the pipeline's artifacts.

configuration.json       recipe with the inputs of the pipeline, if it has some
decisions/<gate>.json    decisions of the gates
evaluation.json          evaluation of the served model on the test split
report.html              report of the last gate that was reached
test_sample.parquet      texts of the test split, at most 5,000
README.md                model card
promotion.json           promotion, if there was one
record.json              outcome of the run
preprocess/dataset/…     dataset, an artifact of a run on this machine
"""

import io
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from textgate.components.contracts import EvaluationManifest, GateDecision, InputError, Promotion, RunRecord
from textgate.components.contracts.dataset import LEFT_OUT, REJECTED, DatasetManifest
from textgate.components.contracts.dataset import MANIFEST as DATASET_MANIFEST
from textgate.components.contracts.evaluation import MANIFEST, PREDICTIONS
from textgate.components.contracts.parse import parse_json
from textgate.components.contracts.run_configuration import RunConfiguration
from textgate.components.storage.s3 import Store

_CARD = "README.md"
_REPORT = "report.html"
_TEST_SAMPLE = "test_sample.parquet"
SAMPLE_TEXTS = 5_000
"""Largest number of texts in a sample for drift tests."""


def save_configuration(store: Store, run: str, configuration: RunConfiguration) -> None:
    """Save what the inputs of the pipeline made of its recipe."""
    store.put(f"runs/{run}/configuration.json", configuration.model_dump_json(indent=2).encode())


def load_configuration(store: Store, run: str) -> RunConfiguration | None:
    """Return what the inputs of the pipeline made of its recipe; None if it has no inputs, or one of them was wrong."""
    stored = store.get(f"runs/{run}/configuration.json")
    where = f"configuration.json of run {run}"
    return parse_json(RunConfiguration, stored.data, where, "a configuration") if stored else None


def load_changes(store: Store, run: str) -> list[str]:
    """Return the values that the inputs of the pipeline changed, such as ``train.epochs 2 instead of 3``."""
    configured = load_configuration(store, run)
    return configured.changes if configured else []


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


def save_test_sample(store: Store, run: str, evaluation: Path) -> None:
    """Save texts of the test split, with which the texts of live predictions are compared later.

    Runs before textgate 0.2 have no such sample. Their test split may have been balanced.

    Args:
        store: Store of the run.
        run: Name of the run.
        evaluation: Folder of the evaluation.
    """
    texts = pq.read_table(evaluation / PREDICTIONS, columns=["text"])["text"].to_pylist()
    save_texts(store, f"runs/{run}/{_TEST_SAMPLE}", texts)


def save_texts(store: Store, key: str, texts: list[str]) -> None:
    """Save at most ``SAMPLE_TEXTS`` of the texts, a random sample that depends on the texts only."""
    sample = random.Random(0).sample(texts, min(SAMPLE_TEXTS, len(texts)))  # noqa: S311
    file = io.BytesIO()
    pq.write_table(pa.table({"text": pa.array(sample, pa.string())}), file, compression="zstd")
    store.put(key, file.getvalue())


def load_texts(store: Store, key: str) -> list[str] | None:
    """Return the texts that ``save_texts`` wrote, or None if there are none.

    Raises:
        InputError: The object is damaged.
    """
    stored = store.get(key)
    if stored is None:
        return None
    try:
        return list(pq.read_table(io.BytesIO(stored.data))["text"].to_pylist())
    except (pa.ArrowException, KeyError, OSError) as error:
        raise InputError(f"{store.uri(key)} is not a readable Parquet file with texts ({error}): remove it") from error


def load_test_sample(store: Store, run: str) -> list[str] | None:
    """Return texts of the test split, or None if the run has saved none.

    Raises:
        InputError: The object is damaged.
    """
    return load_texts(store, f"runs/{run}/{_TEST_SAMPLE}")


def load_natural_counts(store: Store, run: str, dataset: str) -> dict[str, int] | None:
    """Return the number of rows by label before balancing, or None if the run has not left its dataset in the store.

    Args:
        store: Store of the run.
        run: Name of the run.
        dataset: Fingerprint of the dataset.

    Raises:
        InputError: An object is damaged.
    """
    folder = f"runs/{run}/preprocess/dataset"
    manifest, rejected = store.get(f"{folder}/{DATASET_MANIFEST}"), store.get(f"{folder}/{REJECTED}")
    if manifest is None or rejected is None:
        return None
    where = store.uri(f"{folder}/{DATASET_MANIFEST}")
    found = parse_json(DatasetManifest, manifest.data, where, "a dataset manifest")
    if found.fingerprint != dataset:
        return None
    try:
        rows = pq.read_table(io.BytesIO(rejected.data), columns=["reason", "label"]).to_pylist()
    except (pa.ArrowException, KeyError, OSError) as error:
        raise InputError(f"{store.uri(folder)}/{REJECTED} is not readable ({error})") from error
    counts = Counter(row["label"] for row in rows if row["reason"] == LEFT_OUT)
    for split in found.counts.values():
        counts.update(split)
    return {label: counts[label] for label in found.labels}


def save_card(store: Store, run: str, card: Path) -> None:
    """Save the model card.

    Args:
        store: Store of the run.
        run: Name of the run.
        card: File of the card.
    """
    store.put(f"runs/{run}/{_CARD}", card.read_bytes())


def save_report(store: Store, run: str, report: Path) -> None:
    """Save the report of a gate, in place of that of an earlier one."""
    store.put(f"runs/{run}/{_REPORT}", report.read_bytes())


def load_report(store: Store, run: str) -> bytes | None:
    """Return the report of the last gate that was reached, or None if there is none."""
    stored = store.get(f"runs/{run}/{_REPORT}")
    return stored.data if stored else None


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
