"""MLServer with a custom runtime and adaptive batching; the script writes the settings into a folder and starts it.

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
    """Runtime; MLServer merges requests into batches and splits the responses."""

    async def load(self) -> bool:
        self._engine = Engine(threads=1)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        texts = StringCodec.decode_input(payload.inputs[0])
        predictions = await asyncio.to_thread(self._engine.classify, texts)
        labels = StringCodec.encode_output("label", [prediction["label"] for prediction in predictions])
        return InferenceResponse(model_name=self.name, outputs=[labels])


def write_settings_and_start(http: int, grpc: int, metrics: int, folder: Path) -> None:
    settings = {
        "host": "127.0.0.1",
        "http_port": http,
        "grpc_port": grpc,
        "metrics_port": metrics,
        # Worker processes, which need uvloop 0.21, were not faster than threads on two cores and used twice the memory.
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
    http_port, grpc_port, metrics_port = map(int, sys.argv[1:4])
    write_settings_and_start(http_port, grpc_port, metrics_port, Path(sys.argv[4]))
