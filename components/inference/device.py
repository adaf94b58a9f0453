"""Device that runs ONNX graphs: the CPU, or an NVIDIA GPU through ONNX Runtime's CUDA provider.

onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
"""

import warnings
from typing import TYPE_CHECKING, Literal

from textgate.components.contracts import InputError

if TYPE_CHECKING:
    import onnxruntime

Device = Literal["cpu", "cuda"]

_CUDA = "CUDAExecutionProvider"
_IDENTITY = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01b\x0f\n'
    b"\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
"""Smallest graph: y = Identity(x)."""


def create_session(
    graph: str | bytes,
    options: "onnxruntime.SessionOptions",
    device: Device,
    disabled_optimizers: list[str] | None = None,
) -> "onnxruntime.InferenceSession":
    """Return an ONNX Runtime session of a graph on a device.

    Args:
        graph: Path or content of the graph.
        options: Options of the session.
        device: Device to run on. Nodes that CUDA does not implement run on the CPU, as the provider decides.
        disabled_optimizers: Names of graph optimizations to leave out.

    Raises:
        InputError: The device is ``cuda``, and ONNX Runtime cannot use a GPU. By itself it would use the CPU instead.
    """
    import onnxruntime

    if device == "cpu":
        providers = ["CPUExecutionProvider"]
        return onnxruntime.InferenceSession(
            graph, options, providers=providers, disabled_optimizers=disabled_optimizers
        )
    if _CUDA not in onnxruntime.get_available_providers():
        raise InputError(
            "--device cuda needs ONNX Runtime with CUDA, and this installation has it for CPUs only: use the image "
            "serving-gpu, or install onnxruntime-gpu instead of onnxruntime"
        )
    # The libraries of the packages nvidia-* are not on the loader's path.
    onnxruntime.preload_dlls()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        session = onnxruntime.InferenceSession(
            graph, options, providers=[_CUDA, "CPUExecutionProvider"], disabled_optimizers=disabled_optimizers
        )
    if session.get_providers()[0] != _CUDA:
        raise InputError(
            "--device cuda needs an NVIDIA GPU, and ONNX Runtime finds none or cannot load CUDA and cuDNN: give the "
            "container a GPU (docker run --gpus all, nvidia.com/gpu in Kubernetes), or serve with --device cpu"
        )
    return session


def check_cuda() -> None:
    """Run a graph on the GPU.

    Raises:
        InputError: See ``create_session``.
    """
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    create_session(_IDENTITY, options, "cuda").run(None, {"x": np.zeros(1, np.float32)})
