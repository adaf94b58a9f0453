"""TF-IDF + logistic regression, stored as plain arrays that answer without scikit-learn."""

import json
from pathlib import Path

import numpy as np

from textgate.components.contracts import (
    Dataset,
    InputError,
    LinearRuntime,
    LinearTraining,
    ModelBundle,
    OnnxRuntime,
    TransformersRuntime,
)
from textgate.components.families import Surroundings
from textgate.components.metrics import accuracy, f1
from textgate.serving import Predictor, load
from textgate.serving.linear import ARRAYS, VOCABULARY, LinearPredictor


def fit(
    dataset: Dataset, training: LinearTraining, folder: Path, surroundings: Surroundings
) -> tuple[LinearRuntime, dict[str, float]]:
    """See ``Family.fit``.

    Raises:
        InputError: no n-gram occurs in ``min_df`` texts.
    """
    from safetensors.numpy import save_file
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    _, texts, classes = dataset.columns("train")
    print(f"fitting TF-IDF {training.ngrams} and logistic regression on {len(texts):,} texts", flush=True)
    vectorizer = TfidfVectorizer(
        ngram_range=training.ngrams, min_df=training.min_df, sublinear_tf=training.sublinear, dtype=np.float64
    )
    try:
        features = vectorizer.fit_transform(texts)
    except ValueError as error:
        raise InputError(
            f"no n-gram of the {len(texts):,} training texts occurs in train.min_df={training.min_df} of them: lower it"
        ) from error
    model = LogisticRegression(C=training.C, max_iter=training.max_iterations).fit(features, classes)

    weights, bias = model.coef_, model.intercept_
    if len(weights) == 1:
        # Two classes: softmax over (0, z) is the sigmoid of z.
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.array([0.0, bias[0]])
    arrays = {"idf": vectorizer.idf_, "weights": np.ascontiguousarray(weights), "bias": bias}
    save_file(arrays, folder / ARRAYS)
    terms = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    (folder / VOCABULARY).write_text(json.dumps(terms, ensure_ascii=False), "utf-8")

    runtime = LinearRuntime(ngrams=training.ngrams, sublinear=training.sublinear)
    _, texts, classes = dataset.columns("validation")
    predicted = LinearPredictor(folder, dataset.normalizer, runtime).predict(texts).argmax(axis=1)
    return runtime, {
        "validation_f1": f1(classes, predicted, len(dataset.manifest.labels)),
        "validation_accuracy": accuracy(classes, predicted),
        "terms": float(len(terms)),
    }


def predictor(folder: Path, bundle: ModelBundle, checkpoint: Path | None) -> Predictor:
    """See ``Family.predictor``: the arrays that were fitted are the arrays that are served."""
    return load(folder)


def merge(
    folder: Path, bundle: ModelBundle, checkpoint: Path | None, output: Path
) -> tuple[TransformersRuntime, str] | None:
    """See ``Family.merge``: the bundle is whole."""
    return None


def export(folder: Path, bundle: ModelBundle, target: str, output: Path) -> OnnxRuntime | None:
    """See ``Family.export``: the arrays are served as they are."""
    return None
