"""TF-IDF, latent semantic analysis if asked for, and logistic regression, as arrays that answer without scikit-learn.

All that follows TF-IDF is linear: projection on the latent dimensions, standardising and the regression together are
one matrix over terms, and only that is kept.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import (
    Dataset,
    InputError,
    LinearRuntime,
    LinearTraining,
    ModelBundle,
    TransformersRuntime,
    Word2VecTraining,
)
from textgate.components.families import FitResult, TrainingContext
from textgate.components.inference import Predictor, load_bundle
from textgate.components.inference.linear import ARRAYS, VOCABULARY, LinearPredictor
from textgate.components.metrics import accuracy, f1

Floats = npt.NDArray[np.float64]

# Of the largest singular value: below it a direction is the rounding noise of float32.
_NOISE = 1e-5


def fit(dataset: Dataset, training: LinearTraining, folder: Path, context: TrainingContext) -> FitResult:
    """See ``Family.fit``.

    Raises:
        InputError: no n-gram occurs in ``min_df`` texts, or there are no more n-grams than ``components``.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    _, texts, classes = dataset.columns("train")
    print(f"fitting TF-IDF {training.ngrams} and logistic regression on {len(texts):,} texts", flush=True)
    vectorizer = TfidfVectorizer(
        ngram_range=training.ngrams,
        min_df=training.min_df,
        max_features=training.max_terms,
        sublinear_tf=training.sublinear,
        dtype=np.float64,
    )
    try:
        features = vectorizer.fit_transform(texts)
    except ValueError as error:
        raise InputError(
            f"no n-gram of the {len(texts):,} training texts occurs in train.min_df={training.min_df} of them: lower it"
        ) from error
    projection = None if training.components is None else _latent(features, training.components, training.seed)
    weights, bias = fit_regression(features, projection, classes, training)
    terms = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    runtime = LinearRuntime(ngrams=training.ngrams, sublinear=training.sublinear)
    return FitResult(runtime, write(folder, dataset, runtime, terms, vectorizer.idf_, weights, bias))


def _latent(features: Any, components: int, seed: int) -> Floats:
    """Directions (terms, components) of latent semantic analysis (Deerwester et al., JASIS 41(6), 1990).

    By scikit-learn's "Truncated singular value decomposition and latent semantic analysis" (user guide, 2.5.2).
    """
    from sklearn.decomposition import TruncatedSVD

    terms = features.shape[1]
    if components >= terms:
        raise InputError(
            f"train.components={components} must be below the number of terms, and the training texts have {terms:,}: "
            "lower it"
        )
    print(f"reducing {terms:,} terms to {components} components", flush=True)
    # Twice as fast as in float64, at the same accuracy.
    decomposition = TruncatedSVD(components, random_state=seed).fit(features.astype(np.float32))
    # Fewer different texts than components: standardising would blow up what is left of a direction without any.
    real = decomposition.singular_values_ > _NOISE * decomposition.singular_values_[0]
    return np.asarray(decomposition.components_[real].T, dtype=np.float64)


def fit_regression(
    features: Any,
    projection: Floats | None,
    classes: npt.NDArray[np.int64],
    training: LinearTraining | Word2VecTraining,
) -> tuple[Floats, Floats]:
    """Logistic regression on features, or on their standardised projection, as one linear layer on the features.

    Args:
        features: sparse (texts, terms) float64.
        projection: (terms, dimensions) the regression sees ``features @ projection``, standardised; None the features.
        classes: (texts,) class numbers, every class among them.
        training: says ``C`` and ``max_iterations``.

    Returns:
        weights (labels, terms) and bias (labels,): softmax(features @ weights.T + bias) are the probabilities.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(C=training.C, max_iter=training.max_iterations)
    if projection is None:
        model.fit(features, classes)
        weights, bias = model.coef_, model.intercept_
    else:
        scaler = StandardScaler()
        model.fit(scaler.fit_transform(features @ projection), classes)
        scaled = model.coef_ / scaler.scale_
        weights, bias = scaled @ projection.T, model.intercept_ - scaled @ scaler.mean_
    if len(weights) == 1:
        # Two classes: softmax over (0, z) is the sigmoid of z.
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.array([0.0, bias[0]])
    return np.ascontiguousarray(weights), bias


def write(
    folder: Path,
    dataset: Dataset,
    runtime: LinearRuntime,
    terms: list[str],
    idf: Floats,
    weights: Floats,
    bias: Floats,
) -> dict[str, float]:
    """Write the arrays into ``folder`` and measure on the validation split what answers from them."""
    from safetensors.numpy import save_file

    save_file({"idf": idf, "weights": weights, "bias": bias}, folder / ARRAYS)
    (folder / VOCABULARY).write_text(json.dumps(terms, ensure_ascii=False), "utf-8")
    _, texts, classes = dataset.columns("validation")
    predicted = LinearPredictor(folder, dataset.normalizer, runtime).predict_proba(texts).argmax(axis=1)
    return {
        "validation_f1": f1(classes, predicted, len(dataset.manifest.labels)),
        "validation_accuracy": accuracy(classes, predicted),
        "terms": float(len(terms)),
    }


def predictor(folder: Path, bundle: ModelBundle, base_model: Path | None) -> Predictor:
    """See ``Family.predictor``: the arrays that were fitted are the arrays that are served."""
    return load_bundle(folder)


def merge(
    folder: Path, bundle: ModelBundle, base_model: Path | None, output: Path
) -> tuple[TransformersRuntime, str] | None:
    """See ``Family.merge``: the bundle is whole."""
    return None
