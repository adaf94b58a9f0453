"""The forms a full-precision ONNX graph can be served in."""

from collections.abc import Collection
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.float16 import convert_float_to_float16

from textgate.components.families.onnx_graph import quiet, save_graph

_INT4_BLOCK = 32
_INT8_COMPUTE = 4
"""MatMulNBits' accuracy level: activations in 8 bits too, which the CPU multiplies fastest."""


def make_target(target: str, full: Path, output: Path, kept: Collection[str] = ()) -> None:
    """Write the graph ``full`` as ``target`` to ``output``; nodes named in ``kept`` stay in full precision.

    ``onnx-int8`` is dynamic quantization with signed weights and one scale a channel (onnxruntime.ai/docs, "Quantize
    ONNX models"): signed weights run twice as fast as unsigned ones where the CPU has VNNI. ``onnx-int4`` quantizes
    weights only, in blocks of 32 (MatMulNBits). ``onnx-fp16`` halves the size; a CPU computes in fp32 all the same.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        match target:
            case "onnx-fp32":
                save_graph(onnx.load(full), output)
            case "onnx-fp16":
                graph = convert_float_to_float16(onnx.load(full), keep_io_types=True, node_block_list=list(kept))
                save_graph(graph, output)
            case "onnx-int8":
                quantize_dynamic(
                    full,
                    output,
                    per_channel=True,
                    weight_type=QuantType.QInt8,
                    use_external_data_format=full.with_name(f"{full.name}.data").exists(),
                    # The quantizer splits a Gemm first, and goes by the name of what it split off.
                    nodes_to_exclude=[*kept, *(f"{name}_MatMul" for name in kept)],
                )
            case "onnx-int4":
                quantizer = MatMulNBitsQuantizer(
                    onnx.load(full),
                    block_size=_INT4_BLOCK,
                    is_symmetric=True,
                    accuracy_level=_INT8_COMPUTE,
                    nodes_to_exclude=list(kept),
                )
                quantizer.process()
                save_graph(quantizer.model.model, output)
