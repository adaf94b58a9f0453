"""Predictor of ONNX bundles: a tokenizer and a graph on ONNX Runtime, with length-sorted batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Encoding

from textgate.components.contracts import InputError, OnnxRuntime, TextNormalizer
from textgate.components.inference.device import Device, create_session
from textgate.components.inference.failures import PredictionError, failures_as
from textgate.components.inference.predictor import PartialPrediction, assemble, characters_read, finite_softmax
from textgate.components.inference.tokenizer import check_tokenizer, read_tokenizer

TOKENIZER = "tokenizer.json"

Inputs = dict[str, npt.NDArray[np.int64]]
"""Input name to array (rows, tokens)."""

_TEXTS_PER_TOKENIZATION = 1_024
_TOKENS_PER_BATCH: dict[Device, int] = {"cpu": 256, "cuda": 2_048}
"""Maximum of padded tokens in one run of the graph. With more, the hidden states of a layer outgrow a core's cache, and
texts of different lengths have to be padded to each other. A GPU needs more to be busy; its value was not measured."""
_RUN_OVERHEAD = 12
"""Fixed cost of one run of the graph, in padded tokens: 4 within the int8 graph of MiniLM, the rest around it."""
_SPIN_MICROSECONDS = "20"
"""How long ONNX Runtime's threads busy-wait for work before they sleep, in a server. With the default, a run takes five
times as long when another process uses one of the cores; without busy-waiting, several threads are no faster than 1."""
_SLOW_FUSIONS = ["SkipLayerNormFusion"]
"""Fusions of ONNX Runtime that slow an int8 graph down: this one takes six times as long as LayerNormalization."""

_LONGEST_TRIAL = 1_024
"""Tokens of the longest input that ``check`` tries: more than the positions of BERT and its relatives, and within the
memory of any server."""
_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_FLOATS = {"tensor(float)", "tensor(float16)", "tensor(double)"}


@dataclass(frozen=True)
class Batch:
    """Input of one run of the graph; ``rows``, ``truncated`` and ``tokens`` are those of ``PartialPrediction``."""

    rows: npt.NDArray[np.int64]
    inputs: Inputs
    truncated: npt.NDArray[np.bool_]
    tokens: int


class OnnxPredictor:
    """Predictor over a graph with int64 (rows, tokens) inputs and logits (rows, labels) as its output.

    Args:
        folder: Folder of the bundle; holds the graph and ``tokenizer.json``.
        normalizer: Applied to each text before it is tokenized.
        runtime: File of the graph, its inputs and the maximum number of tokens.
        threads: See ``load_bundle``.
        in_server: Whether the process is a server, whose other threads need the cores too.
        device: Device that runs the graph.

    Raises:
        InputError: ONNX Runtime cannot open the graph on the device, it has other inputs or outputs than the runtime,
            or the tokenizer cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        normalizer: TextNormalizer,
        runtime: OnnxRuntime,
        threads: int,
        in_server: bool = False,
        device: Device = "cpu",
    ) -> None:
        if device == "cuda" and runtime.precision not in ("fp32", "fp16"):
            raise InputError(
                f"the served graph of the bundle {folder} has {runtime.precision} weights, which are for CPUs: serve "
                "it with --device cpu, or set export.targets: [onnx-fp16], so that the gate judges what a GPU serves"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if in_server:
            options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_MICROSECONDS)
        with failures_as(InputError, f"the bundle {folder} cannot be opened by ONNX Runtime"):
            slow = _SLOW_FUSIONS if runtime.precision == "int8" else None
            self._session = create_session(str(folder / runtime.graph), options, device, slow)
        self.labels = _check_signature(self._session, folder / runtime.graph, set(runtime.inputs))
        self._tokenizer = read_tokenizer(folder / TOKENIZER, runtime.max_tokens)
        self._normalizer, self._inputs, self._max_tokens = normalizer, runtime.inputs, runtime.max_tokens
        self._characters = characters_read(runtime.max_tokens)
        self._tokens_per_batch = _TOKENS_PER_BATCH[device]

    def check(self) -> None:
        """See ``ServedPredictor.check``."""
        largest = check_tokenizer(self._tokenizer, self._characters)
        with failures_as(InputError, f"the tokenizer has the token id {largest}, which the graph does not take"):
            self._try(largest, 1)
        longest = min(self._max_tokens, _LONGEST_TRIAL)
        with failures_as(InputError, f"max_tokens is {self._max_tokens}, but the graph does not take {longest} tokens"):
            self._try(largest, longest)

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        return assemble(self.predict_batches(texts), len(texts), self.labels)

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        """See ``StreamingPredictor.predict_batches``."""
        for batch in self.batches(texts):
            (logits,) = self._session.run(None, batch.inputs)
            probabilities = finite_softmax(logits.astype(np.float64), batch.rows)
            yield PartialPrediction(batch.rows, probabilities, batch.truncated, batch.tokens)

    def batches(self, texts: Sequence[str]) -> Iterator[Batch]:
        """Yield the inputs of each run: texts of similar length, shortest first, within the budget of padded tokens.

        A text is cut before it is normalized, so that its time is bounded by what the model can read.
        """
        for start in range(0, len(texts), _TEXTS_PER_TOKENIZATION):
            chunk = texts[start : start + _TEXTS_PER_TOKENIZATION]
            normalized = [self._normalizer(text[: self._characters]) for text in chunk]
            encodings = self._tokenizer.encode_batch_fast(normalized)
            # A text without tokens is read as one padding token.
            lengths = [max(len(encoding), 1) for encoding in encodings]
            if max(lengths) > self._max_tokens:
                raise PredictionError(f"the tokenizer returned {max(lengths)} tokens, more than {self._max_tokens}")
            for rows in _batches(lengths, self._tokens_per_batch):
                batch = [encodings[row] for row in rows]
                # Reading ``overflowing`` is slow, and only a text of maximum length can have been cut off.
                truncated = [
                    len(chunk[row]) > self._characters
                    or (len(encoding) == self._max_tokens and bool(encoding.overflowing))
                    for row, encoding in zip(rows, batch, strict=True)
                ]
                tokens = sum(lengths[row] for row in rows)
                yield Batch(start + rows, self._pad(batch), np.array(truncated), tokens)

    def _try(self, token: int, length: int) -> None:
        """Run the graph on a text of one repeated token."""
        inputs = {name: np.zeros((1, length), dtype=np.int64) for name in self._inputs}
        inputs["input_ids"][:] = token
        inputs["attention_mask"][:] = 1
        self._session.run(None, inputs)

    def _pad(self, encodings: list[Encoding]) -> Inputs:
        shape = (len(encodings), max(1, *(len(encoding) for encoding in encodings)))
        inputs = {name: np.zeros(shape, dtype=np.int64) for name in self._inputs}
        for row, encoding in enumerate(encodings):
            end = len(encoding)
            # Padding is masked out, so its token id does not matter; 0 exists in every vocabulary.
            inputs["input_ids"][row, :end] = encoding.ids
            inputs["attention_mask"][row, : max(end, 1)] = 1
            if "token_type_ids" in inputs:
                inputs["token_type_ids"][row, :end] = encoding.type_ids
        return inputs


