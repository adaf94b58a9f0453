"""BentoML with its adaptive batching on and a process a core.

https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html and
https://docs.bentoml.com/en/latest/build-with-bentoml/parallelize-requests.html
"""

import bentoml
from engine import Answer, Engine


@bentoml.service(workers=2, threads=1, traffic={"timeout": 60}, metrics={"enabled": False})
class Classifier:
    """Texts of several requests are merged and cut up again by BentoML."""

    def __init__(self) -> None:
        self._engine = Engine(threads=1)

    # A request that would wait for longer than max_latency_ms is answered with 503.
    @bentoml.api(batchable=True, max_batch_size=16, max_latency_ms=10_000)
    def classify(self, texts: list[str]) -> list[Answer]:
        return self._engine.classify(texts)
