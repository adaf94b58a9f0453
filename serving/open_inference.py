"""Metadata and statistics of the Open Inference Protocol v2 that HTTP and gRPC share.

The protocol is that of kserve.github.io, "Open Inference Protocol", with the extensions of triton-inference-server,
"Binary Tensor Data Extension", "Model Repository Extension", "Model Configuration Extension" and "Statistics
Extension". The clients of KServe, Triton and MLServer use it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import Any

from prometheus_client import Counter, Histogram

from textgate.serving.endpoint import Endpoint
from textgate.serving.metrics import Metrics
from textgate.serving.served_model import ServedVersion
from textgate.serving.tensors import INPUT, TensorMetadata, output_metadata

SERVER_VERSION = installed_version("textgate")
SERVER_METADATA: dict[str, Any] = {
    "name": "textgate",
    "version": SERVER_VERSION,
    "extensions": ["binary_tensor_data", "model_repository", "model_configuration", "statistics"],
}
_PLATFORM = "textgate_text_classification"
_BACKEND = "textgate"
_TRITON_TYPES = {"BYTES": "TYPE_STRING", "FP64": "TYPE_FP64", "BOOL": "TYPE_BOOL"}


@dataclass(frozen=True)
class ModelMetadata:
    """Metadata of a model, with the field names of the protocol."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


def model_metadata(version: ServedVersion) -> ModelMetadata:
    """Return the metadata of a served version."""
    outputs = output_metadata(len(version.loaded.bundle.labels))
    return ModelMetadata(version.model, [version.version], _PLATFORM, [INPUT], outputs)


def model_config(version: ServedVersion) -> dict[str, Any]:
    """Return the configuration of a served version, with the field names of Triton's ``ModelConfig``.

    ``max_batch_size`` is 0, which means that the shapes include the batch dimension, as those of ``model_metadata`` do.
    The parameters name what a client of the tensor ``probabilities`` needs: the labels, as a JSON list in its order.
    """
    bundle = version.loaded.bundle
    parameters = {"version": version.version, "labels": json.dumps(bundle.labels, ensure_ascii=False)}
    if bundle.max_tokens is not None:
        parameters["max_tokens"] = str(bundle.max_tokens)
    return {
        "name": version.model,
        "platform": _PLATFORM,
        "backend": _BACKEND,
        "max_batch_size": 0,
        "input": [_tensor_config(INPUT)],
        "output": [_tensor_config(tensor) for tensor in output_metadata(len(bundle.labels))],
        "parameters": {name: {"string_value": value} for name, value in parameters.items()},
    }


def model_statistics(endpoint: Endpoint, model: str = "", version: str = "") -> dict[str, Any]:
    """Return statistics since the server started, with the field names of Triton's ``ModelStatisticsResponse``.

    The durations are in nanoseconds. ``queue`` counts parts of requests, into which long ones are split. Triton's other
    durations are not measured, so their counts are 0.

    Args:
        endpoint: The endpoint.
        model: Name of a served model; all if it is empty.
        version: One of its versions; all that are served if it is empty.

    Raises:
        RequestError: 404 if the model or the version is not served.
    """
    if version:
        versions = [endpoint.find(model, version)]
    else:
        names = [endpoint.find(model).model] if model else list(endpoint.repository.models)
        served = [endpoint.repository.models.get(name) for name in names]
        # A version may be in several channels.
        versions = [found for item in served if item for found in {id(v): v for v in item.versions.values()}.values()]
    return {"model_stats": _statistics(endpoint.metrics, versions)}


def _tensor_config(tensor: TensorMetadata) -> dict[str, Any]:
    return {"name": tensor.name, "data_type": _TRITON_TYPES[tensor.datatype], "dims": list(tensor.shape)}


def _statistics(metrics: Metrics, versions: Iterable[ServedVersion]) -> list[dict[str, Any]]:
    texts, batches = _sums(metrics.texts, "_total"), _sums(metrics.batch_texts, "_count")
    succeeded, seconds = _sums(metrics.request_seconds, "_count"), _sums(metrics.request_seconds, "_sum")
    waits, wait_seconds = _sums(metrics.wait_seconds, "_count"), _sums(metrics.wait_seconds, "_sum")
    requests = _sums(metrics.requests, "_total")
    not_measured = _duration(0)
    result = []
    for version in versions:
        key = (version.model, version.version)
        success_count = succeeded.get(key, 0)
        result.append(
            {
                "name": version.model,
                "version": version.version,
                "inference_count": int(texts.get(key, 0)),
                "execution_count": int(batches.get(key, 0)),
                "inference_stats": {
                    "success": _duration(success_count, seconds.get(key, 0)),
                    "fail": _duration(max(0, requests.get(key, 0) - success_count)),
                    "queue": _duration(waits.get(key, 0), wait_seconds.get(key, 0)),
                    "compute_input": not_measured,
                    "compute_infer": not_measured,
                    "compute_output": not_measured,
                },
            }
        )
    return result


def _sums(metric: Counter | Histogram, suffix: str) -> dict[tuple[str, str], float]:
    """Return the sum of a metric's samples by model and version."""
    sums: dict[tuple[str, str], float] = {}
    for family in metric.collect():
        for sample in family.samples:
            if sample.name == family.name + suffix:
                key = (sample.labels["model"], sample.labels["version"])
                sums[key] = sums.get(key, 0) + sample.value
    return sums


def _duration(count: float, seconds: float = 0.0) -> dict[str, int]:
    return {"count": int(count), "ns": round(seconds * 1e9)}
