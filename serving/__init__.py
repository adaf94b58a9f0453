"""What answers: loads a bundle and predicts, without torch, transformers or kfp.

The pipeline's judges import this too, so that what is judged is what will be served.
"""

from textgate.serving.predictor import Calibrated, LoadedBundle, Part, Predictor, load

__all__ = ["Calibrated", "LoadedBundle", "Part", "Predictor", "load"]
