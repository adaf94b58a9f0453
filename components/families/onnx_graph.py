"""A transformer classifier as an ONNX graph and the tokenizer beside it, for ONNX Runtime."""

import ast
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from textgate.components.contracts import OnnxRuntime
from textgate.serving.onnx import GRAPH, TOKENIZER

_OPSET = 20
_LARGEST_GRAPH = 1_900_000_000
"""Bytes of weights that still fit a protobuf file of 2 GiB with the graph around them."""


def export_classifier(
    model: Any, tokenizer: Any, max_tokens: int, target: str, output: Path, unquantized: str | None = None
) -> OnnxRuntime:
    """Write ``model.onnx`` and ``tokenizer.json`` into ``output``.

    ``onnx-int8`` is dynamic quantization with signed weights and one scale a channel (onnxruntime.ai/docs, "Quantize
    ONNX models"): signed weights run twice as fast as unsigned ones where the CPU has VNNI. The module ``unquantized``
    of the model stays in full precision.
    """
    example = dict(tokenizer(["a text", "another, longer text"], padding=True, return_tensors="pt"))
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    print(f"exporting to ONNX, opset {_OPSET}", flush=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        program = torch.onnx.export(
            model.eval(),
            kwargs=example,
            input_names=list(example),
            output_names=["logits"],
            dynamic_shapes={name: {0: rows, 1: tokens} for name in example},
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
        logging.disable(logging.NOTSET)
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    graph = program.model_proto
    # ONNX Runtime's quantizer stumbles over the exporter's shape annotations.
    del graph.graph.value_info[:]
    kept = [node.name for node in graph.graph.node if unquantized in _modules(node)]
    # The quantizer splits a Gemm first, and goes by the name of what it split off.
    kept += [f"{name}_MatMul" for name in kept]
    for node in graph.graph.node:
        # The exporter notes which line of which file on this machine a node comes from.
        del node.metadata_props[:]
    # A protobuf file ends at 2 GiB: the weights of a larger model lie in a file of their own.
    external = sum(len(weights.raw_data) for weights in graph.graph.initializer) > _LARGEST_GRAPH
    full = output / GRAPH
    if target == "onnx-int8":
        full = output / "full.onnx"
    onnx.save(graph, full, save_as_external_data=external, location=f"{full.name}.data")
    if target == "onnx-int8":
        print("quantizing to int8", flush=True)
        quantize_dynamic(
            full,
            output / GRAPH,
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=external,
            nodes_to_exclude=kept,
        )
        for path in output.glob(f"{full.name}*"):
            path.unlink()
    # Parsed and written again for a stable order of keys: the same tokenizer is the same bytes.
    definition = json.loads(tokenizer.backend_tokenizer.to_str())
    (output / TOKENIZER).write_text(json.dumps(definition, ensure_ascii=False), "utf-8")
    return OnnxRuntime(
        precision="int8" if target == "onnx-int8" else "fp32", max_tokens=max_tokens, opset=_OPSET, inputs=list(example)
    )


def _modules(node: Any) -> list[str]:
    """Names of the modules the exporter found a node in, from the outermost."""
    notes = {note.key: note.value for note in node.metadata_props}
    return list(ast.literal_eval(notes.get("pkg.torch.onnx.name_scopes", "[]")))
