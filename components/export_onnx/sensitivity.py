"""Ranking of a graph's matrix products by the error that int8 arithmetic causes in them.

Some activations have outliers, and one scale for all values leaves little precision for the rest: Dettmers et al.,
LLM.int8() (NeurIPS 2022). Each product is computed in fp32 and again with both factors rounded to int8.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from textgate.components.contracts import Progress
from textgate.components.export_onnx.activations import Feeds, record_activations, weight_products

Floats = npt.NDArray[np.float32]


def sensitive_products(path: Path, feeds: Feeds) -> list[str]:
    """Return the names of the weight products of the fp32 graph ``path``, the most distorted by int8 first.

    Args:
        path: The graph.
        feeds: Inputs on which the distortion is measured.
    """
    graph = onnx.load(path, load_external_data=False)
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    nodes = weight_products(graph.graph)
    recorded = list(record_activations(path, feeds))
    progress = Progress(total=len(nodes))
    errors: dict[str, float] = {}
    for done, node in enumerate(nodes, 1):
        weight = numpy_helper.to_array(weights[node.input[1]], str(path.parent))
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        activations = [batch[node.input[0]] for batch in recorded]
        errors[node.name] = _relative_error(activations, weight.T if transposed else weight)
        progress.update(done, "looking for sensitive layers")
    return sorted(errors, key=lambda name: (-errors[name], name))


def _relative_error(activations: list[Any], weight: Floats) -> float:
    """Return the relative error of int8 products in the Frobenius norm.

    Args:
        activations: Arrays (..., features), float32.
        weight: Matrix (features, outputs), float32.
    """
    scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / 127
    rounded = np.rint(weight / scale).astype(np.float32) * scale
    error = size = 0.0
    for activation in activations:
        rows = activation.reshape(-1, weight.shape[0])
        exact = rows @ weight
        error += float(np.square(_round_to_uint8(rows) @ rounded - exact).sum())
        size += float(np.square(exact).sum())
    return float(np.sqrt(error / max(size, 1e-30)))


def _round_to_uint8(activation: Floats) -> Floats:
    """Round to 256 levels with one scale and zero point, and return the result as float32 of the same shape."""
    low, high = min(float(activation.min()), 0.0), max(float(activation.max()), 0.0)
    step = max(high - low, 1e-12) / 255
    zero_point = np.rint(-low / step)
    levels = np.clip(np.rint(activation / step) + zero_point, 0, 255)
    return np.asarray((levels - zero_point) * step, dtype=np.float32)
