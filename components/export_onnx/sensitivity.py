"""Which matrix products of a graph 8-bit arithmetic distorts most.

The activations of some are so uneven that one scale for all of them leaves nothing of most: Dettmers et al., LLM.int8()
(NeurIPS 2022). Each product is computed once as it is and once with what 8 bits leave of its two factors.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from textgate.components.contracts import Progress
from textgate.components.export_onnx.activations import Feeds, first_factors, products

Floats = npt.NDArray[np.float32]


def sensitive_products(full: Path, feeds: Feeds) -> list[str]:
    """Names of the nodes that multiply by weights, the most distorted first, seen on the inputs ``feeds``."""
    graph = onnx.load(full, load_external_data=False)
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    nodes = products(graph.graph)
    runs = list(first_factors(full, feeds))
    progress = Progress(total=len(nodes))
    distortion: dict[str, float] = {}
    for number, node in enumerate(nodes, 1):
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
        error += float(np.square(_rounded(rows) @ rounded - exact).sum())
        size += float(np.square(exact).sum())
    return float(np.sqrt(error / max(size, 1e-30)))


def _rounded(activation: Floats) -> Floats:
    """What is left of it by 256 steps from the smallest value, or 0, to the largest."""
    low, high = min(float(activation.min()), 0.0), max(float(activation.max()), 0.0)
    step = max(high - low, 1e-12) / 255
    zero = np.rint(-low / step)
    return np.asarray((np.clip(np.rint(activation / step) + zero, 0, 255) - zero) * step, dtype=np.float32)
