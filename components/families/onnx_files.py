"""Writing ONNX graphs of any size, and silencing the libraries that export and quantize them."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

_LARGEST_GRAPH = 1_900_000_000
"""Maximum bytes of weights stored in the graph's own file; with the nodes, protobuf limits a file to 2 GiB."""


@contextmanager
def suppress_warnings() -> Iterator[None]:
    """Silence warnings and log records up to WARNING; the exporter and the quantizers log one for every node."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def save_graph(graph: onnx.ModelProto, path: Path) -> None:
    """Write ``graph`` to ``path``, with its weights in ``<path>.data`` if one file would exceed protobuf's 2 GiB."""
    external = sum(len(weights.raw_data) for weights in graph.graph.initializer) > _LARGEST_GRAPH
    onnx.save(graph, path, save_as_external_data=external, location=f"{path.name}.data")
