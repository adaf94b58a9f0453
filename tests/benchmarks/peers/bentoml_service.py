"""BentoML with adaptive batching and one process per core.

https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html and
https://docs.bentoml.com/en/latest/build-with-bentoml/parallelize-requests.html
"""

import bentoml
from engine import Engine, Prediction


@bentoml.service(workers=2, threads=1, traffic={"timeout": 60}, metrics={"enabled": False})
class Classifier:
    """Service; BentoML merges the texts of several requests and splits the results."""

    def __init__(self) -> None:
        self._engine = Engine(threads=1)

    # BentoML rejects a request that would wait longer than max_latency_ms with status 503.
    @bentoml.api(batchable=True, max_batch_size=16, max_latency_ms=10_000)
    def classify(self, texts: list[str]) -> list[Prediction]:
        return self._engine.classify(texts)
