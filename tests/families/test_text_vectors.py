"""A text as its model sees it: what the model's last layer makes its answer of, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from textgate.components.contracts import (
    Adapter,
    Dataset,
    EmbeddingTraining,
    LinearTraining,
    ModelBundle,
    PromptedTraining,
    Row,
    TextNormalizer,
    TransformerTraining,
    Word2VecTraining,
    dataset_writer,
)
from textgate.components.families import TrainingContext, open_predictor
from textgate.components.families.text_vectors import embed_texts
from textgate.components.inference import CalibratedPredictor, Predictor
from textgate.components.train.train import train_bundle

Tiny = Callable[[str], Path]
# In bf16, which a machine may have, answers are rounded to more than what the test tells apart.
TRAINING: dict[str, Any] = {
    "max_tokens": 32,
    "epochs": 1,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "precision": "fp32",
}
ASKED: dict[str, Any] = {"prompt": "Is this good?\n{text}\nAnswer:", "label_words": {"bad": " no", "good": " yes"}}


def transformer(checkpoint: Path, **more: Any) -> TransformerTraining:
    return TransformerTraining(family="transformer", base_model=str(checkpoint), **TRAINING, **more)


CASES: dict[str, tuple[str, Callable[[Path], Any], int]] = {
    "encoder": ("bert", transformer, 64),
    "attention pooling": ("bert", lambda checkpoint: transformer(checkpoint, pooling="attention"), 64),
    "encoder with two layers of head, adapted": (
        "distilbert",
        lambda checkpoint: transformer(checkpoint, adapter=Adapter(r=4, alpha=8)),
        64,
    ),
    "encoder-decoder": ("t5", lambda checkpoint: transformer(checkpoint, adapter=Adapter(r=4, alpha=8)), 64),
    "decoder": ("llama", lambda checkpoint: transformer(checkpoint, adapter=Adapter(r=4, alpha=8)), 64),
    "prompted": (
        "llama",
        lambda checkpoint: PromptedTraining(
            family="prompted", base_model=str(checkpoint), **ASKED, **{**TRAINING, "max_tokens": 64, "epochs": 0}
        ),
        64,
    ),
    "frozen": (
        "bert",
        lambda checkpoint: EmbeddingTraining(
            family="embedding", base_model=str(checkpoint), head={"kind": "mlp", "hidden": [24], "epochs": 1}
        ),
        24,
    ),
}


def opened(dataset: Dataset, training: Any, checkpoint: Path | None, folder: Path) -> Predictor:
    train_bundle(dataset.path, "tiny", training, folder, TrainingContext(checkpoint))
    bundle = ModelBundle.load(folder)
    return open_predictor(folder, bundle, checkpoint if bundle.base_model else None)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Enough to train on, since nothing has to be learned."""
    path = tmp_path_factory.mktemp("few") / "dataset"
    with dataset_writer(path, ["train", "validation", "test"]) as writer:
        for number in range(32):
            label = ["bad", "good"][number % 2]
            split = ["train", "validation", "train", "test"][number // 2 % 4]
            writer.add(split, Row(str(number), f"word{number} {label}", label))
        writer.finish("made up", ["bad", "good"], normalizer=TextNormalizer())
    return Dataset.open(path)


def log_odds(predictor: Predictor, texts: list[str]) -> npt.NDArray[np.float64]:
    probabilities = predictor.predict_proba(texts)
    return np.asarray(np.log(probabilities[:, 1]) - np.log(probabilities[:, 0]))


@pytest.mark.parametrize("case", CASES)
def test_a_transformers_answers_are_one_layer_behind(tiny: Tiny, few: Dataset, tmp_path: Path, case: str) -> None:
    model_type, training, dimensions = CASES[case]
    checkpoint = tiny(model_type)
    predictor = opened(few, training(checkpoint), checkpoint, tmp_path / "bundle")
    texts = [f"word{number % 60} word{number * 7 % 60} {'good' * (number % 3)}" for number in range(150)]
    found = embed_texts(predictor, texts)
    assert found is not None
    assert found.shape == (len(texts), dimensions)
    assert found.dtype == np.float32
    # The last layer is affine: with more texts than dimensions, only what it read can be turned into its answers.
    odds = log_odds(predictor, texts)
    read = np.column_stack([found.astype(np.float64), np.ones(len(texts))])
    solution = np.linalg.lstsq(read, odds, rcond=None)[0]
    np.testing.assert_allclose(read @ solution, odds, atol=1e-3 * np.ptp(odds) + 1e-5)
    # Nothing stays behind in the model.
    np.testing.assert_array_equal(log_odds(predictor, texts[:9]), log_odds(predictor, texts[:9]))


@pytest.mark.parametrize(
    "training",
    [
        LinearTraining(family="linear", ngrams=(1, 2), min_df=1),
        LinearTraining(family="linear", min_df=1, components=20),
        Word2VecTraining(family="word2vec", dimensions=16, min_count=1, epochs=2),
        LinearTraining(family="linear", min_df=1, max_terms=30),
    ],
    ids=["tf-idf", "latent", "word2vec", "few terms"],
)
def test_texts_of_plain_arrays_lie_by_the_terms_that_decide(dataset: Dataset, tmp_path: Path, training: Any) -> None:
    predictor = opened(dataset, training, None, tmp_path / "bundle")
    texts = ["word1 good", "word2 good word3", "word1 bad", "word2 bad word3", "unknown", *dataset.columns("test")[1]]
    found = embed_texts(predictor, texts)
    assert found is not None
    assert found.dtype == np.float32
    assert found.shape[0] == len(texts)
    assert found.shape[1] <= 50
    np.testing.assert_allclose(found[4], 0, atol=1e-6)
    lengths = np.linalg.norm(found[:4], axis=1)
    alike = (found[:4] @ found[:4].T) / np.outer(lengths, lengths)
    # The same label and no other word in common, against the same words and another label.
    assert alike[0, 1] > alike[0, 2]
    assert alike[2, 3] > alike[1, 3]
    assert embed_texts(predictor, texts[:1]).shape[0] == 1  # type: ignore[union-attr]


def test_what_gives_answers_alone_has_no_embeddings() -> None:
    class BatchPrediction:
        def predict_proba(self, texts: Any) -> npt.NDArray[np.float64]:
            return np.full((len(texts), 2), 0.5)

    assert embed_texts(CalibratedPredictor(BatchPrediction(), 1.0), ["a text"]) is None
