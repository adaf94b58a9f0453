"""Find training texts whose label looks wrong, by confident learning.

TF-IDF and logistic regression are trained on four fifths of the texts and predict the last fifth, in turn, so each text
has a prediction of a model that has not seen it. Confident learning estimates from these probabilities how many texts
of each class carry the label of each other class, and takes the least probable labels for them.

Reference: Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels (JAIR 70, 2021), by
cleanlab's ``find_label_issues``. Its methods are compared in docs/data.md.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Dataset, InputError, Progress, Row
from textgate.components.contracts.label_issues import (
    CheckedLabel,
    LabelIssue,
    LabelIssuesManifest,
    LabelPair,
    write_label_issues,
)
from textgate.components.contracts.sampling import sample_rows
from textgate.components.families.tfidf import MAX_TERMS, beginnings, tfidf_vectorizer

SPLIT = "train"
_FOLDS = 5
_MIN_TEXTS = 2 * _FOLDS
"""A label with fewer different texts is not checked: too few to learn it from would make each of them look wrong."""
_INVERSE_REGULARIZATION = 1.0
"""``C`` of the regression. Weaker regularization fits the wrong labels: with 10, the baseline's, the precision among
the headlines of which 20 % are wrong falls from .92 to .80."""
_MAX_WEIGHTS = 1_000_000
"""Limit on the number of terms times labels, which keeps 150 labels as fast as 20."""

Classes = npt.NDArray[np.int64]


def check_dataset(dataset_folder: Path, max_texts: int, seed: int, output: Path) -> LabelIssuesManifest:
    """Write the training texts whose label looks wrong.

    Memory holds the beginnings of ``max_texts`` texts and their features.

    Args:
        dataset_folder: Preprocessed dataset.
        max_texts: Largest number of texts to check, sampled with ``seed``.
        seed: Seed of the sample and of the folds.
        output: Folder to write the texts and counts to.

    Raises:
        InputError: The dataset is damaged or has not been preprocessed.
    """
    dataset = Dataset.open(dataset_folder)
    if dataset.manifest.near_duplicates is None:
        raise InputError(f"the dataset {dataset_folder} has not been preprocessed: its texts have no keys")
    counts = dataset.manifest.counts[SPLIT]
    rows = _sample(dataset, sum(counts.values()), max_texts, seed)
    distinct = Counter(label for label, _ in {(row.label, row.key) for row in rows})
    labels = [label for label in dataset.manifest.labels if distinct[label] >= _MIN_TEXTS]
    checked = [row for row in rows if row.label in labels] if len(labels) > 1 else []
    issues = _label_issues(checked, labels, seed) if checked else []
    manifest = _manifest(dataset, labels if checked else [], checked, issues)
    write_label_issues(output, manifest, issues)
    return manifest


def _sample(dataset: Dataset, rows: int, size: int, seed: int) -> list[Row]:
    """Return a sample of the training texts, each cut to its beginning."""
    chosen = np.zeros(rows, dtype=bool)
    chosen[sample_rows(rows, size, seed)] = True
    sampled = compress(dataset.rows(SPLIT), chosen.tolist())
    return [Row(row.id, text, row.label, key=row.key) for row in sampled for text in beginnings([row.text])]


def _label_issues(rows: Sequence[Row], labels: Sequence[str], seed: int) -> list[LabelIssue]:
    """Return the texts whose label looks wrong, the most suspect first."""
    from cleanlab.filter import find_label_issues

    class_of = {label: index for index, label in enumerate(labels)}
    classes = np.array([class_of[row.label] for row in rows], dtype=np.int64)
    probabilities = _held_out_probabilities(rows, classes, len(labels), seed)
    if probabilities is None:
        return []
    wrong = find_label_issues(classes, probabilities, filter_by="both", n_jobs=1)
    scores, others = probabilities[np.arange(len(rows)), classes], probabilities.copy()
    others[np.arange(len(rows)), classes] = -1
    suggested = others.argmax(axis=1)
    return [
        LabelIssue(
            key=rows[index].key,
            id=rows[index].id,
            split=SPLIT,
            label=rows[index].label,
            suggested=labels[suggested[index]],
            probability=float(probabilities[index, suggested[index]]),
            score=float(scores[index]),
            text=rows[index].text,
        )
        for index in sorted(np.flatnonzero(wrong).tolist(), key=lambda index: (scores[index], rows[index].id))
    ]


def _held_out_probabilities(
    rows: Sequence[Row], classes: Classes, labels: int, seed: int
) -> npt.NDArray[np.float64] | None:
    """Return probabilities (n, labels) by models that were not trained on the text or a copy of it.

    The terms and their document frequencies come from all texts, which tells nothing about labels.

    Returns:
        The probabilities; None if no text has a word.
    """
    from sklearn.linear_model import LogisticRegression

    try:
        features = tfidf_vectorizer(min(MAX_TERMS, _MAX_WEIGHTS // labels)).fit_transform(row.text for row in rows)
    except ValueError:  # an empty vocabulary
        return None
    folds = _folds([row.key for row in rows], classes, seed)
    probabilities, progress = np.zeros((len(rows), labels)), Progress(total=_FOLDS, unit="folds")
    for fold in range(_FOLDS):
        train, held_out = folds != fold, folds == fold
        model = LogisticRegression(C=_INVERSE_REGULARIZATION, max_iter=100, class_weight="balanced")
        model.fit(features[train], classes[train])
        probabilities[np.ix_(held_out, model.classes_)] = model.predict_proba(features[held_out])
        progress.update(fold + 1, "checking labels")
    return probabilities


def _folds(keys: Sequence[str], classes: Classes, seed: int) -> npt.NDArray[np.int64]:
    """Return the fold (n,) of each text; copies of a text are in one fold, and each fold has the shares of labels."""
    from sklearn.model_selection import StratifiedKFold

    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    fold_of = np.empty(len(first), dtype=np.int64)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(first, classes[first])
    for fold, (_, held_out) in enumerate(folds):
        fold_of[held_out] = fold
    return fold_of[group]


def _manifest(
    dataset: Dataset, labels: Sequence[str], checked: Sequence[Row], issues: Sequence[LabelIssue]
) -> LabelIssuesManifest:
    counts = dataset.manifest.counts[SPLIT]
    rows, wrong = Counter(row.label for row in checked), Counter(issue.label for issue in issues)
    pairs = Counter((issue.label, issue.suggested) for issue in issues)
    return LabelIssuesManifest(
        dataset=dataset.manifest.fingerprint,
        texts=sum(counts.values()),
        labels={label: CheckedLabel(checked=rows[label], issues=wrong[label]) for label in labels},
        unchecked={label: rows for label, rows in counts.items() if label not in labels},
        pairs=[
            LabelPair(label=label, suggested=suggested, issues=number)
            for (label, suggested), number in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
        ],
    )
