"""tritonclient over gRPC: ADDRESS MODEL, texts as JSON on standard input; what it was told as JSON."""

import json
import sys

import numpy as np
import tritonclient.grpc as triton


def main(address: str, model: str) -> None:
    texts = np.array(json.load(sys.stdin), dtype=np.object_)
    with triton.InferenceServerClient(address) as client:
        told = {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": client.is_model_ready(model),
            "server": client.get_server_metadata(as_json=True),
            "model": client.get_model_metadata(model, as_json=True),
            "index": client.get_model_repository_index(as_json=True)["models"],
        }
        tensor = triton.InferInput("text", [len(texts)], "BYTES").set_data_from_numpy(texts)
        result = client.infer(model, [tensor], request_id="7", client_timeout=60)
        told["raw"] = {name: tidy(result.as_numpy(name)) for name in ("label", "score", "probabilities", "truncated")}
        response = result.get_response()
        told["raw"]["response"] = {key: getattr(response, key) for key in ("model_name", "model_version", "id")}
        one = client.infer(model, [tensor], outputs=[triton.InferRequestedOutput("score")])
        told["one_output"] = [output.name for output in one.get_response().outputs]
        told["compressed"] = tidy(client.infer(model, [tensor], compression_algorithm="gzip").as_numpy("label"))
        told["errors"] = [
            error_of(lambda: client.infer("nobody", [tensor])),
            error_of(lambda: client.infer(model, [tensor], model_version="000000000000")),
            error_of(lambda: client.infer(model, [tensor], outputs=[triton.InferRequestedOutput("logits")])),
            error_of(lambda: client.unload_model(model)),
        ]
    print(json.dumps(told))


def tidy(array: np.ndarray) -> list:
    return [element.decode() for element in array] if array.dtype == np.object_ else array.tolist()


def error_of(call) -> list[str]:
    try:
        call()
    except triton.InferenceServerException as error:
        return [error.status(), error.message()]
    return []


main(*sys.argv[1:])
