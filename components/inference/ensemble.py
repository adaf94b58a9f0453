"""Predictor of an ensemble: the weighted mean of its members' calibrated probabilities."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import EnsembleRuntime, InputError, ModelBundle
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.inference.device import Device
from textgate.components.inference.loaded_bundle import LoadedBundle, load_member
from textgate.components.inference.predictor import PartialPrediction, assemble


class EnsemblePredictor:
    """Predictor of a bundle whose members are complete bundles in subfolders.

    Each member normalizes the texts and calibrates its probabilities itself.

    Args:
        folder: Folder of the ensemble's bundle.
        bundle: Its manifest.
        runtime: Its runtime: names and weights of the members.
        threads: See ``load_bundle``.
        device: See ``load_bundle``.

    Raises:
        InputError: A member is missing, cannot be loaded, is itself an ensemble, or has other labels than the ensemble.
    """

    def __init__(
        self, folder: Path, bundle: ModelBundle, runtime: EnsembleRuntime, threads: int, device: Device
    ) -> None:
        self._members: list[tuple[LoadedBundle, float]] = []
        for name, weight in zip(runtime.members, runtime.weights, strict=True):
            if f"{name}/{MANIFEST}" not in bundle.files:
                raise InputError(f"the bundle {folder} lacks {name}, which its runtime names as a member")
            # A member with weight 0 changes nothing, so it is not run.
            if weight:
                self._members.append((_load_member(folder / name, bundle.labels, threads, device), weight))
        # The member with the longest maximum length is the slowest. It runs last, so that the ensemble can yield each
        # of its batches as soon as it is ready.
        self._members.sort(key=lambda member: member[0].bundle.max_tokens or 0)
        self.labels = len(bundle.labels)

    def check(self) -> None:
        """See ``ServedPredictor.check``."""
        for member, _ in self._members:
            member.warm_up()

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        return assemble(self.predict_batches(texts), len(texts), self.labels)

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        """See ``StreamingPredictor.predict_batches``; a text is truncated if any member truncated it."""
        probabilities = np.zeros((len(texts), self.labels))
        truncated = np.zeros(len(texts), dtype=np.bool_)
        tokens = 0
        *others, (last, last_weight) = self._members
        for member, weight in others:
            for batch in member.predict_batches(texts):
                probabilities[batch.rows] += weight * batch.probabilities
                truncated[batch.rows] |= batch.truncated
                tokens += batch.tokens
        for batch in last.predict_batches(texts):
            yield replace(
                batch,
                probabilities=probabilities[batch.rows] + last_weight * batch.probabilities,
                truncated=truncated[batch.rows] | batch.truncated,
                tokens=tokens + batch.tokens,
            )
            # The first batch counts the tokens of the other members; the later ones must not count them again.
            tokens = 0


def _load_member(folder: Path, labels: list[str], threads: int, device: Device) -> LoadedBundle:
    member = load_member(folder, threads, device)
    if member.bundle.labels != labels:
        raise InputError(f"the member {folder} has the labels {member.bundle.labels}, but its ensemble has {labels}")
    return member
