"""Merge a trained bundle with its base model; a bundle without a base model is copied unchanged."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Evaluation, ModelBundle, new_folder
from textgate.components.contracts.measurement import MergeResult
from textgate.components.contracts.text_keys import copy_trained_on
from textgate.components.contracts.training_cost import copy_training_cost
from textgate.components.families import FAMILIES, open_predictor
from textgate.components.metrics import accuracy, f1_difference, f1_estimate
from textgate.components.sources import default_downloads, fetch


def merge_bundle(bundle_folder: Path, output: Path) -> ModelBundle:
    """Merge a bundle with its base model and write the result to ``output``, or copy it if there is nothing to merge.

    Args:
        bundle_folder: Folder of the trained bundle.
        output: Folder to write to; it must not exist.

    Returns:
        The manifest of the bundle in ``output``.

    Raises:
        InputError: The bundle is damaged, or its base model cannot be fetched.
    """
    bundle = ModelBundle.load(bundle_folder)
    with new_folder(output) as folder:
        base_model = fetch(bundle.base_model, default_downloads()) if bundle.base_model else None
        merged = FAMILIES[bundle.family]().merge(bundle_folder, bundle, base_model, folder)
        if merged is None:
            print("nothing to merge: the bundle needs no base model and is copied", flush=True)
            shutil.copytree(bundle_folder, folder, dirs_exist_ok=True)
            return bundle
        runtime, message = merged
        print(message, flush=True)
        copy_trained_on(bundle_folder, folder)
        copy_training_cost(bundle_folder, folder)
        return bundle.model_copy(update={"runtime": runtime}).write(folder)


def compare_merged(folder: Path, bundle: ModelBundle, trained: Path) -> MergeResult | None:
    """Compare the predictions on the test split before and after merging.

    Args:
        folder: Folder of the merged bundle.
        bundle: Its manifest.
        trained: Folder of the evaluation of the trained bundle.

    Returns:
        The differences; None if nothing was merged.
    """
    evaluation = Evaluation.open(trained)
    if evaluation.manifest.bundle == bundle.fingerprint:
        return None
    probabilities = open_predictor(folder, bundle).predict_proba(evaluation.texts)
    after, before = probabilities.argmax(axis=1), evaluation.probabilities.argmax(axis=1)
    classes, labels = evaluation.truth, len(bundle.labels)
    result = MergeResult(
        agreement=accuracy(after, before),
        logit_difference=float(np.abs(_logits(probabilities) - _logits(evaluation.probabilities)).mean()),
        f1_before=f1_estimate(classes, before, labels),
        f1_after=f1_estimate(classes, after, labels),
        f1_difference=f1_difference(classes, after, before, labels),
    )
    print(
        f"merged: agreement {result.agreement:.4f}, logits differ by {result.logit_difference:.4f} on average, F1 "
        f"{result.f1_before.value:.4f} before and {result.f1_after.value:.4f} after",
        flush=True,
    )
    return result


def _logits(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the logits (n, labels) of ``probabilities`` (n, labels), each row shifted to a mean of 0."""
    logits = np.log(np.maximum(probabilities, 1e-300))
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))
