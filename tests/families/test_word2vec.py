"""The family ``word2vec``, compared with gensim and scikit-learn."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from families.served import serve
from gensim.models import Word2Vec
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from textgate.components.contracts import Dataset, InputError, Row, TextNormalizer, Word2VecTraining, dataset_writer
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.families import TrainingContext
from textgate.components.inference import Predictor, load_bundle
from textgate.components.merge_quantize.merge_quantize import merge_bundle
from textgate.components.train.train import train_bundle

TRAINING = Word2VecTraining(family="word2vec", dimensions=16, min_count=3, epochs=4, C=3)
ODD = st.text(st.characters(codec="utf-8") | st.sampled_from("aéßİıǅ́\u200bword 12_-'"), max_size=60)
KNOWN = st.lists(st.sampled_from([*(f"word{index}" for index in range(45)), "Good", "BAD", "-"])).map(" ".join)
GENSIM_MAX_WORDS = 10_000


class Reference:
    """The same model in gensim and scikit-learn alone, averaging the vectors of a text's words."""

    def __init__(self, dataset: Dataset) -> None:
        self.words = CountVectorizer().build_analyzer()
        _, texts, classes = dataset.columns("train")
        sentences = [
            words[start : start + GENSIM_MAX_WORDS]
            for words in map(self.words, texts)
            for start in range(0, len(words), GENSIM_MAX_WORDS)
        ]
        self.vectors = Word2Vec(sentences, vector_size=16, min_count=3, epochs=4, sg=1, seed=13, workers=1).wv
        self.model = make_pipeline(StandardScaler(), LogisticRegression(C=3, max_iter=1000))
        self.model.fit([self.mean(text) for text in texts], classes)

    def mean(self, text: str) -> Any:
        known = [self.vectors[word] for word in self.words(text) if word in self.vectors]
        return np.mean(known, axis=0, dtype=np.float64) if known else np.zeros(16)

    def predict_proba(self, texts: list[str]) -> npt.NDArray[np.float64]:
        return np.asarray(self.model.predict_proba([self.mean(text) for text in texts]))


@pytest.fixture(scope="module")
def bundle(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("word2vec") / "bundle"
    train_bundle(dataset.path, "word2vec", TRAINING, folder, TrainingContext())
    return folder


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> Predictor:
    return load_bundle(bundle)


@pytest.fixture(scope="module")
def reference(dataset: Dataset) -> Reference:
    return Reference(dataset)


@settings(deadline=None, max_examples=100)
@given(texts=st.lists(ODD | KNOWN, min_size=1, max_size=3))
def test_probabilities_equal_those_of_gensim_and_scikit_learn(
    texts: list[str], dataset: Dataset, predictor: Predictor, reference: Reference
) -> None:
    expected = reference.predict_proba([dataset.normalizer(text) for text in texts])
    np.testing.assert_allclose(predictor.predict_proba(texts), expected, atol=1e-9)


def test_three_labels_and_a_text_longer_than_gensims_maximum(tmp_path: Path) -> None:
    long = " ".join(["filler", "words"] * (GENSIM_MAX_WORDS // 2) + ["late", "arrivals"] * 500)
    with dataset_writer(tmp_path / "data", ["train", "validation"]) as writer:
        for index in range(90):
            label = ("a0", "b1", "c2")[index % 3]
            text = long if index == 0 else f"{label} {index % 7} arrivals of {label} late"
            writer.add("validation" if index > 75 else "train", Row(str(index), text, label))
        writer.finish("made up", ["a0", "b1", "c2"], normalizer=TextNormalizer())
    train_bundle(tmp_path / "data", "x", TRAINING, tmp_path / "bundle", TrainingContext())
    queries = ["a0 b1", "late arrivals of c2", "filler", "nothing known"]
    expected = Reference(Dataset.open(tmp_path / "data")).predict_proba(queries)
    np.testing.assert_allclose(load_bundle(tmp_path / "bundle").predict_proba(queries), expected, atol=1e-9)


def test_training_is_reproducible_in_every_process(dataset: Dataset, bundle: Path, tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from textgate.components.contracts import Word2VecTraining
from textgate.components.families import TrainingContext
from textgate.components.train.train import train_bundle
training = Word2VecTraining.model_validate_json({TRAINING.model_dump_json()!r})
train_bundle(Path({str(dataset.path)!r}), "word2vec", training, Path("bundle"), TrainingContext())
"""
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, check=True, capture_output=True)
        for path in bundle.iterdir():
            assert path.read_bytes() == (folder / "bundle" / path.name).read_bytes()


def test_the_seed_the_window_and_the_direction_shape_the_vectors(
    dataset: Dataset, bundle: Path, tmp_path: Path
) -> None:
    arrays = {(bundle / "model.safetensors").read_bytes()}
    for change in ({"seed": 14}, {"window": 1}, {"skip_gram": False}, {"epochs": 5}):
        folder = tmp_path / next(iter(change))
        train_bundle(dataset.path, "word2vec", TRAINING.model_copy(update=change), folder, TrainingContext())
        arrays.add((folder / "model.safetensors").read_bytes())
    assert len(arrays) == 5


def test_merge_and_export_copy_the_bundle(
    dataset: Dataset, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    merged = merge_bundle(bundle, tmp_path / "merged")
    exported = serve(dataset.path, tmp_path / "merged", tmp_path / "exported")
    assert exported.files == merged.files
    output = capsys.readouterr().out
    assert "nothing to merge: the bundle needs no base model" in output
    assert "nothing to export: word2vec bundles are served as they are" in output
    evaluation = evaluate_bundle(dataset.path, tmp_path / "exported", tmp_path / "evaluation")
    assert evaluation.manifest.f1.value > 0.9


def test_the_training_prints_its_progress(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_bundle(dataset.path, "word2vec", TRAINING, tmp_path / "bundle", TrainingContext())
    rows = sum(dataset.manifest.counts["train"].values())
    assert f"progress {4 * rows}/{4 * rows} epoch 4 of 4, {4 * rows} of {4 * rows} texts" in capsys.readouterr().out


def test_no_text_and_empty_texts_are_predicted(bundle: Path) -> None:
    predictor = load_bundle(bundle)
    assert predictor.predict_proba([]).shape == (0, 2)
    np.testing.assert_allclose(predictor.predict_proba(["", "???"]).sum(axis=1), 1)


def test_a_min_count_that_no_word_reaches_is_one_sentence(dataset: Dataset, tmp_path: Path) -> None:
    training = TRAINING.model_copy(update={"min_count": 10_000})
    with pytest.raises(InputError, match=r"no word of the 144 .* occurs train\.min_count=10000 times: lower it"):
        train_bundle(dataset.path, "word2vec", training, tmp_path / "bundle", TrainingContext())
    assert list(tmp_path.iterdir()) == []
