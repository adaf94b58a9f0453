"""From a bundle's folder to something that answers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import EnsembleRuntime, InputError, LinearRuntime, ModelBundle, OnnxRuntime
from textgate.components.contracts.probabilities import apply_temperature


@dataclass(frozen=True)
class PartialPrediction:
    """What one run of a model answered, of the texts it was given."""

    rows: npt.NDArray[np.int64]
    """Numbers of the texts (n,)."""
    probabilities: npt.NDArray[np.float64]
    """(n, labels), rows summing to 1."""
    truncated: npt.NDArray[np.bool_]
    """(n,): the text is longer than the model reads, and its end was left out."""
    tokens: int
    """Tokens that were read; 0 for a model that has none."""


def in_order(parts: Iterable[PartialPrediction], texts: int, labels: int) -> npt.NDArray[np.float64]:
    """Probabilities (texts, labels) of parts that hold every text, in the order of the texts."""
    probabilities = np.empty((texts, labels))
    for part in parts:
        probabilities[part.rows] = part.probabilities
    return probabilities


class Predictor(Protocol):
    """Answers for one bundle."""

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Probabilities (len(texts), labels) float64, rows summing to 1, in the order of the bundle's labels.

        Texts are raw: they are normalised here, by the bundle's own settings.
        """
        ...


class StreamingPredictor(Predictor, Protocol):
    """A predictor that tells what it has as soon as it has it, which is how the endpoint asks."""

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        """The same probabilities by runs of the model; every text is in one part."""
        ...


class CalibratedPredictor:
    """A predictor whose probabilities are brought to a bundle's temperature."""

    def __init__(self, predictor: Predictor, temperature: float) -> None:
        self.predictor, self._temperature = predictor, temperature

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        return apply_temperature(self.predictor.predict_proba(texts), self._temperature)


@dataclass(frozen=True)
class LoadedBundle:
    """A bundle that answers, with the probabilities brought to its temperature."""

    bundle: ModelBundle
    predictor: StreamingPredictor

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        return apply_temperature(self.predictor.predict_proba(texts), self.bundle.calibration.temperature)

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        """See ``StreamingPredictor.predict_batches``."""
        for part in self.predictor.predict_batches(texts):
            yield replace(part, probabilities=apply_temperature(part.probabilities, self.bundle.calibration.temperature))


def load_bundle(folder: str | Path, threads: int = 0) -> LoadedBundle:
    """Check the bundle in ``folder`` against its manifest and make ready to answer.

    ``threads`` is the number one prediction may use; 0 takes one a core.

    Raises:
        InputError: not a bundle, it does not match its manifest, or its runtime cannot be served.
    """
    folder = Path(folder)
    bundle = ModelBundle.load(folder)
    match bundle.runtime:
        case LinearRuntime() as runtime:
            from textgate.components.inference.linear import LinearPredictor

            return LoadedBundle(bundle, LinearPredictor(folder, bundle.normalizer, runtime))
        case OnnxRuntime() as runtime:
            from textgate.components.inference.onnx import OnnxPredictor

            return LoadedBundle(bundle, OnnxPredictor(folder, bundle.normalizer, runtime, threads))
        case EnsembleRuntime() as runtime:
            from textgate.components.inference.ensemble import EnsemblePredictor

            return LoadedBundle(bundle, EnsemblePredictor(folder, bundle, runtime, threads))
        case _:
            raise InputError(
                f"the bundle {folder} answers with {bundle.runtime.name!r}, which is not served: export it first"
            )
