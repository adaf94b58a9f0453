"""Activations of an ONNX graph's matrix products, recorded on sample texts to calibrate int8 quantization."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

Feeds = Sequence[Mapping[str, npt.NDArray[np.int64]]]
"""Batches of graph inputs by name, each array (rows, tokens)."""
ActivationRanges = dict[str, tuple[float, float]]
"""Tensor name to its smallest and largest value; both ranges include 0."""


def weight_products(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the MatMul and Gemm nodes whose second input is a constant weight matrix."""
    weights = {tensor.name for tensor in graph.initializer}
    return [node for node in graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in weights]


def record_activations(path: Path, feeds: Feeds) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    """Yield, for each batch of ``feeds``, the activations that enter the weight products of a graph.

    Args:
        path: The fp32 graph. A temporary copy is written to the same folder.
        feeds: Inputs of the graph.

    Yields:
        Tensor name to values (rows, tokens, features) or (rows, features).
    """
    graph = onnx.load(path, load_external_data=False)
    names = sorted({node.input[0] for node in weight_products(graph.graph)})
    outputs = {output.name for output in graph.graph.output}
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Optimization would fuse nodes and remove the tensors that are recorded here.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # In the same folder, because external weights are resolved relative to the graph.
    probe = path.with_name("probe.onnx")
    onnx.save(graph, probe)
    session = onnxruntime.InferenceSession(str(probe), options, providers=["CPUExecutionProvider"])
    probe.unlink()
    for feed in feeds:
        yield dict(zip(names, session.run(names, dict(feed)), strict=True))


def activation_ranges(path: Path, feeds: Feeds) -> ActivationRanges:
    """Return the value range of each activation that ``record_activations`` yields; padding tokens are ignored."""
    ranges: ActivationRanges = {}
    for feed, activations in zip(feeds, record_activations(path, feeds), strict=True):
        mask = feed["attention_mask"].astype(bool)
        for name, values in activations.items():
            values = values[mask] if values.shape[:2] == mask.shape else values
            low, high = ranges.get(name, (0.0, 0.0))
            ranges[name] = (min(low, float(values.min())), max(high, float(values.max())))
    return ranges
