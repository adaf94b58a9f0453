"""Why a model answers so, by the endpoint's own method: what an answer loses when words are left out."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from textgate.components.contracts.evaluation import ExplainedError, TopWord, WordContribution
from textgate.components.inference import Predictor
from textgate.components.inference.explain import BUDGET, Erasures, erase, leave_out, words

_WORDS_A_LABEL = 20
_LEAST_TEXTS = 3
"""One text makes a word of any kind look telling, and so do two now and then."""
_EXPLAINED_AT_ONCE = 256
_EDGE = re.compile(r"^\W+|\W+$")


def explain_errors(
    predictor: Predictor,
    texts: Sequence[str],
    probabilities: npt.NDArray[np.float64],
    predicted: npt.NDArray[np.int64],
    classes: npt.NDArray[np.int64],
    count: int,
    budget: int = BUDGET,
) -> list[ExplainedError]:
    """What speaks for the ``count`` wrong answers of the highest probability, most confident first.

    Args:
        predictor: What answered; it is asked ``budget`` times at most for each of them.
        texts: n of them.
        probabilities: (n, labels) what it answered.
        predicted: (n,) the class that made it.
        classes: (n,) the true one.
        count: How many at most.
        budget: See ``serving.explain.erase``.
    """
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != classes)
    rows = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    erased = [erase(texts[row], budget) for row in rows]
    return [
        ExplainedError(
            row=int(row),
            contributions=[
                WordContribution(start=span.start, end=span.end, contribution=span.contribution)
                for span in erasures.contributions(answers, int(predicted[row]))
            ],
        )
        for row, erasures, answers in zip(rows, erased, _ask(predictor, erased), strict=True)
    ]


def top_words(
    predictor: Predictor, texts: Sequence[str], labels: Sequence[str], budget: int = BUDGET
) -> dict[str, list[TopWord]]:
    """Words that speak for each label by their mean contribution, the most telling first; at most 20 a label.

    Words are compared without case and without the punctuation around them. Only those count that stand in 3 texts and
    in one of a hundred; a text with more of them than ``budget`` has some left out in turn, evenly spread.
    """
    found = [[(span, _EDGE.sub("", text[slice(*span)]).casefold()) for span in words(text)] for text in texts]
    stands_in = Counter(word for places in found for word in {word for _, word in places})
    least = max(_LEAST_TEXTS, len(texts) // 100)
    erased, asked = [], []
    for text, places in zip(texts, found, strict=True):
        numbers = [number for number, (_, word) in enumerate(places) if word and stands_in[word] >= least]
        count = min(len(numbers), budget - 1)
        numbers = [numbers[place * len(numbers) // count] for place in range(count)]
        erased.append(leave_out(text, [span for span, _ in places], numbers))
        asked.append([places[number][1] for number in numbers])
    # By label and word, one mean a text: a text that says a word often is still one text.
    means: list[defaultdict[str, list[float]]] = [defaultdict(list) for _ in labels]
    for erasures, words_left_out, answers in zip(erased, asked, _ask(predictor, erased), strict=True):
        for label, of_label in enumerate(means):
            of_text = defaultdict(list)
            for word, span in zip(words_left_out, erasures.contributions(answers, label), strict=True):
                of_text[word].append(span.contribution)
            for word, contributions in of_text.items():
                of_label[word].append(float(np.mean(contributions)))
    return {label: _most_telling(of_label, least) for label, of_label in zip(labels, means, strict=True)}


def _most_telling(contributions: dict[str, list[float]], least: int) -> list[TopWord]:
    telling = [
        TopWord(word=word, contribution=float(np.mean(found)), texts=len(found))
        for word, found in contributions.items()
        if len(found) >= least
    ]
    speaking = [word for word in telling if word.contribution > 0]
    return sorted(speaking, key=lambda word: (-word.contribution, word.word))[:_WORDS_A_LABEL]


def _ask(predictor: Predictor, erased: Sequence[Erasures]) -> Iterator[npt.NDArray[np.float64]]:
    """The answers to the texts of each, many at once, since a model is fastest on texts of one length."""
    for start in range(0, len(erased), _EXPLAINED_AT_ONCE):
        some = erased[start : start + _EXPLAINED_AT_ONCE]
        texts = [text for erasures in some for text in erasures.texts]
        answers = predictor.predict_proba(texts) if texts else np.empty((0, 0))
        yield from np.split(answers, np.cumsum([len(erasures.texts) for erasures in some])[:-1])
