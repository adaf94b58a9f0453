"""LitServe with batching, its fast queue and one worker process per core.

https://lightning.ai/docs/litserve/features/batching and https://lightning.ai/docs/litserve/api-reference/litserver
"""

import sys

import litserve
from engine import Engine, Prediction


class Classifier(litserve.LitAPI):
    """API in which a request is a list of texts and a batch is a list of requests, predicted in one run."""

    def setup(self, device: str) -> None:
        self._engine = Engine(threads=1)

    def decode_request(self, request: dict[str, list[str]]) -> list[str]:
        return request["texts"]

    def batch(self, inputs: list[list[str]]) -> list[list[str]]:
        return inputs

    def predict(self, x: list[list[str]]) -> list[list[Prediction]]:
        predictions = iter(self._engine.classify([text for texts in x for text in texts]))
        return [[next(predictions) for _ in texts] for texts in x]

    def unbatch(self, output: list[list[Prediction]]) -> list[list[Prediction]]:
        return output

    def encode_response(self, output: list[Prediction]) -> dict[str, list[Prediction]]:
        return {"predictions": output}


if __name__ == "__main__":
    api = Classifier(max_batch_size=16, batch_timeout=0.002)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=2, fast_queue=True).run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
    )
