"""What a graph multiplies its weights by, looked at on some texts; and scales for it that no batch has a say in.

Dynamic quantization takes one scale for the first factor of a product from all the texts of a batch, so that an answer
depends on its neighbours: what a judge measures in one batch a server would not repeat in another. With the scales
fixed beforehand from texts like those to come (static quantization with MinMax calibration: onnxruntime.ai/docs,
"Quantize ONNX models") a text has one answer, alone or beside others, and no time goes into looking for the scales.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

Feeds = Sequence[Mapping[str, npt.NDArray[np.int64]]]
ActivationRanges = dict[str, tuple[float, float]]
"""Name of a tensor to its smallest and its largest value."""


def products(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that multiply by weights."""
    weights = {tensor.name for tensor in graph.initializer}
    return [node for node in graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in weights]


def first_factors(full: Path, feeds: Feeds) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    """For each of ``feeds`` the first factors of the products of the graph ``full``, by their names."""
    graph = onnx.load(full, load_external_data=False)
    names = sorted({node.input[0] for node in products(graph.graph)})
    known = {output.name for output in graph.graph.output}
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Fused away, a factor would not be there to be looked at.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Beside the graph it came from, where its weights are looked for when they lie in a file of their own.
    probe = full.with_name("probe.onnx")
    onnx.save(graph, probe)
    session = onnxruntime.InferenceSession(str(probe), options, providers=["CPUExecutionProvider"])
    probe.unlink()
    for feed in feeds:
        yield dict(zip(names, session.run(names, dict(feed)), strict=True))


def reach(full: Path, feeds: Feeds) -> ActivationRanges:
    """How far the first factors reach, padding aside."""
    found: ActivationRanges = {}
    for feed, factors in zip(feeds, first_factors(full, feeds), strict=True):
        there = feed["attention_mask"].astype(bool)
        for name, values in factors.items():
            values = values[there] if values.shape[:2] == there.shape else values
            low, high = found.get(name, (0.0, 0.0))
            found[name] = (min(low, float(values.min())), max(high, float(values.max())))
    return found


def fix_scales(model: onnx.ModelProto, ranges: ActivationRanges) -> None:
    """Give what ``quantize_dynamic`` made of a graph scales for ``ranges``; what lies beyond becomes their end.

    Each product becomes ONNX Runtime's MatMulIntegerToFloat, its bias included, which the runtime makes by itself
    only of dynamic ones.
    """
    graph = model.graph
    for node in graph.node:
        if node.op_type == "DynamicQuantizeLinear":
            low, high = ranges[node.input[0]]
            step = max(high - low, 1e-12) / 255
            _, scale, zero = node.output
            graph.initializer.append(numpy_helper.from_array(np.array(step, np.float32), scale))
            graph.initializer.append(numpy_helper.from_array(np.array(round(-low / step), np.uint8), zero))
            node.op_type = "QuantizeLinear"
            node.input.extend((scale, zero))
            del node.output[1:]
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    producers = {name: node for node in graph.node for name in node.output}
    flat = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 1}
    replaced: set[str] = set()
    for node in [node for node in graph.node if node.op_type == "MatMulInteger"]:
        (cast,) = readers[node.output[0]]
        (scaled,) = readers[cast.output[0]]
        scales = producers[next(name for name in scaled.input if name != cast.output[0])]
        last, bias = scaled, ""
        added = readers.get(scaled.output[0], [])
        if len(added) == 1 and added[0].op_type == "Add":
            (other,) = (name for name in added[0].input if name != scaled.output[0])
            if other in flat:
                last, bias = added[0], other
        first, second, first_zero, second_zero = node.input
        fused = [first, second, *scales.input, first_zero, second_zero, *([bias] if bias else [])]
        replaced.update(part.output[0] for part in (cast, scaled, scales))
        replaced.add(last.output[0])
        node.CopyFrom(
            helper.make_node(
                "MatMulIntegerToFloat", fused, [last.output[0]], f"{node.name}_to_float", domain="com.microsoft"
            )
        )
    kept = [node for node in graph.node if node.domain == "com.microsoft" or replaced.isdisjoint(node.output)]
    del graph.node[:]
    graph.node.extend(kept)
    if all(imported.domain != "com.microsoft" for imported in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
