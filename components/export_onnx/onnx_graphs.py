"""Writers of the ONNX export targets: an fp32 graph as a graph of another precision."""

import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.float16 import convert_float_to_float16

from textgate.components.contracts.export_target import ExportTarget
from textgate.components.export_onnx.activations import ActivationRanges
from textgate.components.export_onnx.static_scales import set_static_scales
from textgate.components.families.onnx_files import save_graph, suppress_warnings

BLOCK_SIZE = 32
"""Weights of a channel that share a scale in block-wise quantization, as in GGUF's Q4_0 and Q8_0."""
_BITS = {"int8": 8, "int4": 4}
_INT8_COMPUTE = 4
"""Accuracy level of MatMulNBits: activations are rounded to int8 too, with one scale per block."""


def write_graph(
    target: ExportTarget,
    source: Path,
    output: Path,
    excluded_nodes: Collection[str] = (),
    ranges: ActivationRanges | None = None,
) -> None:
    """Write an fp32 graph as an export target.

    Args:
        target: An ONNX target.
        source: The fp32 graph.
        output: File to write; its folder is created.
        excluded_nodes: Names of nodes that stay in fp32.
        ranges: Activation ranges for int8 with one scale per channel; without them, int8 is block-wise.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with suppress_warnings():
        match target.precision:
            case "fp32":
                for file in source.parent.glob(f"{source.name}*"):
                    shutil.copy(file, output.with_name(file.name))
            case "fp16":
                _write_fp16(source, output, excluded_nodes)
            case "int8" if ranges is not None:
                _write_int8(source, output, excluded_nodes, ranges)
            case precision:
                _write_block_wise(source, output, excluded_nodes, _BITS[precision])


def _write_fp16(source: Path, output: Path, excluded_nodes: Collection[str]) -> None:
    """Halve the size; a CPU still computes in fp32."""
    # Passed as a path, because shape inference does not work on models over 2 GiB in memory.
    graph = convert_float_to_float16(str(source), keep_io_types=True, node_block_list=list(excluded_nodes))
    # The converter adds the same Cast once for each excluded node that reads a tensor: keep one node per output.
    nodes = {node.output[0]: node for node in graph.graph.node}
    del graph.graph.node[:]
    graph.graph.node.extend(nodes.values())
    save_graph(graph, output)


def _write_int8(source: Path, output: Path, excluded_nodes: Collection[str], ranges: ActivationRanges) -> None:
    """Quantize to signed weights with one scale per channel, and static activations with one scale per tensor.

    Signed weights run twice as fast as unsigned ones on CPUs with VNNI (onnxruntime.ai/docs, "Quantize ONNX models").
    """
    quantize_dynamic(
        source,
        output,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=source.with_name(f"{source.name}.data").exists(),
        # The quantizer splits each Gemm into a MatMul of this name and an Add before it looks at the names.
        nodes_to_exclude=[*excluded_nodes, *(f"{name}_MatMul" for name in excluded_nodes)],
    )
    graph = onnx.load(output)
    set_static_scales(graph, ranges)
    _quantize_embeddings(graph)
    output.with_name(f"{output.name}.data").unlink(missing_ok=True)
    save_graph(graph, output)


def _write_block_wise(source: Path, output: Path, excluded_nodes: Collection[str], bits: int) -> None:
    """Quantize weights and activations with one scale per block of 32 numbers (MatMulNBits).

    Slower than one scale per channel, but an outlier affects its own block only.
    """
    quantizer = MatMulNBitsQuantizer(
        onnx.load(source),
        bits=bits,
        block_size=BLOCK_SIZE,
        is_symmetric=True,
        accuracy_level=_INT8_COMPUTE,
        nodes_to_exclude=list(excluded_nodes),
    )
    quantizer.process()
    graph = quantizer.model.model
    _quantize_embeddings(graph)
    save_graph(graph, output)


def _quantize_embeddings(graph: onnx.ModelProto) -> None:
    """Store token embedding tables (tokens, dimensions) as int8 with one scale per row, in place."""
    tables = {tensor.name: tensor for tensor in graph.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    producers = {name: node for node in graph.graph.node for name in node.output}
    lookups = [node for node in graph.graph.node if node.op_type == "Gather" and node.input[0] in tables]
    embeddings = {node.input[0] for node in lookups if _origin(node.input[1], producers) == "input_ids"}
    for name in sorted(embeddings):
        values = numpy_helper.to_array(tables[name])
        scale = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / 127
        rounded = np.rint(values / scale).astype(np.int8)
        graph.graph.initializer.append(numpy_helper.from_array(rounded, f"{name}_rows"))
        graph.graph.initializer.append(numpy_helper.from_array(scale, f"{name}_row_scales"))
    nodes: list[onnx.NodeProto] = []
    for node in graph.graph.node:
        is_lookup = node.op_type == "Gather" and node.input[0] in embeddings
        nodes += _dequantized_lookup(node) if is_lookup else [node]
    unused = embeddings - {name for node in nodes for name in node.input}
    initializers = [tensor for tensor in graph.graph.initializer if tensor.name not in unused]
    del graph.graph.node[:], graph.graph.initializer[:]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(initializers)


def _dequantized_lookup(lookup: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return the nodes that replace a Gather from an embedding table: gather int8 rows, then multiply by scales."""
    (table, ids), (output,) = lookup.input, lookup.output
    return [
        helper.make_node("Gather", [f"{table}_rows", ids], [f"{output}_row"], axis=0),
        helper.make_node("Cast", [f"{output}_row"], [f"{output}_wide"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Gather", [f"{table}_row_scales", ids], [f"{output}_scale"], axis=0),
        helper.make_node("Mul", [f"{output}_wide", f"{output}_scale"], [output]),
    ]


def _origin(name: str, producers: dict[str, onnx.NodeProto]) -> str:
    """Return the tensor that ``name`` is a cast or a reshape of."""
    while name in producers and producers[name].op_type in ("Cast", "Reshape"):
        name = producers[name].input[0]
    return name
