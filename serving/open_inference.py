"""Metadata of the Open Inference Protocol v2 that HTTP and gRPC share.

The protocol is that of kserve.github.io, "Open Inference Protocol", with the extensions of triton-inference-server,
"Binary Tensor Data Extension" and "Model Repository Extension". The clients of KServe, Triton and MLServer use it.
"""

from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import Any

from textgate.serving.batching import ServedVersion
from textgate.serving.tensors import INPUT, TensorMetadata, output_metadata

SERVER_VERSION = installed_version("textgate")
SERVER_METADATA: dict[str, Any] = {
    "name": "textgate",
    "version": SERVER_VERSION,
    "extensions": ["binary_tensor_data", "model_repository"],
}
_PLATFORM = "textgate_text_classification"


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
