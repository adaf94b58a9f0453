"""Call the server with KServe's HTTP and gRPC clients and print the responses as JSON.

python kserve_clients.py URL GRPC_ADDRESS MODEL < texts.json
"""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, InferResponse, RESTConfig


async def main(url: str, address: str, model: str) -> None:
    texts = json.load(sys.stdin)
    rest = InferenceRESTClient(RESTConfig(protocol="v2", timeout=60))
    results = {
        "http": {
            "live": await rest.is_server_live(url),
            "ready": await rest.is_server_ready(url),
            "model_ready": await rest.is_model_ready(url, model),
            **{
                form: parse(await rest.infer(url, data=request(model, texts, form == "binary"), model_name=model))
                for form in ("listed", "binary")
            },
        }
    }
    await rest.close()
    async with InferenceGRPCClient(address, timeout=60) as client:
        results["grpc"] = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready(model),
            **{
                form: parse(await client.infer(request(model, texts, form == "binary")))
                for form in ("listed", "binary")
            },
        }
    print(json.dumps(results))


def request(model: str, texts: list[str], binary: bool) -> InferRequest:
    tensor = InferInput("text", [len(texts)], "BYTES", data=None if binary else texts)
    if binary:
        tensor.set_data_from_numpy(np.array(texts, dtype=np.object_), binary_data=True)
    return InferRequest(model, [tensor], request_id="7", parameters={"binary_data_output": binary})


def parse(response: InferResponse) -> dict:
    return {
        "model": response.model_name,
        "version": response.model_version,
        "id": response.id,
        **{output.name: to_list(output.as_numpy()) for output in response.outputs},
    }


def to_list(array: np.ndarray) -> list:
    return [str(element, "utf-8") if isinstance(element, bytes) else element for element in array.tolist()]


asyncio.run(main(*sys.argv[1:]))
