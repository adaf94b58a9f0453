"""The weighted mean of what several bundles answer."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import EnsembleRuntime, InputError, ModelBundle
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.inference.predictor import LoadedBundle, PartialPrediction, in_order, load_bundle


class EnsemblePredictor:
    """Members lie as whole bundles in folders of ``bundle``'s; each is calibrated and normalises texts by itself."""

    def __init__(self, folder: Path, bundle: ModelBundle, runtime: EnsembleRuntime, threads: int) -> None:
        self._members: list[tuple[LoadedBundle, float]] = []
        for name, weight in zip(runtime.members, runtime.weights, strict=True):
            if f"{name}/{MANIFEST}" not in bundle.files:
                raise InputError(f"the bundle {folder} holds no {name}, which its runtime names as a member")
            # What has no say need not be asked.
            if weight:
                self._members.append((_load_member(folder / name, bundle.labels, threads), weight))
        # Who reads furthest takes longest: asked last, so that what it answers first is answered early.
        self._members.sort(key=lambda member: member[0].bundle.max_tokens or 0)
        self._labels = len(bundle.labels)

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        return in_order(self.predict_batches(texts), len(texts), self._labels)

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        """See ``StreamingPredictor.predict_batches``: a text is truncated if any member truncated it."""
        probabilities = np.zeros((len(texts), self._labels))
        truncated = np.zeros(len(texts), dtype=np.bool_)
        tokens = 0
        *others, (last, its_weight) = self._members
        for member, weight in others:
            for part in member.predict_batches(texts):
                probabilities[part.rows] += weight * part.probabilities
                truncated[part.rows] |= part.truncated
                tokens += part.tokens
        for part in last.predict_batches(texts):
            yield replace(
                part,
                probabilities=probabilities[part.rows] + its_weight * part.probabilities,
                truncated=truncated[part.rows] | part.truncated,
                tokens=tokens + part.tokens,
            )
            # Those of the others were read once, not once a run.
            tokens = 0


def _load_member(folder: Path, labels: list[str], threads: int) -> LoadedBundle:
    member = load_bundle(folder, threads)
    if member.bundle.labels != labels:
        raise InputError(f"the member {folder} answers {member.bundle.labels} but its ensemble has the labels {labels}")
    return member
