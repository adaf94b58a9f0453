"""Answers with a transformer on torch, as it was trained: what the exported model is measured against."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import DataCollatorWithPadding

from textgate.components.contracts import Progress, TextNormalizer
from textgate.serving.linear import softmax

_ROWS_PER_BATCH = 64


class TorchPredictor:
    """A ``Predictor`` over a sequence classification model and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, normalizer: TextNormalizer, max_tokens: int) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer
        self._normalizer, self._max_tokens = normalizer, max_tokens

    def predict(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict``."""
        cleaned = [self._normalizer(text) for text in texts]
        labels = self._model.config.num_labels
        return softmax(run(self._model, self._tokenizer, cleaned, self._max_tokens, labels, "predicting"))


def run(
    model: Any, tokenizer: Any, texts: list[str], max_tokens: int, width: int, doing: str
) -> npt.NDArray[np.float64]:
    """The model's logits (len(texts), width). ``doing`` is said with the progress.

    Texts are run from the shortest to the longest, which wastes little on padding.
    """
    examples = tokenize(tokenizer, texts, max_tokens)
    order = sorted(range(len(examples)), key=lambda row: len(examples[row]["input_ids"]))
    collate = DataCollatorWithPadding(tokenizer)
    logits = np.empty((len(texts), width))
    progress = Progress(total=len(texts))
    with torch.inference_mode():
        for start in range(0, len(order), _ROWS_PER_BATCH):
            rows = order[start : start + _ROWS_PER_BATCH]
            batch = collate([examples[row] for row in rows]).to(model.device)
            logits[rows] = model(**batch).logits.double().cpu().numpy()
            progress.update(start + len(rows), doing)
    return logits


def tokenize(tokenizer: Any, texts: list[str], max_tokens: int) -> list[dict[str, list[int]]]:
    """One example a text: the tokenizer's columns (input_ids, attention_mask, …), cut at ``max_tokens``, not padded."""
    if not texts:
        return []
    columns = tokenizer(texts, truncation=True, max_length=max_tokens)
    return [dict(zip(columns.keys(), values, strict=True)) for values in zip(*columns.values(), strict=True)]
