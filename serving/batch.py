"""What passes through the batcher: requests, their chunks in the queue, and the prediction of a request."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from textgate.serving.served_model import ServedVersion

BATCH_COST = 1_400
"""Cost of a batch, in bytes including the overhead of each text: about 256 tokens."""


@dataclass(frozen=True)
class BatchPrediction:
    """Predictions of one version for the texts of one request."""

    model: str
    version: str
    labels: list[str]
    """All labels of the model, in the order of the probabilities."""
    label_indices: list[int]
    """Index of each text's predicted label; the bundle's decision threshold is applied if it has one."""
    probabilities: list[list[float]]
    """Probabilities of all labels for each text."""
    truncated: list[bool]
    """For each text, True if the model did not read its end."""


@dataclass(eq=False)
class PendingRequest:
    """Texts of one request and their results so far; except for ``is_over``, used on the event loop's thread only."""

    version: ServedVersion
    future: "asyncio.Future[BatchPrediction]"
    prediction: BatchPrediction
    remaining: int
    """Number of texts without a result."""
    has_failed: bool = False
    """Set by a worker."""

    @property
    def is_over(self) -> bool:
        """True if no more results are needed: a text failed, the deadline has passed, or the client has left."""
        return self.has_failed or self.future.done()

    def set_result(self, row: int, label_index: int, probabilities: list[float], truncated: bool) -> None:
        """Set the result of one text; the last one completes the request."""
        prediction = self.prediction
        prediction.label_indices[row], prediction.probabilities[row] = label_index, probabilities
        prediction.truncated[row] = truncated
        self.remaining -= 1
        if not self.remaining and not self.future.done():
            self.future.set_result(prediction)


@dataclass(eq=False)
class Chunk:
    """Texts of one request that are processed in one turn of a worker."""

    request: PendingRequest
    rows: list[int]
    texts: list[str]
    cost: int
    seconds: float
    """Estimated processing time."""
    arrived: float


class Text(NamedTuple):
    """Text of a batch."""

    request: PendingRequest
    row: int
    text: str


def split(request: PendingRequest, texts: Sequence[str]) -> list[Chunk]:
    """Split the texts of a request into chunks of at most the cost of a batch, the shortest texts first."""
    now, version = time.monotonic(), request.version
    chunks: list[Chunk] = []
    costs = [version.cost(text) for text in texts]
    for row in sorted(range(len(texts)), key=costs.__getitem__):
        if not chunks or chunks[-1].cost + costs[row] > BATCH_COST:
            chunks.append(Chunk(request, [], [], 0, 0.0, now))
        chunk = chunks[-1]
        chunk.rows.append(row)
        chunk.texts.append(texts[row])
        chunk.cost += costs[row]
        chunk.seconds += costs[row] * version.seconds_per_cost
    return chunks
