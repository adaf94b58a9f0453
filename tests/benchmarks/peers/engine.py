"""The bundle's graph behind its tokenizer: what every peer that can take ONNX answers with, a run for what it is given.

Runs in the peer's own environment, told where things are by environment variables.
"""

import json
import os

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

Answer = dict[str, str | float]
"""Of one text: label and score."""


class Engine:
    """A session of ``threads`` threads."""

    def __init__(self, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # As textgate.components.inference.onnx opens it: what differs between the rows is the server.
        self._session = onnxruntime.InferenceSession(
            os.environ["BENCHMARK_GRAPH"],
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],
        )
        self._inputs = {found.name for found in self._session.get_inputs()}
        self._tokenizer = Tokenizer.from_file(os.environ["BENCHMARK_TOKENIZER"])
        self._tokenizer.enable_truncation(int(os.environ["BENCHMARK_MAX_TOKENS"]))
        self._tokenizer.enable_padding()
        self._labels: list[str] = json.loads(os.environ["BENCHMARK_LABELS"])

    def classify(self, texts: list[str]) -> list[Answer]:
        """The likeliest label of each text."""
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
            {"label": self._labels[number], "score": float(row[number])}
            for row, number in zip(probabilities, probabilities.argmax(axis=1), strict=True)
        ]
