"""The servers that ``serving.py`` compares: requirements, command, request body and response of each."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headline_model import NAME

TEXTGATE, BASELINE = "textgate", "textgate, baseline"
_ONNX = ("onnxruntime==1.31.1", "tokenizers==0.23.3")
_TORCH = "torch==2.13.0"
_INFINITY = (_TORCH, "infinity-emb[server,torch,optimum]==0.0.78")
_OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
_FASTAPI = ("fastapi==0.165.0", "uvicorn[standard]==0.54.0")


@dataclass(frozen=True)
class Server:
    """A server: one row of the table."""

    name: str
    command: str
    """Command with placeholders {python}, {bin}, {peers}, {scratch}, {work} and free ports {port}, {port2}, {port3}."""
    path: str
    body: Callable[[list[str]], object]
    labels: Callable[[Any], list[str]] | None
    """Function that reads the labels from the JSON of a response; None if the server does not classify."""
    environment: str = ""
    """Name of the server's virtual environment; empty for the current one."""
    requirements: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    folder: str = "{scratch}"
    """Working directory."""


def _texts(texts: list[str]) -> object:
    return {"texts": texts}


def _predictions(response: Any) -> list[str]:
    return [prediction["label"] for prediction in response["predictions"]]


def _infinity(model: str) -> str:
    # https://michaelfeil.eu/infinity/latest/cli_v2/
    address = "--host 127.0.0.1 --port {port} --log-level warning"
    return f"{{bin}}/infinity_emb v2 {address} --device cpu --served-model-name {NAME} --model-id {model}"


def _infinity_body(texts: list[str]) -> object:
    return {"model": NAME, "input": texts}


def _infinity_labels(response: Any) -> list[str]:
    return [max(scores, key=lambda score: score["score"])["label"] for scores in response["data"]]


def _uvicorn(app: str, workers: int) -> str:
    address = "--host 127.0.0.1 --port {port} --no-access-log --log-level warning"
    return f"{{bin}}/uvicorn {app}:app --app-dir {{peers}} --workers {workers} {address}"


_TEXTGATE = Server(
    name=TEXTGATE,
    command=f"{{bin}}/textgate serve {NAME} --workspace {{work}}/workspace --port {{port}} --grpc-port {{port2}}",
    path=f"/v1/models/{NAME}:classify",
    body=_texts,
    labels=_predictions,
)


def baseline_server(checkout: Path) -> Server:
    """Return the server of another checkout of this repository, which runs in the current environment.

    Raises:
        SystemExit: Python does not import that checkout.
    """
    # The editable install comes later in the search path than this variable.
    path = str(checkout.absolute() / ".src")
    imported = subprocess.check_output(
        [sys.executable, "-c", "import textgate; print(textgate.__path__[0])"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=checkout,
        text=True,
    )
    if not Path(imported.strip()).samefile(checkout):
        raise SystemExit(f"{checkout} is not imported, but {imported.strip()}")
    return dataclasses.replace(_TEXTGATE, name=BASELINE, variables={"PYTHONPATH": path})


SERVERS = [
    _TEXTGATE,
    Server(name="echo", command="{python} {peers}/echo.py {port}", path="/", body=_texts, labels=None),
    Server(
        name="FastAPI + ONNX Runtime, 1 worker",
        command=_uvicorn("fastapi_app", workers=1),
        path="/classify",
        body=_texts,
        labels=_predictions,
        environment="fastapi",
        requirements=(*_FASTAPI, *_ONNX),
        variables={"BENCHMARK_THREADS": "2"},
    ),
    Server(
        name="FastAPI + ONNX Runtime, 2 workers",
        command=_uvicorn("fastapi_app", workers=2),
        path="/classify",
        body=_texts,
        labels=_predictions,
        environment="fastapi",
        requirements=(*_FASTAPI, *_ONNX),
        variables={"BENCHMARK_THREADS": "1"},
    ),
    Server(
        name="LitServe",
        command="{python} {peers}/litserve_server.py {port}",
        path="/predict",
        body=_texts,
        labels=_predictions,
        environment="litserve",
        requirements=("litserve==0.2.19", *_ONNX),
    ),
    Server(
        name="MLServer",
        command="{python} {peers}/mlserver_runtime.py {port} {port2} {port3} {scratch}",
        path=f"/v2/models/{NAME}/infer",
        body=lambda texts: {
            "inputs": [
                {
                    "name": "text",
                    "shape": [len(texts)],
                    "datatype": "BYTES",
                    "parameters": {"content_type": "str"},
                    "data": texts,
                }
            ]
        },
        labels=lambda response: list(response["outputs"][0]["data"]),
        environment="mlserver",
        requirements=("mlserver==1.7.1", *_ONNX),
    ),
    Server(
        name="BentoML",
        command="{bin}/bentoml serve bentoml_service:Classifier --working-dir {peers} --host 127.0.0.1 --port {port}",
        path="/classify",
        body=_texts,
        labels=lambda response: [prediction["label"] for prediction in response],
        environment="bentoml",
        # The next version requires a certifi that is not released yet.
        requirements=("bentoml==1.4.39", *_ONNX),
        variables={"BENTOML_HOME": "{scratch}", "BENTOML_DO_NOT_TRACK": "True"},
    ),
    Server(
        name="KServe",
        command="{python} {peers}/kserve_server.py {port} --log_config_file {peers}/kserve_log.json",
        path=f"/v1/models/{NAME}:predict",
        body=lambda texts: {"instances": texts},
        labels=_predictions,
        environment="kserve",
        requirements=("kserve==0.21.0", *_ONNX),
    ),
    Server(
        name="infinity-emb, torch",
        command=_infinity("{work}/bundle/hf --engine torch --dtype float32"),
        path="/classify",
        body=_infinity_body,
        labels=_infinity_labels,
        environment="infinity",
        requirements=_INFINITY,
        variables=_OFFLINE,
    ),
    Server(
        name="infinity-emb, ONNX Runtime",
        # Its optimizer supports graphs of other exporters only, and its warm-up texts exceed the model's limit.
        command=_infinity(". --engine optimum --onnx-disable-optimize --no-model-warmup"),
        path="/classify",
        body=_infinity_body,
        labels=_infinity_labels,
        environment="infinity",
        requirements=_INFINITY,
        variables=_OFFLINE,
        # It finds the graph of a local model in the working directory only.
        folder="{work}/onnx-folder",
    ),
    Server(
        name="FastAPI + transformers.pipeline",
        command=_uvicorn("pipeline_app", workers=1),
        path="/classify",
        body=_texts,
        labels=_predictions,
        environment="transformers",
        requirements=(_TORCH, "transformers==5.23.0", *_FASTAPI),
        variables=_OFFLINE,
    ),
]
