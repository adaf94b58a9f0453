"""From the folder of a bundle to a predictor."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import EnsembleRuntime, InputError, LinearRuntime, ModelBundle, OnnxRuntime
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.inference.classify import Prediction, classify
from textgate.components.inference.device import Device
from textgate.components.inference.failures import PredictionError, failures_as
from textgate.components.inference.predictor import PartialPrediction, ServedPredictor, StreamingPredictor


@dataclass(frozen=True)
class LoadedBundle:
    """Bundle that is ready to predict; its probabilities are calibrated with the bundle's temperature.

    Its methods raise ``PredictionError`` if the model fails on a text or if its output is not finite.
    """

    bundle: ModelBundle
    """Manifest of the bundle."""
    predictor: StreamingPredictor
    """Predictor of the bundle's runtime, not calibrated."""

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Return label, score, probabilities and truncation of each text; see ``classify``."""
        return classify(self, self.bundle, texts)

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        with self._failures():
            return apply_temperature(self.predictor.predict_proba(texts), self.bundle.calibration.temperature)

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        """See ``StreamingPredictor.predict_batches``."""
        temperature = self.bundle.calibration.temperature
        with self._failures():
            for batch in self.predictor.predict_batches(texts):
                yield replace(batch, probabilities=apply_temperature(batch.probabilities, temperature))

    def warm_up(self, texts: Sequence[str] = ()) -> None:
        """Predict ``texts`` and an empty one, and try the largest token id, the longest input and odd characters.

        Raises:
            InputError: The bundle cannot be served: the model fails on a text, or its output is not finite.
        """
        with failures_as(InputError, f"the bundle {self.bundle.name!r} cannot be served"):
            if isinstance(self.predictor, ServedPredictor):
                self.predictor.check()
            self.predict_proba([*texts, ""])

    def _failures(self) -> AbstractContextManager[None]:
        return failures_as(PredictionError, f"the model {self.bundle.name!r} failed")


def load_bundle(folder: str | Path, threads: int = 0, device: Device = "cpu") -> LoadedBundle:
    """Check the bundle in ``folder`` against its manifest and open its predictor.

    Nothing is opened that the manifest does not list.

    Args:
        folder: Folder of a bundle.
        threads: Number of threads of one prediction; 0 means one per core.
        device: Device that runs ONNX graphs; everything else runs on the CPU.

    Raises:
        InputError: The folder is not a bundle, a file does not match the manifest, or the runtime cannot be served.
            No other error is raised, whatever the folder contains.
    """
    folder = Path(folder)
    with failures_as(InputError, f"the bundle {folder} cannot be loaded"):
        return _open(folder, ModelBundle.load(folder), threads, device)


def load_member(folder: Path, threads: int, device: Device) -> LoadedBundle:
    """Load a member of an ensemble, as ``load_bundle`` does.

    Raises:
        InputError: As for ``load_bundle``, or the member is itself an ensemble.
    """
    bundle = ModelBundle.load(folder)
    if isinstance(bundle.runtime, EnsembleRuntime):
        raise InputError(f"the member {folder} is itself an ensemble, and an ensemble cannot be a member")
    return _open(folder, bundle, threads, device)


def _open(folder: Path, bundle: ModelBundle, threads: int, device: Device) -> LoadedBundle:
    predictor = _predictor(folder, bundle, threads, device)
    if predictor.labels != len(bundle.labels):
        raise InputError(
            f"the bundle {folder} names {len(bundle.labels)} labels, but its model has {predictor.labels} outputs"
        )
    return LoadedBundle(bundle, predictor)


def _predictor(folder: Path, bundle: ModelBundle, threads: int, device: Device) -> ServedPredictor:
    match bundle.runtime:
        case LinearRuntime() as runtime:
            from textgate.components.inference.linear import ARRAYS, VOCABULARY, LinearPredictor

            _check_listed(folder, bundle, ARRAYS, VOCABULARY)
            return LinearPredictor(folder, bundle.normalizer, runtime)
        case OnnxRuntime() as runtime:
            from textgate.components.inference.onnx import TOKENIZER, OnnxPredictor

            # ONNX Runtime itself refuses weights of a graph that are outside its folder.
            _check_listed(folder, bundle, runtime.graph, TOKENIZER)
            return OnnxPredictor(folder, bundle.normalizer, runtime, threads, device=device)
        case EnsembleRuntime() as runtime:
            from textgate.components.inference.ensemble import EnsemblePredictor

            return EnsemblePredictor(folder, bundle, runtime, threads, device)
        case _:
            raise InputError(
                f"the bundle {folder} has the runtime {bundle.runtime.name!r}, which cannot be served: export it first"
            )


def _check_listed(folder: Path, bundle: ModelBundle, *names: str) -> None:
    for name in names:
        if name not in bundle.files:
            raise InputError(f"the bundle {folder} lacks {name}, which its runtime needs")
