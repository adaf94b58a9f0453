"""The weighted mean of the probabilities of finished systems, each of which lies in the bundle as it is served."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import (
    Dataset,
    EnsembleRuntime,
    EnsembleTraining,
    InputError,
    ModelBundle,
    TransformersRuntime,
)
from textgate.components.families import FitResult, TrainingContext
from textgate.components.families.linear import merge, predictor
from textgate.components.inference import load_bundle
from textgate.components.metrics import accuracy, f1

__all__ = ["fit", "maximum_likelihood_weights", "merge", "predictor"]

Floats = npt.NDArray[np.float64]

_MOST_STEPS = 5_000
_CLOSE_ENOUGH = 1e-6
"""Nats a text, within which the weights are as likely as they can be."""
_DECIMALS = 4
"""Of a fitted weight: more than its data can tell, and few enough for the last bits of a sum to make no difference."""


def fit(dataset: Dataset, training: EnsembleTraining, folder: Path, context: TrainingContext) -> FitResult:
    """See ``Family.fit``.

    Raises:
        InputError: a member is an ensemble itself, is not served, or has other labels than the dataset.
    """
    _, texts, classes = dataset.columns("validation")
    labels = dataset.manifest.labels
    names = [f"members/{number}" for number in range(len(training.members))]
    bundles, answers = [], []
    for name, member in zip(names, training.members, strict=True):
        bundles.append(_take_in(context.bundles[member.bundle], member.bundle, labels, folder / name))
        answers.append(load_bundle(folder / name).predict_proba(texts))
    given = [member.weight for member in training.members if member.weight is not None]
    weights = np.array(given) if given else _rounded(maximum_likelihood_weights(np.stack(answers), classes))
    weights = weights / weights.sum()
    for member, answer, weight in zip(training.members, answers, weights, strict=True):
        score = f1(classes, answer.argmax(axis=1), len(labels))
        print(f"{member.bundle}: validation F1 {score:.4f} by itself, weight {weight:.4f}", flush=True)
    predicted = np.tensordot(weights, np.stack(answers), axes=1).argmax(axis=1)
    runtime = EnsembleRuntime(
        members=names,
        weights=weights.tolist(),
        max_tokens=max(bundle.max_tokens or 0 for bundle in bundles) or None,
    )
    metrics = {
        "validation_f1": f1(classes, predicted, len(labels)),
        "validation_accuracy": accuracy(classes, predicted),
    }
    return FitResult(runtime, metrics)


def maximum_likelihood_weights(probabilities: Floats, classes: npt.NDArray[np.int64]) -> Floats:
    """Weights (members,) of the mean of ``probabilities`` (members, n, labels) at which ``classes`` are likeliest.

    By expectation maximization for the weights of a mixture, which never makes them less likely (Dempster, Laird and
    Rubin, Maximum likelihood from incomplete data via the EM algorithm, JRSS B 39(1), 1977, section 4.3). The
    log-likelihood is concave in the weights, so that there is one maximum.
    """
    likelihoods = np.maximum(probabilities[:, np.arange(len(classes)), classes].T, 1e-12)
    members = likelihoods.shape[1]
    weights = np.full(members, 1 / members)
    for _ in range(_MOST_STEPS):
        gains = (likelihoods / (likelihoods @ weights)[:, None]).mean(axis=0)
        # The slope towards a member; by concavity no weights are likelier by more than the steepest.
        if gains.max() - 1 < _CLOSE_ENOUGH:
            break
        weights = weights * gains
    return weights


def _rounded(weights: Floats) -> Floats:
    return np.round(weights, _DECIMALS)


def _take_in(source: Path, reference: str, labels: list[str], target: Path) -> ModelBundle:
    """Copy the bundle in ``source``, without what only its alternatives need, to ``target``."""
    bundle = ModelBundle.load(source)
    match bundle.runtime:
        case EnsembleRuntime():
            raise InputError(
                f"{reference} is an ensemble itself, which would hold its members twice over: name its members in "
                "train.members instead"
            )
        case TransformersRuntime():
            raise InputError(
                f"{reference} answers with {bundle.runtime.name}, which is not served: name a version in train.members "
                "that was exported to ONNX"
            )
    if bundle.labels != labels:
        raise InputError(f"{reference} answers {bundle.labels} but the dataset has the labels {labels}")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*bundle.alternatives))
    return bundle.model_copy(update={"alternatives": {}}).write(target)
