"""MLServer with a runtime of our own and its adaptive batching on; writes settings into a folder and starts it there.

https://docs.seldon.ai/mlserver/user-guide/custom, https://docs.seldon.ai/mlserver/user-guide/adaptive-batching and
https://docs.seldon.ai/mlserver/user-guide/parallel-inference
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from engine import Engine
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Classifier(MLModel):
    """Requests arrive merged; the answer is cut up again by MLServer."""

    async def load(self) -> bool:
        self._engine = Engine(threads=1)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        texts = StringCodec.decode_input(payload.inputs[0])
        answers = await asyncio.to_thread(self._engine.classify, texts)
        labels = StringCodec.encode_output("label", [answer["label"] for answer in answers])
        return InferenceResponse(model_name=self.name, outputs=[labels])


def start(http: int, grpc: int, metrics: int, folder: Path) -> None:
    settings = {
        "host": "127.0.0.1",
        "http_port": http,
        "grpc_port": grpc,
        "metrics_port": metrics,
        # Its worker processes, which need uvloop 0.21, answered no more on two cores than threads, in twice the memory.
        "parallel_workers": 0,
        "debug": False,
    }
    model = {
        "name": "headlines",
        "implementation": "mlserver_runtime.Classifier",
        "max_batch_size": 16,
        "max_batch_time": 0.002,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    mlserver = str(Path(sys.executable).with_name("mlserver"))
    os.execv(mlserver, [mlserver, "start", str(folder)])


if __name__ == "__main__":
    start(*map(int, sys.argv[1:4]), Path(sys.argv[4]))
