"""Call the server with tritonclient over HTTP and print the responses as JSON.

python triton_http.py ADDRESS MODEL < texts.json
"""

import json
import sys

import numpy as np
import tritonclient.http as triton


def main(address: str, model: str) -> None:
    texts = np.array(json.load(sys.stdin), dtype=np.object_)
    with triton.InferenceServerClient(address) as client:
        results = {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": client.is_model_ready(model),
            "server": client.get_server_metadata(),
            "model": client.get_model_metadata(model),
            "index": client.get_model_repository_index(),
        }
        for form, binary in (("json", False), ("binary", True)):
            tensor = triton.InferInput("text", [len(texts)], "BYTES").set_data_from_numpy(texts, binary_data=binary)
            names = ["label", "score", "probabilities", "truncated"]
            outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
            result = client.infer(model, [tensor], outputs=outputs, request_id="7")
            results[form] = {name: to_list(result.as_numpy(name)) for name in names}
            results[form]["response"] = {
                key: result.get_response()[key] for key in ("model_name", "model_version", "id")
            }
        column = triton.InferInput("text", [len(texts), 1], "BYTES").set_data_from_numpy(texts[:, None])
        results["all_outputs"] = to_list(client.infer(model, [column]).as_numpy("probabilities"))
        results["one_output"] = outputs_of(
            client.infer(model, [tensor], outputs=[triton.InferRequestedOutput("score")])
        )
        results["pinned"] = outputs_of(
            client.infer(model, [tensor], model_version=results["binary"]["response"]["model_version"])
        )
        results["asynchronous"] = to_list(client.async_infer(model, [tensor]).get_result().as_numpy("probabilities"))
        results["errors"] = [
            error_of(lambda: client.infer("nobody", [tensor])),
            error_of(lambda: client.infer(model, [tensor], model_version="000000000000")),
            error_of(lambda: client.infer(model, [tensor], outputs=[triton.InferRequestedOutput("logits")])),
        ]
    print(json.dumps(results))


def outputs_of(result: triton.InferResult) -> list[str]:
    return [output["name"] for output in result.get_response()["outputs"]]


def to_list(array: np.ndarray) -> list:
    # The client returns bytes for binary data and strings for JSON.
    return [element.decode() if isinstance(element, bytes) else element for element in array.tolist()]


def error_of(call) -> str:
    try:
        call()
    except triton.InferenceServerException as error:
        return error.message()
    return ""


main(*sys.argv[1:])
