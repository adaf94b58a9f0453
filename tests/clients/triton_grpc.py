"""Call the server with tritonclient over gRPC and print the responses as JSON.

python triton_grpc.py ADDRESS MODEL < texts.json
"""

import json
import sys

import numpy as np
import tritonclient.grpc as triton


def main(address: str, model: str) -> None:
    texts = np.array(json.load(sys.stdin), dtype=np.object_)
    with triton.InferenceServerClient(address) as client:
        results = {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": client.is_model_ready(model),
            "server": client.get_server_metadata(as_json=True),
            "model": client.get_model_metadata(model, as_json=True),
            "index": client.get_model_repository_index(as_json=True)["models"],
        }
        tensor = triton.InferInput("text", [len(texts)], "BYTES").set_data_from_numpy(texts)
        result = client.infer(model, [tensor], request_id="7", client_timeout=60)
        results["raw"] = {
            name: to_list(result.as_numpy(name)) for name in ("label", "score", "probabilities", "truncated")
        }
        response = result.get_response()
        results["raw"]["response"] = {key: getattr(response, key) for key in ("model_name", "model_version", "id")}
        single = client.infer(model, [tensor], outputs=[triton.InferRequestedOutput("score")])
        results["one_output"] = [output.name for output in single.get_response().outputs]
        results["compressed"] = to_list(client.infer(model, [tensor], compression_algorithm="gzip").as_numpy("label"))
        results["config"] = client.get_model_config(model, as_json=True)["config"]
        results["statistics"] = client.get_inference_statistics(model, as_json=True)["model_stats"]
        results["all_statistics"] = [item.name for item in client.get_inference_statistics().model_stats]
        results["errors"] = [
            error_of(lambda: client.infer("nobody", [tensor])),
            error_of(lambda: client.infer(model, [tensor], model_version="000000000000")),
            error_of(lambda: client.infer(model, [tensor], outputs=[triton.InferRequestedOutput("logits")])),
            error_of(lambda: client.unload_model(model)),
            error_of(lambda: client.get_model_config("nobody")),
            error_of(lambda: client.get_inference_statistics(model, model_version="000000000000")),
            error_of(lambda: client.get_trace_settings()),
        ]
    print(json.dumps(results))


def to_list(array: np.ndarray) -> list:
    return [element.decode() for element in array] if array.dtype == np.object_ else array.tolist()


def error_of(call) -> list[str]:
    try:
        call()
    except triton.InferenceServerException as error:
        return [error.status(), error.message()]
    return []


main(*sys.argv[1:])
