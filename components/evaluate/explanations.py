"""Explanations of predictions by leaving words out, with the same method as the endpoint.

See ``textgate.components.inference.explain``.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from textgate.components.contracts.insight import ExplainedError, TopWord, WordContribution
from textgate.components.evaluate.predictions import Predictions
from textgate.components.inference import Predictor
from textgate.components.inference.explain import BUDGET, Erasures, erase, leave_out, words

_WORDS_PER_LABEL = 20
_FEWEST_TEXTS = 3
"""Texts that a top word must occur in: a mean over one or two texts is mostly noise."""
_TEXTS_PER_BATCH = 256
"""Texts whose erasures are predicted together."""
_PUNCTUATION = re.compile(r"^\W+|\W+$")


def explain_errors(predictor: Predictor, predictions: Predictions, count: int) -> list[ExplainedError]:
    """Return the contribution of each word to the ``count`` most confident wrong predictions, most confident first."""
    confidence = predictions.probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions.predicted != predictions.truth)
    rows = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    erased = [erase(predictions.texts[row]) for row in rows]
    return [
        ExplainedError(
            row=int(row),
            contributions=[
                WordContribution(start=span.start, end=span.end, contribution=span.contribution)
                for span in erasures.contributions(probabilities, int(predictions.predicted[row]))
            ],
        )
        for row, erasures, probabilities in zip(rows, erased, _predict(predictor, erased), strict=True)
    ]


def top_words(
    predictor: Predictor, texts: Sequence[str], labels: Sequence[str], budget: int = BUDGET
) -> dict[str, list[TopWord]]:
    """Return the words with the largest mean contribution to each label, at most 20 per label.

    Words are compared in lower case and without surrounding punctuation. A word counts if it occurs in at least three
    texts and in 1 % of the texts.

    Args:
        predictor: Predictor of the bundle.
        texts: Sample of the split.
        labels: Label names in the order of the probabilities.
        budget: Predictions per text. Of a text with more words, an evenly spread selection is left out.

    Returns:
        Label name to its words, by descending contribution; only positive contributions are kept.
    """
    found = [[(span, _PUNCTUATION.sub("", text[slice(*span)]).casefold()) for span in words(text)] for text in texts]
    frequency = Counter(word for spans in found for word in {word for _, word in spans})
    fewest = max(_FEWEST_TEXTS, len(texts) // 100)
    erased, erased_words = [], []
    for text, spans in zip(texts, found, strict=True):
        candidates = [index for index, (_, word) in enumerate(spans) if word and frequency[word] >= fewest]
        count = min(len(candidates), budget - 1)
        chosen = [candidates[step * len(candidates) // count] for step in range(count)]
        erased.append(leave_out(text, [span for span, _ in spans], chosen))
        erased_words.append([spans[index][1] for index in chosen])
    # One mean per text, label and word, so that a text that repeats a word still counts once.
    means: list[defaultdict[str, list[float]]] = [defaultdict(list) for _ in labels]
    for erasures, left_out, probabilities in zip(erased, erased_words, _predict(predictor, erased), strict=True):
        for label, means_of_label in enumerate(means):
            contributions = defaultdict(list)
            for word, span in zip(left_out, erasures.contributions(probabilities, label), strict=True):
                contributions[word].append(span.contribution)
            for word, values in contributions.items():
                means_of_label[word].append(float(np.mean(values)))
    return {label: _highest(means_of_label, fewest) for label, means_of_label in zip(labels, means, strict=True)}


def _highest(means: dict[str, list[float]], fewest: int) -> list[TopWord]:
    """Return the words with the highest positive mean contribution among those in at least ``fewest`` texts."""
    candidates = [
        TopWord(word=word, contribution=float(np.mean(values)), texts=len(values))
        for word, values in means.items()
        if len(values) >= fewest
    ]
    positive = [word for word in candidates if word.contribution > 0]
    return sorted(positive, key=lambda word: (-word.contribution, word.word))[:_WORDS_PER_LABEL]


def _predict(predictor: Predictor, erased: Sequence[Erasures]) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the probabilities (texts, labels) for each erasure; many are predicted together, which is faster."""
    for start in range(0, len(erased), _TEXTS_PER_BATCH):
        batch = erased[start : start + _TEXTS_PER_BATCH]
        texts = [text for erasures in batch for text in erasures.texts]
        probabilities = predictor.predict_proba(texts) if texts else np.empty((0, 0))
        yield from np.split(probabilities, np.cumsum([len(erasures.texts) for erasures in batch])[:-1])
