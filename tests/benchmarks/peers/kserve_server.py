"""KServe's Python server with a model of our own: a process a core, no line of log a request.

https://kserve.github.io/website/docs/model-serving/predictive-inference/frameworks/custom-predictor/custom-predictor
Batching is done by a sidecar on a cluster, not by this server:
https://kserve.github.io/website/docs/model-serving/predictive-inference/batcher
"""

import sys
from functools import cached_property
from typing import Any

import kserve
import uvicorn
from engine import Answer, Engine
from kserve.protocol.rest import server


class Classifier(kserve.Model):
    """Speaks KServe's own protocol, version 1, which costs it less than version 2."""

    @cached_property
    def _engine(self) -> Engine:
        # Opened by each process for itself: the model is pickled to get there, and a session cannot be.
        return Engine(threads=1)

    def load(self) -> bool:
        self.ready = True
        return self.ready

    def predict(
        self, payload: dict[str, list[str]], headers: dict[str, str] | None = None, response_headers: Any = None
    ) -> dict[str, list[Answer]]:
        return {"predictions": self._engine.classify(payload["instances"])}


class OnLoopback(uvicorn.Config):
    """KServe asks for every address, and has no setting for it."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{**settings, "host": "127.0.0.1"})


if __name__ == "__main__":
    server.uvicorn.Config = OnLoopback
    model = Classifier("headlines")
    model.load()
    kserve.ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, enable_latency_logging=False, workers=2).start(
        [model]
    )
