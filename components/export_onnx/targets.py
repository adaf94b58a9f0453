"""The forms a full-precision ONNX graph can be served in."""

import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.float16 import convert_float_to_float16

from textgate.components.export_onnx.activations import ActivationRanges, fix_scales
from textgate.components.families.onnx_files import quiet, save_graph

BLOCK = 32
"""Weights of a channel that share a scale where blocks are quantized, as in GGUF's Q4_0 and Q8_0."""
_INT8_COMPUTE = 4
"""MatMulNBits' accuracy level: activations in 8 bits too, each block with a scale of its own."""


def make_target(
    target: str, full: Path, output: Path, kept: Collection[str] = (), ranges: ActivationRanges | None = None
) -> None:
    """Write the graph ``full`` as ``target`` to ``output``; nodes named in ``kept`` stay in full precision.

    ``onnx-int8`` with ``ranges`` has signed weights with one scale a channel (onnxruntime.ai/docs, "Quantize ONNX
    models"), which run twice as fast as unsigned ones where the CPU has VNNI, and one scale for all that is multiplied
    by them (``activations``). Without, weights and activations have a scale for every 32 numbers (MatMulNBits), which
    is slower and keeps what one large activation would drown, as in ``onnx-int4``. ``onnx-fp16`` halves the size; a
    CPU computes in fp32 all the same.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        match target:
            case "onnx-fp32":
                for part in full.parent.glob(f"{full.name}*"):
                    shutil.copy(part, output.with_name(part.name))
            case "onnx-fp16":
                # By its path, since shapes are not inferred of a model over 2 GiB in memory.
                graph = convert_float_to_float16(str(full), keep_io_types=True, node_block_list=list(kept))
                # Two nodes that are kept and read one tensor each get the same cast.
                nodes = {node.output[0]: node for node in graph.graph.node}
                del graph.graph.node[:]
                graph.graph.node.extend(nodes.values())
                save_graph(graph, output)
            case "onnx-int8" if ranges is not None:
                quantize_dynamic(
                    full,
                    output,
                    op_types_to_quantize=["MatMul"],
                    per_channel=True,
                    weight_type=QuantType.QInt8,
                    use_external_data_format=full.with_name(f"{full.name}.data").exists(),
                    # The quantizer splits a Gemm first, and goes by the name of what it split off.
                    nodes_to_exclude=[*kept, *(f"{name}_MatMul" for name in kept)],
                )
                graph = onnx.load(output)
                fix_scales(graph, ranges)
                _round_embeddings(graph)
                output.with_name(f"{output.name}.data").unlink(missing_ok=True)
                save_graph(graph, output)
            case "onnx-int8" | "onnx-int4":
                quantizer = MatMulNBitsQuantizer(
                    onnx.load(full),
                    bits=int(target.removeprefix("onnx-int")),
                    block_size=BLOCK,
                    is_symmetric=True,
                    accuracy_level=_INT8_COMPUTE,
                    nodes_to_exclude=list(kept),
                )
                quantizer.process()
                graph = quantizer.model.model
                _round_embeddings(graph)
                save_graph(graph, output)


def _round_embeddings(graph: onnx.ModelProto) -> None:
    """Put 8 bits and one scale a row in place of the table (tokens, dimensions) that embeds the tokens' ids."""
    tables = {tensor.name: tensor for tensor in graph.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    producers = {name: node for node in graph.graph.node for name in node.output}
    gathers = [node for node in graph.graph.node if node.op_type == "Gather" and node.input[0] in tables]
    embedding = {node.input[0] for node in gathers if _origin(node.input[1], producers) == "input_ids"}
    for name in sorted(embedding):
        values = numpy_helper.to_array(tables[name])
        scale = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / 127
        rounded = np.rint(values / scale).astype(np.int8)
        graph.graph.initializer.append(numpy_helper.from_array(rounded, f"{name}_rows"))
        graph.graph.initializer.append(numpy_helper.from_array(scale, f"{name}_row_scales"))
    nodes: list[onnx.NodeProto] = []
    for node in graph.graph.node:
        if node.op_type != "Gather" or node.input[0] not in embedding:
            nodes.append(node)
            continue
        (table, ids), (found,) = node.input, node.output
        nodes += [
            helper.make_node("Gather", [f"{table}_rows", ids], [f"{found}_row"], axis=0),
            helper.make_node("Cast", [f"{found}_row"], [f"{found}_wide"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Gather", [f"{table}_row_scales", ids], [f"{found}_scale"], axis=0),
            helper.make_node("Mul", [f"{found}_wide", f"{found}_scale"], [found]),
        ]
    unused = embedding - {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.graph.initializer if tensor.name not in unused]
    del graph.graph.node[:], graph.graph.initializer[:]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(kept)


def _origin(name: str, producers: dict[str, onnx.NodeProto]) -> str:
    """What ``name`` is, in another shape or type."""
    while name in producers and producers[name].op_type in ("Cast", "Reshape"):
        name = producers[name].input[0]
    return name
