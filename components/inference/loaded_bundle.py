"""From the folder of a bundle to a predictor."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import EnsembleRuntime, InputError, LinearRuntime, ModelBundle, OnnxRuntime
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.inference.classify import Prediction, classify
from textgate.components.inference.predictor import PartialPrediction, StreamingPredictor


@dataclass(frozen=True)
class LoadedBundle:
    """Bundle that is ready to predict; its probabilities are calibrated with the bundle's temperature."""

    bundle: ModelBundle
    """Manifest of the bundle."""
    predictor: StreamingPredictor
    """Predictor of the bundle's runtime, not calibrated."""

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Return label, score, probabilities and truncation of each text; see ``classify``."""
        return classify(self, self.bundle, texts)

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        return apply_temperature(self.predictor.predict_proba(texts), self.bundle.calibration.temperature)

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        """See ``StreamingPredictor.predict_batches``."""
        temperature = self.bundle.calibration.temperature
        for batch in self.predictor.predict_batches(texts):
            yield replace(batch, probabilities=apply_temperature(batch.probabilities, temperature))


def load_bundle(folder: str | Path, threads: int = 0) -> LoadedBundle:
    """Check the bundle in ``folder`` against its manifest and open its predictor.

    Args:
        folder: Folder of a bundle.
        threads: Number of threads of one prediction; 0 means one per core.

    Raises:
        InputError: The folder is not a bundle, a file does not match the manifest, or the runtime cannot be served.
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
                f"the bundle {folder} has the runtime {bundle.runtime.name!r}, which cannot be served: export it first"
            )
