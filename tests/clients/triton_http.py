"""tritonclient over HTTP: ADDRESS MODEL, texts as JSON on standard input; what it was told as JSON."""

import json
import sys

import numpy as np
import tritonclient.http as triton


def main(address: str, model: str) -> None:
    texts = np.array(json.load(sys.stdin), dtype=np.object_)
    with triton.InferenceServerClient(address) as client:
        told = {
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
            told[form] = {name: tidy(result.as_numpy(name)) for name in names}
            told[form]["response"] = {key: result.get_response()[key] for key in ("model_name", "model_version", "id")}
        column = triton.InferInput("text", [len(texts), 1], "BYTES").set_data_from_numpy(texts[:, None])
        told["all_outputs"] = tidy(client.infer(model, [column]).as_numpy("probabilities"))
        told["one_output"] = outputs_of(client.infer(model, [tensor], outputs=[triton.InferRequestedOutput("score")]))
        told["pinned"] = outputs_of(
            client.infer(model, [tensor], model_version=told["binary"]["response"]["model_version"])
        )
        told["asynchronous"] = tidy(client.async_infer(model, [tensor]).get_result().as_numpy("probabilities"))
        told["errors"] = [
            error_of(lambda: client.infer("nobody", [tensor])),
            error_of(lambda: client.infer(model, [tensor], model_version="000000000000")),
            error_of(lambda: client.infer(model, [tensor], outputs=[triton.InferRequestedOutput("logits")])),
        ]
    print(json.dumps(told))


def outputs_of(result: triton.InferResult) -> list[str]:
    return [output["name"] for output in result.get_response()["outputs"]]


def tidy(array: np.ndarray) -> list:
    # The client makes bytes of binary data and strings of JSON.
    return [element.decode() if isinstance(element, bytes) else element for element in array.tolist()]


def error_of(call) -> str:
    try:
        call()
    except triton.InferenceServerException as error:
        return error.message()
    return ""


main(*sys.argv[1:])
