"""Which matrix products of a graph 8-bit arithmetic distorts most.

The activations of some are so uneven that one scale for all of them leaves nothing of most: Dettmers et al., LLM.int8()
(NeurIPS 2022). Each product is computed once as it is and once with what dynamic quantization makes of its two factors.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import numpy_helper

from textgate.components.contracts import Progress

Floats = npt.NDArray[np.float32]


def sensitive_products(full: Path, feeds: Sequence[dict[str, npt.NDArray[np.int64]]]) -> list[str]:
    """Names of the nodes that multiply by weights, the most distorted first, seen on the inputs ``feeds``."""
    graph = onnx.load(full, load_external_data=False)
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    products = [node for node in graph.graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in weights]
    factors = sorted({node.input[0] for node in products})
    known = {output.name for output in graph.graph.output}
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in factors if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Fused away, a factor would not be there to be looked at.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Beside the graph it came from, where its weights are looked for when they lie in a file of their own.
    probe = full.with_name("probe.onnx")
    onnx.save(graph, probe)
    session = onnxruntime.InferenceSession(str(probe), options, providers=["CPUExecutionProvider"])
    runs = [dict(zip(factors, session.run(factors, feed), strict=True)) for feed in feeds]
    probe.unlink()
    progress = Progress(total=len(products))
    distortion: dict[str, float] = {}
    for number, node in enumerate(products, 1):
        weight = numpy_helper.to_array(weights[node.input[1]], str(full.parent))
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        distortion[node.name] = _distortion([run[node.input[0]] for run in runs], weight.T if transposed else weight)
        progress.update(number, "looking for sensitive layers")
    return sorted(distortion, key=lambda name: (-distortion[name], name))


def _distortion(activations: list[Any], weight: Floats) -> float:
    """Relative error of the products, in the Frobenius norm."""
    scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / 127
    rounded = np.rint(weight / scale).astype(np.float32) * scale
    error = size = 0.0
    for activation in activations:
        rows = activation.reshape(-1, weight.shape[0])
        exact = rows @ weight
        error += float(np.square(_dynamic(rows) @ rounded - exact).sum())
        size += float(np.square(exact).sum())
    return float(np.sqrt(error / max(size, 1e-30)))


def _dynamic(activation: Floats) -> Floats:
    """What DynamicQuantizeLinear leaves of it: 256 steps from the smallest value, or 0, to the largest."""
    low, high = min(float(activation.min()), 0.0), max(float(activation.max()), 0.0)
    step = max(high - low, 1e-12) / 255
    zero = np.rint(-low / step)
    return np.asarray((np.clip(np.rint(activation / step) + zero, 0, 255) - zero) * step, dtype=np.float32)
