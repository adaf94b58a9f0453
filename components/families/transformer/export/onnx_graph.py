"""Export of a transformer classifier and its tokenizer for ONNX Runtime."""

import ast
import json
from pathlib import Path
from typing import Any

import onnx
import torch

from textgate.components.contracts import OnnxRuntime
from textgate.components.families.onnx_files import save_graph, suppress_warnings
from textgate.components.families.transformer.export.attention_graph import merge_attention_heads
from textgate.components.inference.onnx import TOKENIZER

_OPSET = 20
_OPSET_WITH_ATTENTION = 23
"""First opset with an Attention operator. Models with rotary positions cannot use it: ONNX Runtime 1.31 does not load
the RotaryEmbedding operator that the exporter then writes."""


def export_classifier(
    model: Any, tokenizer: Any, max_tokens: int, output: Path, unquantized: str | None = None
) -> tuple[OnnxRuntime, list[str]]:
    """Write ``model.onnx`` in float32 and ``tokenizer.json`` to ``output``.

    Args:
        model: Classifier, loaded with ``architectures.export_options``.
        tokenizer: Its fast tokenizer.
        max_tokens: Length in tokens to truncate texts to.
        output: Existing folder.
        unquantized: Name of a module that must not be quantized.

    Returns:
        The runtime of the exported graph, and the names of the nodes of the module ``unquantized``.
    """
    example = dict(tokenizer(["a text", "another, longer text"], padding=True, return_tensors="pt"))
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    opset = _OPSET_WITH_ATTENTION if model.config._attn_implementation == "sdpa" else _OPSET
    print(f"exporting to ONNX, opset {opset}", flush=True)
    with suppress_warnings():
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
    # ONNX Runtime's quantizer fails on the exporter's shape annotations.
    del graph.graph.value_info[:]
    if opset == _OPSET_WITH_ATTENTION:
        merge_attention_heads(graph.graph, model.config.num_attention_heads)
    excluded_nodes = [node.name for node in graph.graph.node if unquantized in _modules(node)]
    for node in graph.graph.node:
        # The exporter stores the source line of each node, with paths of this machine.
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
    # Parsed and serialized again for a stable key order, so that the same tokenizer gives the same bytes.
    definition = json.loads(tokenizer.backend_tokenizer.to_str())
    (output / TOKENIZER).write_text(json.dumps(definition, ensure_ascii=False), "utf-8")
    return runtime, excluded_nodes


def _shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


def _modules(node: Any) -> list[str]:
    """Return the names of the modules that contain ``node``, outermost first."""
    metadata = {entry.key: entry.value for entry in node.metadata_props}
    return list(ast.literal_eval(metadata.get("pkg.torch.onnx.name_scopes", "[]")))
