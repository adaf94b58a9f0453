"""Bundle to predictions, without torch: what the pipeline's judges and the server both call."""

from textgate.components.inference.predictor import (
    CalibratedPredictor,
    LoadedBundle,
    PartialPrediction,
    Predictor,
    StreamingPredictor,
    load_bundle,
)

__all__ = [
    "CalibratedPredictor",
    "LoadedBundle",
    "PartialPrediction",
    "Predictor",
    "StreamingPredictor",
    "load_bundle",
]
