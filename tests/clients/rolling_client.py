"""Send requests on keep-alive connections, with pauses, and print the failures as JSON.

python rolling_client.py CLIENT HTTP_ADDRESS GRPC_ADDRESS MODEL LABEL REQUESTS

Every answer must have the label LABEL. The requests are shared by threads, each with a connection of its own; one of
them is idle most of the time, as a client with little traffic is.
"""

import http.client
import json
import random
import sys
import threading
import time
from collections.abc import Callable

TEXT = "word1 good"
THREADS = 3
IDLE_SECONDS = 2.0
"""Longest pause of the idle thread, shorter than the time that the server lingers."""


def http_client(http_address: str, grpc_address: str, model: str) -> Callable[[], str]:
    connection = http.client.HTTPConnection(http_address, timeout=30)
    body, headers = json.dumps({"texts": [TEXT]}), {"content-type": "application/json"}

    def send() -> str:
        try:
            connection.request("POST", f"/v1/models/{model}:classify", body, headers)
            answer = json.load(connection.getresponse())
        except (http.client.HTTPException, OSError):
            connection.close()
            raise
        return answer["predictions"][0]["label"]

    return send


def requests_session(http_address: str, grpc_address: str, model: str) -> Callable[[], str]:
    import requests

    session = requests.Session()

    def send() -> str:
        url = f"http://{http_address}/v1/models/{model}:classify"
        return session.post(url, json={"texts": [TEXT]}, timeout=30).json()["predictions"][0]["label"]

    return send


def triton_http(http_address: str, grpc_address: str, model: str) -> Callable[[], str]:
    import numpy as np
    import tritonclient.http as triton

    # One connection for each client, in whose thread it is used.
    client = triton.InferenceServerClient(http_address)
    tensor = triton.InferInput("text", [1], "BYTES").set_data_from_numpy(np.array([TEXT], dtype=np.object_))
    return lambda: client.infer(model, [tensor]).as_numpy("label")[0].decode()


def triton_grpc(http_address: str, grpc_address: str, model: str) -> Callable[[], str]:
    import numpy as np
    import tritonclient.grpc as triton

    # Otherwise the clients of a process share one connection.
    client = triton.InferenceServerClient(grpc_address, channel_args=[("grpc.use_local_subchannel_pool", 1)])
    tensor = triton.InferInput("text", [1], "BYTES").set_data_from_numpy(np.array([TEXT], dtype=np.object_))
    return lambda: client.infer(model, [tensor], client_timeout=30).as_numpy("label")[0].decode()


CLIENTS = {
    "http.client": http_client,
    "requests": requests_session,
    "tritonclient over HTTP": triton_http,
    "tritonclient over gRPC": triton_grpc,
}


def main(name: str, http_address: str, grpc_address: str, model: str, label: str, requests: int) -> None:
    left, lock, sent, failures = requests, threading.Lock(), 0, []

    def work(idle: bool) -> None:
        nonlocal left, sent
        send, rng = CLIENTS[name](http_address, grpc_address, model), random.Random(13)
        while True:
            with lock:
                if left == 0:
                    return
                left -= 1
            if idle:
                time.sleep(rng.uniform(0, IDLE_SECONDS))
            started, failure = time.time(), ""
            try:
                answer = send()
                if answer != label:
                    failure = f"labelled {answer}"
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"
            with lock:
                sent += 1
                if failure:
                    failures.append({"time": started, "seconds": time.time() - started, "failure": failure})

    threads = [threading.Thread(target=work, args=(index == 0,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"sent": sent, "failures": failures}))


main(*sys.argv[1:6], int(sys.argv[6]))
