"""Answers with a transformer on torch, as it was trained: what the exported model is measured against."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import DataCollatorWithPadding

from textgate.components.contracts import Progress, TextNormalizer
from textgate.components.contracts.probabilities import softmax

_ROWS_PER_BATCH = 64


class TorchPredictor:
    """A ``Predictor`` over a sequence classification model and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, normalizer: TextNormalizer, max_tokens: int) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer
        self._normalizer, self._max_tokens = normalizer, max_tokens

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        cleaned = [self._normalizer(text) for text in texts]
        labels = self._model.config.num_labels
        return softmax(run(self._model, self._tokenizer, cleaned, self._max_tokens, labels, "predicting"))

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """What the model's last layer makes its answer of, (len(texts), dimensions): a text as the model sees it."""
        with torch.inference_mode(), _last_layer_inputs(self._model) as read:
            cleaned = [self._normalizer(text) for text in texts]
            embeddings = np.empty((len(texts), 0), dtype=np.float32)
            for rows, batch in _batches(self._model, self._tokenizer, cleaned, self._max_tokens, "embedding"):
                self._model(**batch)
                if not embeddings.size:
                    embeddings = np.empty((len(texts), read[0].shape[1]), dtype=np.float32)
                embeddings[rows] = read[0].float().cpu().numpy()
        return embeddings


@contextmanager
def _last_layer_inputs(model: Any) -> Iterator[list[torch.Tensor]]:
    """What the last layer of ``model`` was given, whenever the model has answered."""
    read: list[torch.Tensor] = []

    def keep(_: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        # Of all layers, which are the modules that hold no others, the last to be called is the last.
        read[:] = inputs[:1]

    layers = [module for module in model.modules() if not list(module.children())]
    hooks = [layer.register_forward_pre_hook(keep) for layer in layers]
    try:
        yield read
    finally:
        for hook in hooks:
            hook.remove()


def run(
    model: Any, tokenizer: Any, texts: list[str], max_tokens: int, width: int, doing: str
) -> npt.NDArray[np.float64]:
    """The model's logits (len(texts), width). ``doing`` is said with the progress."""
    logits = np.empty((len(texts), width))
    with torch.inference_mode():
        for rows, batch in _batches(model, tokenizer, texts, max_tokens, doing):
            logits[rows] = model(**batch).logits.double().cpu().numpy()
    return logits


def _batches(
    model: Any, tokenizer: Any, texts: list[str], max_tokens: int, doing: str
) -> Iterator[tuple[list[int], Any]]:
    """Numbers of some texts and what the model takes of them, until all were asked for.

    Texts are run from the shortest to the longest, which wastes little on padding.
    """
    examples = tokenize(tokenizer, texts, max_tokens)
    order = sorted(range(len(examples)), key=lambda row: len(examples[row]["input_ids"]))
    collate = DataCollatorWithPadding(tokenizer)
    progress = Progress(total=len(texts))
    for start in range(0, len(order), _ROWS_PER_BATCH):
        rows = order[start : start + _ROWS_PER_BATCH]
        yield rows, collate([examples[row] for row in rows]).to(model.device)
        progress.update(start + len(rows), doing)


def tokenize(tokenizer: Any, texts: list[str], max_tokens: int) -> list[dict[str, list[int]]]:
    """One example a text: the tokenizer's columns (input_ids, attention_mask, …), cut at ``max_tokens``, not padded."""
    if not texts:
        return []
    columns = tokenizer(texts, truncation=True, max_length=max_tokens)
    return [dict(zip(columns.keys(), values, strict=True)) for values in zip(*columns.values(), strict=True)]
