"""Texts as a model sees them: points that lie near each other where it takes the texts for alike."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from textgate.components.inference import CalibratedPredictor, LoadedBundle, Predictor
from textgate.components.inference.linear import LinearPredictor

_DIMENSIONS = 50
_SEED = 13


def embed_texts(predictor: Predictor, texts: Sequence[str]) -> npt.NDArray[np.float32] | None:
    """(len(texts), dimensions), of a predictor that ``open_predictor`` gave; None where the model does not show them.

    A transformer on torch shows what its last layer reads; one in ONNX holds only its answers, and so does an ensemble.
    """
    inner = predictor.predictor if isinstance(predictor, CalibratedPredictor | LoadedBundle) else predictor
    if isinstance(inner, LinearPredictor):
        return _main_directions(inner, texts)
    if not hasattr(inner, "embed"):
        return None
    found: npt.NDArray[np.float32] = inner.embed(texts)
    return found


def _main_directions(predictor: LinearPredictor, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """The texts' terms, each by what it does for the answer, in the 50 directions in which the texts differ most.

    Latent semantic analysis (Deerwester et al., JASIS 41(6), 1990) of what the logits are the sums of.
    """
    from scipy.sparse import csr_matrix
    from sklearn.utils.extmath import randomized_svd

    # What a term adds to one label's logit over another's; what it adds to all of them decides nothing.
    influence = np.ptp(predictor.weights, axis=1)
    found = [predictor.features(text) for text in texts]
    columns, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    starts = np.cumsum([0, *(len(numbers) for numbers, _ in found)])
    terms = csr_matrix((values * influence[columns], columns, starts), (len(texts), len(influence)))
    directions = min(_DIMENSIONS, len(texts))
    if len(influence) <= directions:
        return np.asarray(terms.toarray(), dtype=np.float32)
    left, lengths, _ = randomized_svd(terms, directions, random_state=_SEED)
    return np.asarray(left * lengths, dtype=np.float32)
