"""Family ``linear``: TF-IDF, optionally latent semantic analysis, and logistic regression.

Every step after TF-IDF is linear. So the projection to latent dimensions, the standardization and the regression
multiply to one matrix over the terms, which is stored as plain arrays and served without scikit-learn.
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
from textgate.components.families import FitResult, TrainingContext, validation_metrics
from textgate.components.families.logistic_regression import softmax_layer
from textgate.components.inference import Predictor, load_bundle
from textgate.components.inference.linear import ARRAYS, VOCABULARY, LinearPredictor

Floats = npt.NDArray[np.float64]

# Relative to the largest singular value: smaller ones are rounding noise of float32.
_NOISE = 1e-5


def fit(dataset: Dataset, training: LinearTraining, folder: Path, context: TrainingContext) -> FitResult:
    """See ``Family.fit``.

    Raises:
        InputError: No n-gram occurs in ``min_df`` texts, or there are not more n-grams than ``components``.
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
    """Return the directions (terms, components) of latent semantic analysis.

    Deerwester et al., Indexing by Latent Semantic Analysis (JASIS 41(6), 1990), by truncated SVD as in scikit-learn's
    user guide, section 2.5.2. There are fewer components if the features have a lower rank.
    """
    from sklearn.decomposition import TruncatedSVD

    terms = features.shape[1]
    if components >= terms:
        raise InputError(
            f"train.components={components} must be below the number of terms, and the training texts have {terms:,}: "
            "lower it"
        )
    print(f"reducing {terms:,} terms to {components} components", flush=True)
    # float32 is twice as fast as float64, at the same accuracy.
    decomposition = TruncatedSVD(components, random_state=seed).fit(features.astype(np.float32))
    # With fewer distinct texts than components the last directions are noise, which standardization would amplify.
    significant = decomposition.singular_values_ > _NOISE * decomposition.singular_values_[0]
    return np.asarray(decomposition.components_[significant].T, dtype=np.float64)


def fit_regression(
    features: Any,
    projection: Floats | None,
    classes: npt.NDArray[np.int64],
    training: LinearTraining | Word2VecTraining,
) -> tuple[Floats, Floats]:
    """Fit logistic regression on the features, or on a standardized projection, and return one layer on the features.

    Args:
        features: Sparse matrix (texts, terms) float64.
        projection: (terms, dimensions); the regression is fitted on the standardized ``features @ projection``. None
            fits it on the features.
        classes: Class indices (texts,); every class must occur.
        training: Section with ``C``, ``max_iterations`` and ``class_weights``.

    Returns:
        Weights (labels, terms) and bias (labels,); the probabilities are softmax(features @ weights.T + bias).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(C=training.C, max_iter=training.max_iterations, class_weight=training.class_weights)
    if projection is None:
        model.fit(features, classes)
        weights, bias = model.coef_, model.intercept_
    else:
        scaler = StandardScaler()
        model.fit(scaler.fit_transform(features @ projection), classes)
        scaled = model.coef_ / scaler.scale_
        weights, bias = scaled @ projection.T, model.intercept_ - scaled @ scaler.mean_
    weights, bias = softmax_layer(weights, bias)
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
    """Write the arrays of a linear bundle to ``folder``, and return the predictor's metrics on the validation split.

    Args:
        folder: Folder of the bundle.
        dataset: Dataset with the split ``validation``.
        runtime: How the predictor counts and weights terms.
        terms: Vocabulary, in the order of the columns.
        idf: (terms,) float64.
        weights: (labels, terms) float64.
        bias: (labels,) float64.
    """
    from safetensors.numpy import save_file

    save_file({"idf": idf, "weights": weights, "bias": bias}, folder / ARRAYS)
    (folder / VOCABULARY).write_text(json.dumps(terms, ensure_ascii=False), "utf-8")
    _, texts, classes = dataset.columns("validation")
    probabilities = LinearPredictor(folder, dataset.normalizer, runtime).predict_proba(texts)
    return {**validation_metrics(classes, probabilities), "terms": float(len(terms))}


def predictor(folder: Path, bundle: ModelBundle, base_model: Path | None) -> Predictor:
    """See ``Family.predictor``; the served arrays are the fitted ones."""
    return load_bundle(folder)


def merge(
    folder: Path, bundle: ModelBundle, base_model: Path | None, output: Path
) -> tuple[TransformersRuntime, str] | None:
    """See ``Family.merge``; there is nothing to merge."""
    return None
