"""The steps of a run, one after the other in this process, as the pipeline chains them."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textgate.components.contracts import EvaluateSettings, GateDecision, Recipe
from textgate.components.contracts.measurement import Measurements
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.export_onnx.export_onnx import export_bundle
from textgate.components.families import TrainingContext
from textgate.components.gate.gate import (
    ServedModelInputs,
    ServedModelOutputs,
    gate_served_model,
    gate_trained_model,
)
from textgate.components.ingest.ingest import ingest_source
from textgate.components.merge_quantize.merge_quantize import compare_merged, merge_bundle
from textgate.components.preprocess.preprocess import preprocess_dataset
from textgate.components.promote.promote import promote_bundle
from textgate.components.sources import fetch
from textgate.components.storage import Registry, Store
from textgate.components.train.train import train_bundle

QUICK = EvaluateSettings(robustness=[], explained_errors=0, top_word_texts=0, map_texts=0)
"""Scores and the TF-IDF baseline, without the other analyses."""


def recipe(data: Path, **sections: Any) -> Recipe:
    """Return a recipe of the model ``proof`` for a file of labelled texts."""
    fixed = {"name": "proof", "description": "made up", "model": "proof", "source": {"uri": str(data)}}
    return Recipe.model_validate({"evaluate": QUICK, **fixed, **sections})


def prepare(settings: Recipe, folder: Path) -> Path:
    """Ingest the source and split it; return the folder of the dataset."""
    ingest_source(settings.source, folder / "raw", folder / "downloads")
    preprocess_dataset(folder / "raw", settings.preprocess, folder / "dataset")
    return folder / "dataset"


def run(
    settings: Recipe,
    folder: Path,
    store: Store,
    *,
    bundles: Mapping[str, Path] | None = None,
    exported: bool = True,
) -> GateDecision:
    """Run every step; a model that passes becomes champion. Returns the decision of the last gate that ran.

    ``folder`` then holds ``dataset``, ``trained``, ``evaluation-trained``, ``decision-trained``, and of gate 2
    ``served``, ``evaluation-served``, ``decision-served`` and ``card.md``.

    Args:
        settings: The recipe.
        folder: New folder of the run.
        store: Store with the registry.
        bundles: Folders of the bundles that the recipe names.
        exported: Whether to merge, export and measure; if not, the trained bundle is judged as the served one.
    """
    folder.mkdir(exist_ok=True)
    dataset, registry = prepare(settings, folder), Registry(store)
    base_model = getattr(settings.train, "base_model", None)
    fetched = fetch(base_model, folder / "downloads") if base_model else None
    context = TrainingContext(base_model=fetched, bundles=bundles or {})
    train_bundle(dataset, settings.name, settings.train, folder / "trained", context)
    trained = folder / "evaluation-trained"
    evaluate_bundle(dataset, folder / "trained", trained, settings.evaluate.for_trained_model, export=settings.export)
    files = folder / "decision-trained", folder / "report-trained.html"
    first = gate_trained_model(dataset, trained, registry, settings, folder.name, *files)
    if not first.passed:
        return first
    if exported:
        _export(settings, folder)
    else:
        shutil.copytree(folder / "trained", folder / "served")
        (folder / "merge").write_text("null")
        Measurements(served="linear", max_f1_loss=0.02, min_agreement=0.95, targets=[]).write(folder / "measurements")
    evaluate_bundle(dataset, folder / "served", folder / "evaluation-served", settings.evaluate.for_served_model)
    inputs = ServedModelInputs(
        dataset=dataset,
        served=folder / "evaluation-served",
        trained=trained,
        merge=folder / "merge",
        measurements=folder / "measurements",
        exported=folder / "served",
    )
    outputs = ServedModelOutputs(folder / "decision-served", folder / "report.html", folder / "card.md")
    decision = gate_served_model(inputs, registry, settings, folder.name, outputs)
    if decision.passed:
        promote_bundle(registry, settings.model, folder / "served", decision, folder.name)
    return decision


def _export(settings: Recipe, folder: Path) -> None:
    merged = merge_bundle(folder / "trained", folder / "merged")
    changes = compare_merged(folder / "merged", merged, folder / "evaluation-trained")
    (folder / "merge").write_text(changes.model_dump_json() if changes else "null")
    _, measurements = export_bundle(folder / "merged", folder / "dataset", settings.export, folder / "served")
    measurements.write(folder / "measurements")
