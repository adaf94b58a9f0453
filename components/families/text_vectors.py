"""Vectors of texts from a trained model, for the map of texts in the report.

Texts that the model treats alike have vectors that are close to each other.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from textgate.components.inference import CalibratedPredictor, LoadedBundle, Predictor
from textgate.components.inference.linear import LinearPredictor

_DIMENSIONS = 50
_SEED = 13


def embed_texts(predictor: Predictor, texts: Sequence[str]) -> npt.NDArray[np.float32] | None:
    """Return the vectors (len(texts), dimensions) float32 of ``texts``, or None if the model gives none.

    A transformer on torch gives the input of its last layer, a linear model its weighted terms, projected to at most 50
    dimensions. An ONNX graph and an ensemble give probabilities only.

    Args:
        predictor: Result of ``open_predictor``.
        texts: Raw texts.
    """
    inner = predictor.predictor if isinstance(predictor, CalibratedPredictor | LoadedBundle) else predictor
    if isinstance(inner, LinearPredictor):
        return _project_terms(inner, texts)
    if not hasattr(inner, "embed"):
        return None
    vectors: npt.NDArray[np.float32] = inner.embed(texts)
    return vectors


def _project_terms(predictor: LinearPredictor, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the texts' terms, weighted by their influence on the prediction, in at most 50 principal directions.

    Latent semantic analysis (Deerwester et al., Indexing by Latent Semantic Analysis, JASIS 41(6), 1990) of the terms'
    contributions to the logits.
    """
    from scipy.sparse import csr_matrix
    from sklearn.utils.extmath import randomized_svd

    # The range of a term's weights over the labels: adding the same to all logits does not change the prediction.
    influence = np.ptp(predictor.weights, axis=1)
    features = [predictor.features(text) for text in texts]
    columns, values = (np.concatenate(arrays) for arrays in zip(*features, strict=True))
    starts = np.cumsum([0, *(len(indices) for indices, _ in features)])
    terms = csr_matrix((values * influence[columns], columns, starts), (len(texts), len(influence)))
    dimensions = min(_DIMENSIONS, len(texts))
    if len(influence) <= dimensions:
        return np.asarray(terms.toarray(), dtype=np.float32)
    left, singular_values, _ = randomized_svd(terms, dimensions, random_state=_SEED)
    return np.asarray(left * singular_values, dtype=np.float32)
