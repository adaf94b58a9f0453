"""KServe's Python server with a custom model, one worker thread per core, without an access log.

https://kserve.github.io/website/docs/model-serving/predictive-inference/frameworks/custom-predictor/custom-predictor
On a cluster, a sidecar batches requests; this server does not:
https://kserve.github.io/website/docs/model-serving/predictive-inference/batcher
Several processes (workers=2) were not faster on two cores, and on a busy machine the server restarted them forever.
"""

import asyncio
import sys
from typing import Any

import kserve
import uvicorn
from engine import Engine, Prediction
from kserve.protocol.rest import server


class Classifier(kserve.Model):
    """Model behind KServe's protocol version 1, which is faster here than version 2."""

    def load(self) -> bool:
        self._engine = Engine(threads=1)
        self.ready = True
        return self.ready

    async def predict(
        self, payload: dict[str, list[str]], headers: dict[str, str] | None = None, response_headers: Any = None
    ) -> dict[str, list[Prediction]]:
        return {"predictions": await asyncio.to_thread(self._engine.classify, payload["instances"])}


class LoopbackConfig(uvicorn.Config):
    """Configuration that listens on loopback; KServe listens on all addresses and has no setting for that."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{**settings, "host": "127.0.0.1"})


if __name__ == "__main__":
    server.uvicorn.Config = LoopbackConfig
    model = Classifier("headlines")
    model.load()
    kserve.ModelServer(
        http_port=int(sys.argv[1]), enable_grpc=False, enable_latency_logging=False, max_asyncio_workers=2
    ).start([model])
