"""TF-IDF and logistic regression as a baseline: fitted in seconds, scored on the same split as the model.

On many text classification tasks it comes close to fine-tuned models (Wang and Manning, Baselines and Bigrams, ACL
2012), so a score says little without it.
"""

from collections.abc import Sequence

from textgate.components.contracts import Dataset
from textgate.components.contracts.evaluation import TfidfBaseline
from textgate.components.contracts.sampling import sample_rows
from textgate.components.families.tfidf import beginnings, tfidf_vectorizer
from textgate.components.metrics import estimates
from textgate.components.metrics.classification import Classes


def tfidf_baseline(
    dataset: Dataset, texts: Sequence[str], truth: Classes, train_texts: int, seed: int
) -> TfidfBaseline | None:
    """Fit TF-IDF + logistic regression on the split ``train`` and score it on another split.

    Classes are weighted by the inverse of their frequency, so that a rare one is predicted at all.

    Args:
        dataset: Dataset with the split ``train``.
        texts: Texts to score on, (n,).
        truth: Their true classes, (n,) int64.
        train_texts: Largest number of training texts, sampled with ``seed``.
        seed: Seed of the sample.

    Returns:
        The scores; None if no training text has a word, or the sample has a single label.
    """
    from sklearn.linear_model import LogisticRegression

    _, train, classes = dataset.columns("train")
    rows = sample_rows(len(train), train_texts, seed)
    labels = len(dataset.manifest.labels)
    if len(set(classes[rows].tolist())) < labels:
        return None
    vectorizer = tfidf_vectorizer()
    try:
        features = vectorizer.fit_transform(beginnings(train[row] for row in rows))
    except ValueError:  # an empty vocabulary
        return None
    model = LogisticRegression(C=10, max_iter=100, class_weight="balanced").fit(features, classes[rows])
    probabilities = model.predict_proba(vectorizer.transform(beginnings(texts)))
    metrics = estimates(truth, probabilities.argmax(axis=1), probabilities)
    print(f"baseline: TF-IDF + logistic regression on {len(rows):,} texts has F1 {metrics['f1']}", flush=True)
    return TfidfBaseline(train_rows=len(rows), metrics=metrics)
