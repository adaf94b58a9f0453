"""Predictions from a bundle, without torch: shared by the pipeline's judges, the server and the command line.

``load_bundle`` opens the folder of a bundle; the ``LoadedBundle`` it returns labels texts (``predict``) and gives their
probabilities (``predict_proba``). ``classify`` labels texts with any calibrated predictor.
"""

from textgate.components.inference.classify import Prediction, classify
from textgate.components.inference.failures import PredictionError
from textgate.components.inference.loaded_bundle import LoadedBundle, load_bundle
from textgate.components.inference.predictor import (
    CalibratedPredictor,
    PartialPrediction,
    Predictor,
    StreamingPredictor,
)

__all__ = [
    "CalibratedPredictor",
    "LoadedBundle",
    "PartialPrediction",
    "Prediction",
    "PredictionError",
    "Predictor",
    "StreamingPredictor",
    "classify",
    "load_bundle",
]
