"""Ask an endpoint without pause over HTTP and gRPC, and print the counts every second as a line of JSON.

python load.py HTTP_ADDRESS GRPC_ADDRESS MODEL TEXT LABEL

Runs in a pod, with the API key in TEXTGATE_KEY. Nothing is tried again: each request that fails, or whose answer is not
LABEL, is a failure.
"""

import http.client
import json
import os
import sys
import threading
import time
from collections.abc import Callable

import grpc

from textgate.serving.open_inference_pb2 import ModelInferRequest, ModelInferResponse

_PAUSE_SECONDS = 0.02
_TIMEOUT_SECONDS = 30
_SHOWN_FAILURES = 5


def http_client(address: str, model: str, text: str, key: str) -> Callable[[], str]:
    """Return a function that asks over one connection, which it opens again once the server has closed it."""
    connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_SECONDS)
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}

    def ask() -> str:
        try:
            connection.request("POST", f"/v1/models/{model}:classify", json.dumps({"texts": [text]}), headers)
            answer = connection.getresponse().read()
            return str(json.loads(answer)["predictions"][0]["label"])
        except Exception:
            connection.close()
            raise

    return ask


def grpc_client(address: str, model: str, text: str, key: str) -> Callable[[], str]:
    """Return a function that asks over one channel."""
    call = grpc.insecure_channel(address).unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=ModelInferRequest.SerializeToString,
        response_deserializer=ModelInferResponse.FromString,
    )
    request = ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(text.encode())
    metadata = [("authorization", f"Bearer {key}")]

    def ask() -> str:
        answer = call(request, timeout=_TIMEOUT_SECONDS, metadata=metadata)
        (label,) = (output for output in answer.outputs if output.name == "label")
        return bytes(label.contents.bytes_contents[0]).decode()

    return ask


def main(http_address: str, grpc_address: str, model: str, text: str, label: str) -> None:
    key = os.environ.get("TEXTGATE_KEY", "")
    counts, failures = {"http": 0, "grpc": 0}, []

    def ask_always(protocol: str, ask: Callable[[], str]) -> None:
        while True:
            try:
                answer = ask()
                if answer != label:
                    failures.append(f"{protocol}: {answer}")
            except Exception as error:
                failures.append(f"{protocol}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            counts[protocol] += 1
            time.sleep(_PAUSE_SECONDS)

    for protocol, ask in (
        ("http", http_client(http_address, model, text, key)),
        ("grpc", grpc_client(grpc_address, model, text, key)),
    ):
        threading.Thread(target=ask_always, args=(protocol, ask), daemon=True).start()
    while True:
        time.sleep(1)
        print(json.dumps({**counts, "failed": len(failures), "failures": failures[:_SHOWN_FAILURES]}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
