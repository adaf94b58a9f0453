"""Write ONNX graphs of any size, and keep the libraries that make them quiet."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

_LARGEST_GRAPH = 1_900_000_000
"""Bytes of weights that still fit a protobuf file of 2 GiB with the graph around them."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to itself what the exporter and the quantizers log of every node, and warn of in their own code."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def save_graph(graph: onnx.ModelProto, path: Path) -> None:
    """Write an ONNX graph; where it would pass the 2 GiB at which a protobuf file ends, its weights beside it."""
    external = sum(len(weights.raw_data) for weights in graph.graph.initializer) > _LARGEST_GRAPH
    onnx.save(graph, path, save_as_external_data=external, location=f"{path.name}.data")
