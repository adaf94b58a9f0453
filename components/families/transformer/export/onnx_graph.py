"""A transformer classifier as an ONNX graph and the tokenizer beside it, for ONNX Runtime."""

import ast
import json
from pathlib import Path
from typing import Any

import onnx
import torch

from textgate.components.contracts import OnnxRuntime
from textgate.components.families.onnx_files import quiet, save_graph
from textgate.components.families.transformer.export.attention_graph import keep_heads_together
from textgate.components.inference.onnx import TOKENIZER

_OPSET = 20
_OPSET_WITH_ATTENTION = 23
"""Has one operator for attention; its one for rotary positions ONNX Runtime 1.31 does not take from the exporter."""


def export_classifier(
    model: Any, tokenizer: Any, max_tokens: int, output: Path, unquantized: str | None = None
) -> tuple[OnnxRuntime, list[str]]:
    """Write ``model.onnx`` in full precision and ``tokenizer.json`` into ``output``.

    Returns the runtime and the names of the nodes of the model's module ``unquantized``, which are never to be rounded.
    """
    example = dict(tokenizer(["a text", "another, longer text"], padding=True, return_tensors="pt"))
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    opset = _OPSET_WITH_ATTENTION if model.config._attn_implementation == "sdpa" else _OPSET
    print(f"exporting to ONNX, opset {opset}", flush=True)
    with quiet():
        program = torch.onnx.export(
            model.eval(),
            kwargs=example,
            input_names=list(example),
            output_names=["logits"],
            dynamic_shapes={name: {0: rows, 1: tokens} for name in example},
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    graph = program.model_proto
    # ONNX Runtime's quantizer stumbles over the exporter's shape annotations.
    del graph.graph.value_info[:]
    if opset == _OPSET_WITH_ATTENTION:
        keep_heads_together(graph.graph, model.config.num_attention_heads)
    kept = [node.name for node in graph.graph.node if unquantized in _modules(node)]
    for node in graph.graph.node:
        # The exporter notes which line of which file on this machine a node comes from.
        del node.metadata_props[:]
    runtime = OnnxRuntime(
        precision="fp32",
        max_tokens=max_tokens,
        opset=opset,
        producer=f"{graph.producer_name} {graph.producer_version}",
        inputs={value.name: _shape(value) for value in graph.graph.input},
        outputs={value.name: _shape(value) for value in graph.graph.output},
    )
    save_graph(graph, output / runtime.graph)
    # Parsed and written again for a stable order of keys: the same tokenizer is the same bytes.
    definition = json.loads(tokenizer.backend_tokenizer.to_str())
    (output / TOKENIZER).write_text(json.dumps(definition, ensure_ascii=False), "utf-8")
    return runtime, kept


def _shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


def _modules(node: Any) -> list[str]:
    """Names of the modules the exporter found a node in, from the outermost."""
    notes = {note.key: note.value for note in node.metadata_props}
    return list(ast.literal_eval(notes.get("pkg.torch.onnx.name_scopes", "[]")))
