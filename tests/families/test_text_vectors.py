"""Vectors of texts: the input of the model's last layer, or the projected terms of a linear model."""

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
# fp32, since bf16 rounds more than the test's tolerance.
TRAINING: dict[str, Any] = {
    "max_tokens": 32,
    "epochs": 1,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "precision": "fp32",
}
PROMPT: dict[str, Any] = {"prompt": "Is this good?\n{text}\nAnswer:", "label_words": {"bad": " no", "good": " yes"}}


def transformer(base_model: Path, **more: Any) -> TransformerTraining:
    return TransformerTraining(family="transformer", base_model=str(base_model), **TRAINING, **more)


CASES: dict[str, tuple[str, Callable[[Path], Any], int]] = {
    "encoder": ("bert", transformer, 64),
    "attention pooling": ("bert", lambda base_model: transformer(base_model, pooling="attention"), 64),
    "encoder with two layers of head, adapted": (
        "distilbert",
        lambda base_model: transformer(base_model, adapter=Adapter(r=4, alpha=8)),
        64,
    ),
    "encoder-decoder": ("t5", lambda base_model: transformer(base_model, adapter=Adapter(r=4, alpha=8)), 64),
    "decoder": ("llama", lambda base_model: transformer(base_model, adapter=Adapter(r=4, alpha=8)), 64),
    "prompted": (
        "llama",
        lambda base_model: PromptedTraining(
            family="prompted", base_model=str(base_model), **PROMPT, **{**TRAINING, "max_tokens": 64, "epochs": 0}
        ),
        64,
    ),
    "frozen": (
        "bert",
        lambda base_model: EmbeddingTraining(
            family="embedding", base_model=str(base_model), head={"kind": "mlp", "hidden": [24], "epochs": 1}
        ),
        24,
    ),
}


def train_and_open(dataset: Dataset, training: Any, base_model: Path | None, folder: Path) -> Predictor:
    train_bundle(dataset.path, "tiny", training, folder, TrainingContext(base_model))
    bundle = ModelBundle.load(folder)
    return open_predictor(folder, bundle, base_model if bundle.base_model else None)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A few texts; the models need not learn anything from them."""
    path = tmp_path_factory.mktemp("few") / "dataset"
    with dataset_writer(path, ["train", "validation", "test"]) as writer:
        for index in range(32):
            label = ["bad", "good"][index % 2]
            split = ["train", "validation", "train", "test"][index // 2 % 4]
            writer.add(split, Row(str(index), f"word{index} {label}", label))
        writer.finish("made up", ["bad", "good"], normalizer=TextNormalizer())
    return Dataset.open(path)


def log_odds(predictor: Predictor, texts: list[str]) -> npt.NDArray[np.float64]:
    probabilities = predictor.predict_proba(texts)
    return np.asarray(np.log(probabilities[:, 1]) - np.log(probabilities[:, 0]))


@pytest.mark.parametrize("case", CASES)
def test_the_vectors_of_a_transformer_are_the_input_of_its_last_layer(
    tiny: Tiny, few: Dataset, tmp_path: Path, case: str
) -> None:
    model_type, training, dimensions = CASES[case]
    base_model = tiny(model_type)
    predictor = train_and_open(few, training(base_model), base_model, tmp_path / "bundle")
    texts = [f"word{index % 60} word{index * 7 % 60} {'good' * (index % 3)}" for index in range(150)]
    vectors = embed_texts(predictor, texts)
    assert vectors is not None
    assert vectors.shape == (len(texts), dimensions)
    assert vectors.dtype == np.float32
    # The last layer is affine. With more texts than dimensions, only its input determines the log-odds linearly.
    odds = log_odds(predictor, texts)
    inputs = np.column_stack([vectors.astype(np.float64), np.ones(len(texts))])
    solution = np.linalg.lstsq(inputs, odds, rcond=None)[0]
    np.testing.assert_allclose(inputs @ solution, odds, atol=1e-3 * np.ptp(odds) + 1e-5)
    # The hooks are removed: predictions stay the same.
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
def test_vectors_of_a_linear_model_are_close_if_decisive_terms_agree(
    dataset: Dataset, tmp_path: Path, training: Any
) -> None:
    predictor = train_and_open(dataset, training, None, tmp_path / "bundle")
    texts = ["word1 good", "word2 good word3", "word1 bad", "word2 bad word3", "unknown", *dataset.columns("test")[1]]
    vectors = embed_texts(predictor, texts)
    assert vectors is not None
    assert vectors.dtype == np.float32
    assert vectors.shape[0] == len(texts)
    assert vectors.shape[1] <= 50
    np.testing.assert_allclose(vectors[4], 0, atol=1e-6)
    norms = np.linalg.norm(vectors[:4], axis=1)
    similarity = (vectors[:4] @ vectors[:4].T) / np.outer(norms, norms)
    # The label's word in common counts more than the other words in common.
    assert similarity[0, 1] > similarity[0, 2]
    assert similarity[2, 3] > similarity[1, 3]
    assert embed_texts(predictor, texts[:1]).shape[0] == 1  # type: ignore[union-attr]


def test_a_predictor_of_probabilities_alone_gives_no_vectors() -> None:
    class Probabilities:
        def predict_proba(self, texts: Any) -> npt.NDArray[np.float64]:
            return np.full((len(texts), 2), 0.5)

    assert embed_texts(CalibratedPredictor(Probabilities(), 1.0), ["a text"]) is None
