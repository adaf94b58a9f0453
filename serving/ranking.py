"""The order in which every route lists the labels of a text."""

from collections.abc import Iterator
from typing import Any

from textgate.serving.batch import BatchPrediction


def ranked_labels(prediction: BatchPrediction, count: int) -> Iterator[list[dict[str, Any]]]:
    """Yield for each text its ``count`` first labels with their scores: the predicted label, then by probability.

    If the bundle has a decision threshold, the predicted label may not be the most probable one. It comes first anyway,
    so that clients that read the first label get the decision that was evaluated. Ties keep the order of the labels.
    """
    labels = prediction.labels
    for row, predicted in zip(prediction.probabilities, prediction.label_indices, strict=True):
        order = sorted(range(len(labels)), key=row.__getitem__, reverse=True)
        order.remove(predicted)
        order.insert(0, predicted)
        yield [{"label": labels[index], "score": row[index]} for index in order[:count]]
