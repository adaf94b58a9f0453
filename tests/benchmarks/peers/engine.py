"""Tokenizer and ONNX graph of the bundle, used by every peer that supports ONNX; one run per call.

It runs in the peer's own environment; environment variables name the files.
"""

import json
import os

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

Prediction = dict[str, str | float]
"""Label and score of a text."""


class Engine:
    """ONNX Runtime session with ``threads`` threads."""

    def __init__(self, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # The same settings as in textgate.components.inference.onnx, so that the rows differ by the server only.
        self._session = onnxruntime.InferenceSession(
            os.environ["BENCHMARK_GRAPH"],
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],
        )
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._tokenizer = Tokenizer.from_file(os.environ["BENCHMARK_TOKENIZER"])
        self._tokenizer.enable_truncation(int(os.environ["BENCHMARK_MAX_TOKENS"]))
        self._tokenizer.enable_padding()
        self._labels: list[str] = json.loads(os.environ["BENCHMARK_LABELS"])

    def classify(self, texts: list[str]) -> list[Prediction]:
        """Return the most probable label of each text."""
        encodings = self._tokenizer.encode_batch_fast(texts)
        columns = {
            "input_ids": [encoding.ids for encoding in encodings],
            "attention_mask": [encoding.attention_mask for encoding in encodings],
            "token_type_ids": [encoding.type_ids for encoding in encodings],
        }
        feeds = {name: np.array(columns[name], dtype=np.int64) for name in self._inputs}
        (logits,) = self._session.run(None, feeds)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = powers / powers.sum(axis=1, keepdims=True)
        return [
            {"label": self._labels[index], "score": float(row[index])}
            for row, index in zip(probabilities, probabilities.argmax(axis=1), strict=True)
        ]
