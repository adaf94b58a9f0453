"""Family ``ensemble``: the weighted mean of the probabilities of finished bundles.

The bundle holds a copy of each member. Weights that the recipe does not give are fitted on the validation split.
"""

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
from textgate.components.contracts.text_keys import TRAINED_ON
from textgate.components.contracts.training_cost import TRAINING_COST
from textgate.components.families import FitResult, TrainingContext, validation_metrics
from textgate.components.families.linear import merge, predictor
from textgate.components.inference import load_bundle
from textgate.components.metrics import f1

__all__ = ["fit", "maximum_likelihood_weights", "merge", "predictor"]

Floats = npt.NDArray[np.float64]

_MAX_ITERATIONS = 5_000
_TOLERANCE = 1e-6
"""Maximum distance, in nats per text, of the log-likelihood from its maximum."""
_DECIMALS = 4
"""Decimals of a fitted weight: finer than the data can determine, and coarse enough that rounding errors of a sum on
another machine do not change it."""


def fit(dataset: Dataset, training: EnsembleTraining, folder: Path, context: TrainingContext) -> FitResult:
    """See ``Family.fit``.

    Raises:
        InputError: A member is an ensemble itself, cannot be served, or has other labels than the dataset.
    """
    _, texts, classes = dataset.columns("validation")
    labels = dataset.manifest.labels
    names = [f"members/{index}" for index in range(len(training.members))]
    bundles, probabilities = [], []
    for name, member in zip(names, training.members, strict=True):
        bundles.append(_copy_member(context.bundles[member.bundle], member.bundle, labels, folder / name))
        probabilities.append(load_bundle(folder / name).predict_proba(texts))
    fixed = [member.weight for member in training.members if member.weight is not None]
    weights = np.array(fixed) if fixed else _rounded(maximum_likelihood_weights(np.stack(probabilities), classes))
    weights = weights / weights.sum()
    for member, rows, weight in zip(training.members, probabilities, weights, strict=True):
        score = f1(classes, rows.argmax(axis=1), len(labels))
        print(f"{member.bundle}: validation F1 {score:.4f} by itself, weight {weight:.4f}", flush=True)
    mixture = np.tensordot(weights, np.stack(probabilities), axes=1)
    runtime = EnsembleRuntime(
        members=names,
        weights=weights.tolist(),
        max_tokens=max(bundle.max_tokens or 0 for bundle in bundles) or None,
    )
    return FitResult(runtime, validation_metrics(classes, mixture))


def maximum_likelihood_weights(probabilities: Floats, classes: npt.NDArray[np.int64]) -> Floats:
    """Return the weights (members,), summing to 1, of the mixture that gives ``classes`` the highest likelihood.

    Expectation maximization for mixture weights (Dempster, Laird and Rubin, Maximum likelihood from incomplete data via
    the EM algorithm, JRSS B 39(1), 1977, section 4.3). The log-likelihood is concave in the weights, so its maximum is
    global.

    Args:
        probabilities: (members, n, labels) float64.
        classes: True class indices (n,) int64.
    """
    likelihoods = np.maximum(probabilities[:, np.arange(len(classes)), classes].T, 1e-12)
    members = likelihoods.shape[1]
    weights = np.full(members, 1 / members)
    for _ in range(_MAX_ITERATIONS):
        gains = (likelihoods / (likelihoods @ weights)[:, None]).mean(axis=0)
        # Gradients towards each member; by concavity the largest bounds the distance from the maximum.
        if gains.max() - 1 < _TOLERANCE:
            break
        weights = weights * gains
    return weights


def _rounded(weights: Floats) -> Floats:
    return np.round(weights, _DECIMALS)


def _copy_member(source: Path, reference: str, labels: list[str], target: Path) -> ModelBundle:
    """Copy the bundle in ``source`` to ``target`` without alternative runtimes, training texts' keys and training cost.

    The ensemble has the keys and costs of all members.
    """
    bundle = ModelBundle.load(source)
    match bundle.runtime:
        case EnsembleRuntime():
            raise InputError(
                f"{reference} is itself an ensemble, and an ensemble cannot be a member: name its members in "
                "train.members instead"
            )
        case TransformersRuntime():
            raise InputError(
                f"{reference} has the runtime {bundle.runtime.name}, which cannot be served: name a version in "
                "train.members that was exported to ONNX"
            )
    if bundle.labels != labels:
        raise InputError(f"{reference} has the labels {bundle.labels}, but the dataset has {labels}")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(TRAINED_ON, TRAINING_COST, *bundle.alternatives))
    return bundle.model_copy(update={"alternatives": {}}).write(target)
