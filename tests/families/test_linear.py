from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from textgate.components.contracts import Dataset, InputError, LinearTraining, Row, TextNormalizer, dataset_writer
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.export_onnx.export_onnx import Export, export_bundle
from textgate.components.families import Surroundings
from textgate.components.merge_quantize.merge_quantize import merge_bundle
from textgate.components.train.train import train_bundle
from textgate.serving import Predictor, load

TRAINING = LinearTraining(family="linear", ngrams=(1, 2), min_df=1, C=3)
ODD = st.text(st.characters(codec="utf-8") | st.sampled_from("aéßİıǅ́\u200bword 12_-'"), max_size=60)


@pytest.fixture(scope="module")
def bundle(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("linear") / "bundle"
    train_bundle(dataset.path, "linear", TRAINING, folder, Surroundings())
    return folder


@pytest.fixture(scope="module")
def reference(dataset: Dataset) -> Any:
    _, train, classes = dataset.columns("train")
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=1, sublinear_tf=True)
    return make_pipeline(vectorizer, LogisticRegression(C=3, max_iter=1000)).fit(train, classes)


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> Predictor:
    return load(bundle)


@settings(deadline=None, max_examples=150)
@given(texts=st.lists(ODD, min_size=1, max_size=3))
def test_the_arrays_answer_as_scikit_learn_does(
    texts: list[str], dataset: Dataset, predictor: Predictor, reference: Any
) -> None:
    expected = reference.predict_proba([dataset.normalizer(text) for text in texts])
    np.testing.assert_allclose(predictor.predict(texts), expected, atol=1e-12)


def test_three_labels_answer_as_scikit_learn_does(tmp_path: Path) -> None:
    texts = [(f"{label} {number % 7} words of {label}", label) for number in range(60) for label in ("a0", "b1", "c2")]
    with dataset_writer(tmp_path / "data", ["train", "validation"]) as writer:
        for number, (text, label) in enumerate(texts):
            writer.add("validation" if number > 150 else "train", Row(str(number), text, label))
        writer.finish("made up", ["a0", "b1", "c2"], normalizer=TextNormalizer())
    train_bundle(tmp_path / "data", "x", TRAINING, tmp_path / "bundle", Surroundings())
    _, train, classes = Dataset.open(tmp_path / "data").columns("train")
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=3, max_iter=1000)
    )
    queries = ["a0 b1", "words of c2 3", "nothing known"]
    expected = model.fit(train, classes).predict_proba(queries)
    np.testing.assert_allclose(load(tmp_path / "bundle").predict(queries), expected, atol=1e-12)


def test_the_same_data_are_the_same_bytes(dataset: Dataset, bundle: Path, tmp_path: Path) -> None:
    train_bundle(dataset.path, "linear", TRAINING, tmp_path / "again", Surroundings())
    for path in bundle.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_merge_and_export_pass_the_bundle_on(
    dataset: Dataset, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    merged = merge_bundle(bundle, tmp_path / "merged")
    exported = export_bundle(tmp_path / "merged", Export(), tmp_path / "exported")
    assert merged == exported
    said = capsys.readouterr().out
    assert "nothing to merge: the bundle is whole" in said
    assert "nothing to export: a linear bundle is served as it is" in said
    evaluation = evaluate_bundle(dataset.path, tmp_path / "exported", tmp_path / "evaluation")
    assert evaluation.manifest.f1.value > 0.9


def test_no_text_and_empty_texts_are_answered(bundle: Path) -> None:
    predictor = load(bundle)
    assert predictor.predict([]).shape == (0, 2)
    np.testing.assert_allclose(predictor.predict(["", "???"]).sum(axis=1), 1)


def test_a_min_df_nothing_reaches_is_one_sentence(dataset: Dataset, tmp_path: Path) -> None:
    training = TRAINING.model_copy(update={"min_df": 10_000})
    with pytest.raises(InputError, match=r"no n-gram .* occurs in train\.min_df=10000 of them: lower it"):
        train_bundle(dataset.path, "linear", training, tmp_path / "bundle", Surroundings())
    assert list(tmp_path.iterdir()) == []
