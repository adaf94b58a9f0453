"""A transformer on ONNX Runtime behind its own tokenizer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Encoding, Tokenizer

from textgate.components.contracts import InputError, OnnxRuntime, TextNormalizer
from textgate.components.contracts.probabilities import softmax
from textgate.components.inference.predictor import PartialPrediction, in_order

TOKENIZER = "tokenizer.json"

Inputs = dict[str, npt.NDArray[np.int64]]
"""Name to (rows, tokens)."""

_TEXTS_PER_TOKENIZATION = 1_024
_TOKENS_PER_BATCH = 256
"""Padded tokens in one run of the graph: with more a layer's states outgrow a core's cache, and texts of unlike length
are padded to each other."""
_TOKENS_OF_A_RUN = 12
"""What a run costs beside its padded tokens, in tokens: 4 in the graph of MiniLM in 8 bits, the rest around it."""
_SPIN_MICROSECONDS = "20"
"""How long threads of a server wait for each other in a loop before they sleep. By ONNX Runtime's default a run takes
five times as long where another process has one of the cores; without any waiting they gain nothing over one thread."""
_SLOWER = ["SkipLayerNormFusion"]
"""Fusions of ONNX Runtime that cost an 8-bit graph time: this one takes six times as long as LayerNormalization."""


@dataclass(frozen=True)
class Batch:
    """What one run of the graph is given; ``rows``, ``truncated`` and ``tokens`` as in ``PartialPrediction``."""

    rows: npt.NDArray[np.int64]
    inputs: Inputs
    truncated: npt.NDArray[np.bool_]
    tokens: int


class OnnxPredictor:
    """The graph takes int64 (rows, tokens) inputs by the manifest's names and gives logits (rows, labels).

    ``serves`` tells that a server's other threads want the cores too.
    """

    def __init__(
        self, folder: Path, normalizer: TextNormalizer, runtime: OnnxRuntime, threads: int, serves: bool = False
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if serves:
            options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_MICROSECONDS)
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder / runtime.graph),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=_SLOWER if runtime.precision == "int8" else None,
            )
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # ONNX Runtime and tokenizers raise bare Exceptions for unreadable files
            raise InputError(f"the bundle {folder} cannot be opened by ONNX Runtime: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(runtime.max_tokens)
        self._normalizer, self._inputs, self._longest = normalizer, runtime.inputs, runtime.max_tokens
        self._labels: int = self._session.get_outputs()[0].shape[1]

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        return in_order(self.predict_batches(texts), len(texts), self._labels)

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        """See ``StreamingPredictor.predict_batches``."""
        for batch in self.batches(texts):
            (logits,) = self._session.run(None, batch.inputs)
            yield PartialPrediction(batch.rows, softmax(logits.astype(np.float64)), batch.truncated, batch.tokens)

    def batches(self, texts: Sequence[str]) -> Iterator[Batch]:
        """What the graph is run with: texts of similar length, the shortest first, under a budget of padded tokens."""
        for start in range(0, len(texts), _TEXTS_PER_TOKENIZATION):
            cleaned = [self._normalizer(text) for text in texts[start : start + _TEXTS_PER_TOKENIZATION]]
            encodings = self._tokenizer.encode_batch_fast(cleaned)
            lengths = [len(encoding) for encoding in encodings]
            for rows in _batches(lengths):
                chosen = [encodings[row] for row in rows]
                # Only a text as long as can be may have been cut; to list what was left out is slow.
                truncated = [len(encoding) == self._longest and bool(encoding.overflowing) for encoding in chosen]
                tokens = sum(lengths[row] for row in rows)
                yield Batch(start + rows, self._inputs_of(chosen), np.array(truncated), tokens)

    def _inputs_of(self, encodings: list[Encoding]) -> Inputs:
        shape = (len(encodings), max(len(encoding) for encoding in encodings))
        feeds = {name: np.zeros(shape, dtype=np.int64) for name in self._inputs}
        for row, encoding in enumerate(encodings):
            end = len(encoding)
            # Padding is masked out, so the id it carries does not matter and 0 serves every tokenizer.
            feeds["input_ids"][row, :end] = encoding.ids
            feeds["attention_mask"][row, :end] = 1
            if "token_type_ids" in feeds:
                feeds["token_type_ids"][row, :end] = encoding.type_ids
        return feeds


def _batches(lengths: list[int]) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers in batches of similar length that take the least time together, each within the token budget.

    Fang, Yu, Zhao and Zhou, TurboTransformers (PPoPP 2021), section 5: over texts in the order of their lengths, the
    best cuts by dynamic programming, where a batch costs what its padded tokens do and something for itself.
    """
    order = np.argsort(np.array(lengths, dtype=np.int64), kind="stable")
    costs, starts = [0], [0]
    for end, row in enumerate(order.tolist(), 1):
        longest, start = lengths[row], end - 1
        least = costs[start] + longest
        for other in range(end - 2, max(end - 1 - _TOKENS_PER_BATCH // longest, -1), -1):
            cost = costs[other] + (end - other) * longest
            if cost < least:
                least, start = cost, other
        costs.append(least + _TOKENS_OF_A_RUN)
        starts.append(start)
    cuts = [len(order)]
    while cuts[-1]:
        cuts.append(starts[cuts[-1]])
    return (order[start:end] for start, end in pairwise(reversed(cuts)))
