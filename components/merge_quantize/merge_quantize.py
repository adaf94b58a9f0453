"""Make a bundle whole: an adapter is merged into its base; a bundle that is whole is passed on as it is."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Evaluation, ModelBundle, new_folder
from textgate.components.contracts.measurement import Merge
from textgate.components.families import FAMILIES, open_predictor
from textgate.components.metrics import accuracy, f1_difference, f1_estimate
from textgate.components.sources import default_downloads, fetch


def merge_bundle(bundle_folder: Path, output: Path) -> ModelBundle:
    """Write the whole bundle to ``output``, or the same bundle when there is nothing to merge.

    Raises:
        InputError: the bundle is damaged, or its base model cannot be fetched.
    """
    bundle = ModelBundle.load(bundle_folder)
    with new_folder(output) as folder:
        base_model = fetch(bundle.base_model, default_downloads()) if bundle.base_model else None
        merged = FAMILIES[bundle.family]().merge(bundle_folder, bundle, base_model, folder)
        if merged is None:
            print("nothing to merge: the bundle is whole and passed on", flush=True)
            shutil.copytree(bundle_folder, folder, dirs_exist_ok=True)
            return bundle
        runtime, done = merged
        print(done, flush=True)
        return bundle.model_copy(update={"runtime": runtime}).write(folder)


def compare_merged(folder: Path, bundle: ModelBundle, trained: Path) -> Merge | None:
    """What merging changed in the answers to the test split; None when the bundle was whole before.

    ``bundle`` lies in ``folder``, and ``trained`` is the evaluation of the one it was merged from.
    """
    evaluation = Evaluation.open(trained)
    if evaluation.manifest.bundle == bundle.fingerprint:
        return None
    answers = open_predictor(folder, bundle).predict_proba(evaluation.texts)
    after, before = answers.argmax(axis=1), evaluation.probabilities.argmax(axis=1)
    classes, labels = evaluation.classes, len(bundle.labels)
    found = Merge(
        agreement=accuracy(after, before),
        logit_difference=float(np.abs(_logits(answers) - _logits(evaluation.probabilities)).mean()),
        f1_before=f1_estimate(classes, before, labels),
        f1_after=f1_estimate(classes, after, labels),
        f1_difference=f1_difference(classes, after, before, labels),
    )
    print(
        f"merged: agreement {found.agreement:.4f}, logits differ by {found.logit_difference:.4f} on average, F1 "
        f"{found.f1_before.value:.4f} before and {found.f1_after.value:.4f} after",
        flush=True,
    )
    return found


def _logits(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Centred logits (n, classes) of ``probabilities`` (n, classes)."""
    logits = np.log(np.maximum(probabilities, 1e-300))
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))
