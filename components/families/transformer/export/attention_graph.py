"""ONNX's Attention on states as the layers before and after hold them, without a turn to and from heads first.

The operator takes (rows, heads, tokens, size) or (rows, tokens, heads x size) (onnx.ai, "Attention", since opset 23).
The exporter writes the first, with four transpositions and reshapings around it that the second does not need.
"""

import onnx
from onnx import helper

_HEADS_FIRST = [0, 2, 1, 3]


def keep_heads_together(graph: onnx.GraphProto, heads: int) -> None:
    """Change every Attention node of ``graph`` whose inputs and output are turned in this way; others stay."""
    producers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in graph.node:
        if node.op_type != "Attention":
            continue
        before = [_turned(producers.get(name), producers) for name in node.input[:3]]
        after = _only(readers, node.output[0], "Transpose")
        reshaped = _only(readers, after.output[0], "Reshape") if after and _turns(after) else None
        if not all(before) or reshaped is None:
            continue
        for place, states in enumerate(before):
            node.input[place] = states or ""
        node.output[0], reshaped.output[0] = reshaped.output[0], f"{reshaped.output[0]}_unused"
        node.attribute.extend(helper.make_attribute(name, heads) for name in ("q_num_heads", "kv_num_heads"))
    _drop_unused(graph)


def _turned(node: onnx.NodeProto | None, producers: dict[str, onnx.NodeProto]) -> str | None:
    """What was reshaped to heads and then turned by ``node``."""
    if node is None or not _turns(node):
        return None
    reshaped = producers.get(node.input[0])
    return reshaped.input[0] if reshaped is not None and reshaped.op_type == "Reshape" else None


def _turns(node: onnx.NodeProto) -> bool:
    return node.op_type == "Transpose" and list(node.attribute[0].ints) == _HEADS_FIRST


def _only(readers: dict[str, list[onnx.NodeProto]], name: str, kind: str) -> onnx.NodeProto | None:
    found = readers.get(name, [])
    return found[0] if len(found) == 1 and found[0].op_type == kind else None


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Take out the nodes, from the last to the first, whose results nobody reads, and the weights only they read."""
    used = {output.name for output in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if used.isdisjoint(node.output):
            continue
        kept.append(node)
        used.update(node.input)
    weights = [weight for weight in graph.initializer if weight.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)
