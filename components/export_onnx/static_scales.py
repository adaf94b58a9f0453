"""Static activation scales for dynamically quantized graphs.

Dynamic quantization derives the scale of an activation from all texts of a batch, so the prediction for a text depends
on the other texts of its batch: a score measured in one batch would not be reproduced by the server in another. With
static scales (MinMax calibration: onnxruntime.ai/docs, "Quantize ONNX models") a text has one prediction in any batch,
and no time is spent on finding the scales.
"""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from textgate.components.export_onnx.activations import ActivationRanges

_MICROSOFT = "com.microsoft"
"""Operator domain of ONNX Runtime's own operators."""


def set_static_scales(model: onnx.ModelProto, ranges: ActivationRanges) -> None:
    """Replace the dynamic activation scales of a graph that ``quantize_dynamic`` wrote by static ones, in place.

    Args:
        model: The quantized graph.
        ranges: Range of each quantized activation; values outside it saturate.
    """
    _quantize_with_constants(model.graph, ranges)
    _fuse_products(model.graph)
    if all(opset.domain != _MICROSOFT for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_MICROSOFT, 1))


def _quantize_with_constants(graph: onnx.GraphProto, ranges: ActivationRanges) -> None:
    """Turn every DynamicQuantizeLinear into a QuantizeLinear with a constant scale and zero point (uint8)."""
    for node in graph.node:
        if node.op_type == "DynamicQuantizeLinear":
            low, high = ranges[node.input[0]]
            step = max(high - low, 1e-12) / 255
            _, scale, zero_point = node.output
            graph.initializer.append(numpy_helper.from_array(np.array(step, np.float32), scale))
            graph.initializer.append(numpy_helper.from_array(np.array(round(-low / step), np.uint8), zero_point))
            node.op_type = "QuantizeLinear"
            node.input.extend((scale, zero_point))
            del node.output[1:]


def _fuse_products(graph: onnx.GraphProto) -> None:
    """Fuse each MatMulInteger and the nodes that scale its result into one MatMulIntegerToFloat.

    ONNX Runtime does this fusion itself, but only for products with dynamic scales.
    """
    consumers: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            consumers[name].append(node)
    producers = {name: node for node in graph.node for name in node.output}
    vectors = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 1}
    fused_outputs: set[str] = set()
    for node in [node for node in graph.node if node.op_type == "MatMulInteger"]:
        # MatMulInteger -> Cast -> Mul by (activation scale * weight scales) [-> Add of the bias]
        (cast,) = consumers[node.output[0]]
        (scaled,) = consumers[cast.output[0]]
        scales = producers[next(name for name in scaled.input if name != cast.output[0])]
        last, bias = scaled, _bias(scaled, consumers, vectors)
        if bias:
            (last,) = consumers[scaled.output[0]]
        activation, weight, activation_zero, weight_zero = node.input
        inputs = [activation, weight, *scales.input, activation_zero, weight_zero, *([bias] if bias else [])]
        fused_outputs |= {fused.output[0] for fused in (cast, scaled, scales, last)}
        name = f"{node.name}_to_float"
        node.CopyFrom(helper.make_node("MatMulIntegerToFloat", inputs, [last.output[0]], name, domain=_MICROSOFT))
    nodes = [node for node in graph.node if node.domain == _MICROSOFT or fused_outputs.isdisjoint(node.output)]
    del graph.node[:]
    graph.node.extend(nodes)


def _bias(product: onnx.NodeProto, consumers: Mapping[str, list[onnx.NodeProto]], vectors: set[str]) -> str | None:
    """Return the name of the constant vector that is added to ``product``; None if there is none."""
    nodes = consumers.get(product.output[0], [])
    if len(nodes) != 1 or nodes[0].op_type != "Add":
        return None
    (other,) = (name for name in nodes[0].input if name != product.output[0])
    return other if other in vectors else None
