"""Graph optimization: ONNX Attention on 3-D inputs, without the transposes that 4-D inputs need.

The operator takes inputs (batch, heads, tokens, head size) or (batch, tokens, heads · head size); see onnx.ai,
"Attention", since opset 23. The exporter writes the 4-D form, which needs a Reshape and a Transpose for each of the
three inputs and the output. The 3-D form takes the tensors as the neighbouring layers produce and read them.
"""

import onnx
from onnx import helper

_SWAP_HEADS_AND_TOKENS = [0, 2, 1, 3]


def merge_attention_heads(graph: onnx.GraphProto, heads: int) -> None:
    """Rewrite Attention nodes with 4-D inputs to 3-D inputs, in place.

    Nodes without the exporter's Reshape and Transpose pattern on all inputs and on the output are not changed.

    Args:
        graph: Graph of a transformer.
        heads: Number of attention heads.
    """
    producers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in graph.node:
        if node.op_type != "Attention":
            continue
        inputs = [_before_split(producers.get(name), producers) for name in node.input[:3]]
        transpose = _only_reader(readers, node.output[0], "Transpose")
        reshape = (
            _only_reader(readers, transpose.output[0], "Reshape") if transpose and _swaps_heads(transpose) else None
        )
        if not all(inputs) or reshape is None:
            continue
        for index, name in enumerate(inputs):
            node.input[index] = name or ""
        node.output[0], reshape.output[0] = reshape.output[0], f"{reshape.output[0]}_unused"
        node.attribute.extend(helper.make_attribute(name, heads) for name in ("q_num_heads", "kv_num_heads"))
    _drop_unused(graph)


def _before_split(node: onnx.NodeProto | None, producers: dict[str, onnx.NodeProto]) -> str | None:
    """Return the input of the Reshape before the Transpose ``node``; None if ``node`` does not end this pattern."""
    if node is None or not _swaps_heads(node):
        return None
    reshape = producers.get(node.input[0])
    return reshape.input[0] if reshape is not None and reshape.op_type == "Reshape" else None


def _swaps_heads(node: onnx.NodeProto) -> bool:
    """Return True if ``node`` swaps the axes of heads and tokens."""
    return node.op_type == "Transpose" and list(node.attribute[0].ints) == _SWAP_HEADS_AND_TOKENS


def _only_reader(readers: dict[str, list[onnx.NodeProto]], name: str, op_type: str) -> onnx.NodeProto | None:
    """Return the node that reads the tensor ``name``, if there is exactly one and it has this ``op_type``."""
    nodes = readers.get(name, [])
    return nodes[0] if len(nodes) == 1 and nodes[0].op_type == op_type else None


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes whose outputs are not used, last to first, and then the weights that are not used."""
    used = {output.name for output in graph.output}
    used_nodes: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if used.isdisjoint(node.output):
            continue
        used_nodes.append(node)
        used.update(node.input)
    weights = [weight for weight in graph.initializer if weight.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(used_nodes))
    graph.initializer.extend(weights)
