"""KServe's Python server with a model of our own, a thread of work a core, no line of log a request.

https://kserve.github.io/website/docs/model-serving/predictive-inference/frameworks/custom-predictor/custom-predictor
Batching is done by a sidecar on a cluster, not by this server:
https://kserve.github.io/website/docs/model-serving/predictive-inference/batcher
Its several processes (workers=2) gave nothing on two cores, and on a busy machine it ends and restarts them for ever.
"""

import asyncio
import sys
from typing import Any

import kserve
import uvicorn
from engine import Answer, Engine
from kserve.protocol.rest import server


class Classifier(kserve.Model):
    """Speaks KServe's own protocol, version 1, which costs it less than version 2."""

    def load(self) -> bool:
        self._engine = Engine(threads=1)
        self.ready = True
        return self.ready

    async def predict(
        self, payload: dict[str, list[str]], headers: dict[str, str] | None = None, response_headers: Any = None
    ) -> dict[str, list[Answer]]:
        return {"predictions": await asyncio.to_thread(self._engine.classify, payload["instances"])}


class OnLoopback(uvicorn.Config):
    """KServe asks for every address, and has no setting for it."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{**settings, "host": "127.0.0.1"})


if __name__ == "__main__":
    server.uvicorn.Config = OnLoopback
    model = Classifier("headlines")
    model.load()
    kserve.ModelServer(
        http_port=int(sys.argv[1]), enable_grpc=False, enable_latency_logging=False, max_asyncio_workers=2
    ).start([model])
