"""What is measured on the answers alone: accuracy, precision, recall, F1 and the Matthews correlation.

All of it follows from how many rows of each class were answered rightly (``hits``), answered at all (``called``) and
are truly of it (``true``). Numbers are those of scikit-learn with zero_division=0.
"""

import numpy as np
import numpy.typing as npt

Classes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def confusion(truth: Classes, predicted: Classes, classes: int) -> Classes:
    """Counts (classes, classes) int64: rows are true classes, columns predicted ones."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def counts(truth: Classes, predicted: Classes, classes: int) -> tuple[Floats, Floats, Floats]:
    """``hits``, ``called`` and ``true``, each (classes,) float64."""
    table = confusion(truth, predicted, classes).astype(np.float64)
    return np.diag(table), table.sum(axis=0), table.sum(axis=1)


def per_class(hits: Floats, called: Floats, true: Floats) -> dict[str, Floats]:
    """Precision, recall and F1 of each class, in the shape of the counts; 0 where there is nothing to divide by."""
    return {"precision": _share(hits, called), "recall": _share(hits, true), "f1": _share(2 * hits, called + true)}


def answer_scores(hits: Floats, called: Floats, true: Floats) -> dict[str, Floats]:
    """By name (see ``METRICS``), from counts (..., classes) float64: arrays of their shape less the last axis.

    F1, precision and recall are those of the last class of two, and the mean over the classes where there are more. The
    Matthews correlation of several classes: Gorodkin, Comparing two K-category assignments by a K-category correlation
    coefficient (2004); 0 where only one class is true or only one is answered.
    """
    classes = per_class(hits, called, true)
    rows, right = true.sum(axis=-1), hits.sum(axis=-1)
    spread = np.sqrt((rows**2 - (called**2).sum(axis=-1)) * (rows**2 - (true**2).sum(axis=-1)))
    return {
        "f1": headline(classes["f1"]),
        "accuracy": _share(right, rows),
        "precision": headline(classes["precision"]),
        "recall": headline(classes["recall"]),
        "macro_f1": classes["f1"].mean(axis=-1),
        "weighted_f1": _share((classes["f1"] * true).sum(axis=-1), rows),
        "mcc": _share(right * rows - (called * true).sum(axis=-1), spread),
    }


def headline(of_classes: Floats) -> Floats:
    """Of values (..., classes), that of the last class of two, the mean over the classes where there are more."""
    return np.asarray(of_classes[..., 1] if of_classes.shape[-1] == 2 else of_classes.mean(axis=-1))


def per_class_f1(truth: Classes, predicted: Classes, classes: int) -> Floats:
    """F1 of each class (classes,) float64; 0 for a class that is neither true nor predicted anywhere."""
    return per_class(*counts(truth, predicted, classes))["f1"]


def f1(truth: Classes, predicted: Classes, classes: int) -> float:
    """F1 of the last class of two, macro F1 over more, as scikit-learn's ``f1_score`` with zero_division=0."""
    return float(headline(per_class_f1(truth, predicted, classes)))


def accuracy(truth: Classes, predicted: Classes) -> float:
    """Share of equal entries."""
    return float(np.mean(truth == predicted))


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