def _check_signature(session: onnxruntime.InferenceSession, graph: Path, names: set[str]) -> int:
    """Return the number of labels of a graph whose inputs are ``names``.

    Raises:
        InputError: The graph takes other inputs, or its output is not one array (rows, labels) of floats.
    """
    inputs = {node.name: (node.type, len(node.shape)) for node in session.get_inputs()}
    if not {"input_ids", "attention_mask"} <= names <= _INPUTS or inputs != dict.fromkeys(names, ("tensor(int64)", 2)):
        raise InputError(
            f"the graph {graph} must have the int64 inputs (rows, tokens) {', '.join(sorted(names))} that the manifest "
            f"names, input_ids and attention_mask among them, but it has {', '.join(sorted(inputs))}"
        )
    outputs = [(node.type, node.shape) for node in session.get_outputs()]
    match outputs:
        case [(kind, [_, int(labels)])] if kind in _FLOATS:
            return labels
    raise InputError(f"the graph {graph} must have one output (rows, labels) of floats, not {outputs}")


def _batches(lengths: list[int], budget: int) -> Iterator[npt.NDArray[np.int64]]:
    """Return row indices in batches that minimize the total cost, each batch within the token budget.

    Dynamic programming over the texts sorted by length, where the cost of a batch is its padded tokens plus a constant
    (Fang, Yu, Zhao and Zhou, TurboTransformers, PPoPP 2021, section 5).

    Args:
        lengths: Number of tokens of each row.
        budget: Maximum of padded tokens of a batch.
    """
    order = np.argsort(np.array(lengths, dtype=np.int64), kind="stable")
    costs, starts = [0], [0]
    for end, row in enumerate(order.tolist(), 1):
        longest, start = lengths[row], end - 1
        least = costs[start] + longest
        for other in range(end - 2, max(end - 1 - budget // longest, -1), -1):
            cost = costs[other] + (end - other) * longest
            if cost < least:
                least, start = cost, other
        costs.append(least + _RUN_OVERHEAD)
        starts.append(start)
    cuts = [len(order)]
    while cuts[-1]:
        cuts.append(starts[cuts[-1]])
    return (order[start:end] for start, end in pairwise(reversed(cuts)))
