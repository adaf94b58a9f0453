"""Family ``word2vec``: word vectors trained on the corpus, averaged per text, and logistic regression.

Mikolov et al., Efficient Estimation of Word Representations in Vector Space (ICLR workshop 2013), as gensim implements
it. The mean of word vectors is linear in the words' relative frequencies. So the vectors, the standardization and the
regression multiply to one matrix over the words, which is served as a linear model.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from textgate.components.contracts import Dataset, InputError, LinearRuntime, Progress, Word2VecTraining
from textgate.components.families import FitResult, TrainingContext
from textgate.components.families.linear import fit_regression, merge, predictor, write
from textgate.components.inference.linear import words

__all__ = ["fit", "merge", "predictor"]


def fit(dataset: Dataset, training: Word2VecTraining, folder: Path, context: TrainingContext) -> FitResult:
    """See ``Family.fit``; a text without a known word has the zero vector.

    Raises:
        InputError: No word occurs ``min_count`` times.
    """
    from gensim.models import Word2Vec
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.preprocessing import normalize

    _, texts, classes = dataset.columns("train")
    # Interned to save memory: otherwise every occurrence of a word is a string of its own.
    tokenized = [[sys.intern(word) for word in words(text)] for text in texts]
    corpus = _Corpus(tokenized, training.epochs)
    # One worker: with more, the order of the updates, and so the vectors, would depend on thread scheduling.
    model = Word2Vec(
        vector_size=training.dimensions,
        window=training.window,
        min_count=training.min_count,
        sg=int(training.skip_gram),
        seed=training.seed,
        workers=1,
    )
    model.build_vocab(corpus)
    terms = model.wv.index_to_key
    if not terms:
        raise InputError(
            f"no word of the {len(texts):,} training texts occurs train.min_count={training.min_count} times: lower it"
        )
    model.train(corpus, total_examples=model.corpus_count, epochs=training.epochs)

    counts = CountVectorizer(vocabulary=model.wv.key_to_index, analyzer=list, dtype=np.float64).transform(tokenized)
    vectors = model.wv.vectors.astype(np.float64)
    weights, bias = fit_regression(normalize(counts, "l1"), vectors, classes, training)
    runtime = LinearRuntime(ngrams=(1, 1), sublinear=False, norm="l1")
    return FitResult(runtime, write(folder, dataset, runtime, terms, np.ones(len(terms)), weights, bias))


class _Corpus:
    """Corpus that gensim iterates once for the vocabulary and once per epoch; prints the progress of the epochs."""

    def __init__(self, tokenized: list[list[str]], epochs: int) -> None:
        self._tokenized, self._iterations, self._epochs = tokenized, 0, epochs
        self._progress = Progress(total=epochs * len(tokenized), unit="texts")

    def __iter__(self) -> Iterator[list[str]]:
        from gensim.models.word2vec import MAX_WORDS_IN_BATCH

        epoch, self._iterations = self._iterations, self._iterations + 1
        for count, text in enumerate(self._tokenized, 1):
            # gensim ignores the words of a sentence beyond its maximum.
            for start in range(0, len(text), MAX_WORDS_IN_BATCH):
                yield text[start : start + MAX_WORDS_IN_BATCH]
            if epoch:
                self._progress.update((epoch - 1) * len(self._tokenized) + count, f"epoch {epoch} of {self._epochs}")
