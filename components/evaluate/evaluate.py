"""Ask a bundle about every text of the test split, and measure its answers."""

import time
from pathlib import Path

import numpy as np

from textgate.components.contracts import Dataset, Evaluation, EvaluationManifest, InputError, ModelBundle
from textgate.components.contracts.bundle import calibrated
from textgate.components.families import open_predictor
from textgate.components.metrics import accuracy_estimate, calibration_error, confusion, f1_estimate, per_class_f1
from textgate.components.storage.fetch import default_downloads, fetch

SPLIT = "test"


def evaluate_bundle(dataset_folder: Path, bundle_folder: Path, output: Path) -> Evaluation:
    """Judge the bundle on the test split with the very runtime that answers for it.

    Raises:
        InputError: the bundle is damaged, its checkpoint cannot be fetched, or its labels are not the dataset's.
    """
    dataset = Dataset.open(dataset_folder)
    bundle = ModelBundle.load(bundle_folder)
    labels = dataset.manifest.labels
    if bundle.labels != labels:
        raise InputError(f"the bundle answers {bundle.labels} but the dataset has the labels {labels}")
    ids, texts, classes = dataset.columns(SPLIT)
    checkpoint = fetch(bundle.checkpoint, default_downloads()) if bundle.checkpoint else None
    predictor = open_predictor(bundle_folder, bundle, checkpoint)
    started = time.perf_counter()
    probabilities = predictor.predict(texts)
    seconds = time.perf_counter() - started
    predicted = bundle.calibration.classes(probabilities)
    manifest = EvaluationManifest(
        bundle=bundle.fingerprint,
        runtime=bundle.runtime.name,
        dataset=dataset.manifest.fingerprint,
        split=SPLIT,
        labels=labels,
        f1=f1_estimate(classes, predicted, len(labels)),
        accuracy=accuracy_estimate(classes, predicted),
        per_class_f1=dict(zip(labels, map(float, per_class_f1(classes, predicted, len(labels))), strict=True)),
        confusion=confusion(classes, predicted, len(labels)).tolist(),
        calibration=bundle.calibration,
        calibration_error=calibration_error(classes, probabilities),
        calibration_error_before=calibration_error(
            classes, calibrated(probabilities, 1 / bundle.calibration.temperature)
        ),
        rows_per_second=len(texts) / seconds,
    )
    evaluation = Evaluation(manifest, ids, texts, classes, np.asarray(probabilities))
    evaluation.write(output)
    return evaluation
