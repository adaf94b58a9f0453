"""From a bundle's folder to something that answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import InputError, LinearRuntime, ModelBundle, OnnxRuntime
from textgate.components.contracts.bundle import calibrated


class Predictor(Protocol):
    """Answers for one bundle."""

    def predict(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Probabilities (len(texts), labels) float64, rows summing to 1, in the order of the bundle's labels.

        Texts are raw: they are normalised here, by the bundle's own settings.
        """
        ...


class Calibrated:
    """A predictor whose probabilities are brought to a bundle's temperature."""

    def __init__(self, predictor: Predictor, temperature: float) -> None:
        self._predictor, self._temperature = predictor, temperature

    def predict(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict``."""
        return calibrated(self._predictor.predict(texts), self._temperature)


def load(folder: str | Path, threads: int = 0) -> Predictor:
    """Check the bundle in ``folder`` against its manifest and make ready to answer.

    ``threads`` is the number one prediction may use; 0 takes one a core.

    Raises:
        InputError: not a bundle, it does not match its manifest, or its runtime cannot be served.
    """
    folder = Path(folder)
    bundle = ModelBundle.load(folder)
    match bundle.runtime:
        case LinearRuntime() as runtime:
            from textgate.serving.linear import LinearPredictor

            predictor: Predictor = LinearPredictor(folder, bundle.normalizer, runtime)
        case OnnxRuntime() as runtime:
            from textgate.serving.onnx import OnnxPredictor

            predictor = OnnxPredictor(folder, bundle.normalizer, runtime, threads)
        case _:
            raise InputError(
                f"the bundle {folder} answers with {bundle.runtime.name!r}, which is not served: export it first"
            )
    return Calibrated(predictor, bundle.calibration.temperature)
