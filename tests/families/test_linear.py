"""The family ``linear``, compared with scikit-learn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from families.served import serve
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, matthews_corrcoef
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from textgate.components.contracts import Dataset, InputError, LinearTraining, Row, TextNormalizer, dataset_writer
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.families import TrainingContext
from textgate.components.inference import Predictor, load_bundle
from textgate.components.merge_quantize.merge_quantize import merge_bundle
from textgate.components.train.train import train_bundle

TRAINING = LinearTraining(family="linear", ngrams=(1, 2), min_df=1, C=3)
LATENT = TRAINING.model_copy(update={"components": 20})
ODD = st.text(st.characters(codec="utf-8") | st.sampled_from("aéßİıǅ́\u200bword 12_-'"), max_size=60)


@pytest.fixture(scope="module")
def bundle(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("linear") / "bundle"
    train_bundle(dataset.path, "linear", TRAINING, folder, TrainingContext())
    return folder


@pytest.fixture(scope="module")
def reference(dataset: Dataset) -> Any:
    _, train, classes = dataset.columns("train")
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=1, sublinear_tf=True)
    return make_pipeline(vectorizer, LogisticRegression(C=3, max_iter=1000)).fit(train, classes)


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> Predictor:
    return load_bundle(bundle)


def latent_reference(dataset: Dataset) -> Any:
    """Return scikit-learn's pipeline for ``LATENT``, with its decomposition fitted in single precision."""
    _, train, classes = dataset.columns("train")
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    decomposition = TruncatedSVD(20, random_state=13).fit(vectorizer.fit_transform(train).astype(np.float32))
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=3, max_iter=1000))
    regression.fit(decomposition.transform(vectorizer.transform(train)), classes)
    return make_pipeline(vectorizer, decomposition, regression)


@pytest.fixture(scope="module")
def latent(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Predictor, Any]:
    """The predictor of ``LATENT``, and scikit-learn's pipeline."""
    folder = tmp_path_factory.mktemp("latent") / "bundle"
    train_bundle(dataset.path, "latent", LATENT, folder, TrainingContext())
    return load_bundle(folder), latent_reference(dataset)


@settings(deadline=None, max_examples=150)
@given(texts=st.lists(ODD, min_size=1, max_size=3))
def test_probabilities_equal_scikit_learns(
    texts: list[str], dataset: Dataset, predictor: Predictor, reference: Any
) -> None:
    expected = reference.predict_proba([dataset.normalizer(text) for text in texts])
    np.testing.assert_allclose(predictor.predict_proba(texts), expected, atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(texts=st.lists(ODD | st.sampled_from(["word1 good", "word2 bad word3"]), min_size=1, max_size=3))
def test_probabilities_of_latent_semantic_analysis_equal_scikit_learns(
    texts: list[str], dataset: Dataset, latent: tuple[Predictor, Any]
) -> None:
    predictor, reference = latent
    expected = reference.predict_proba([dataset.normalizer(text) for text in texts])
    np.testing.assert_allclose(predictor.predict_proba(texts), expected, atol=1e-9)


@pytest.fixture
def three_labels(tmp_path: Path) -> Dataset:
    texts = [(f"{label} {index % 7} words of {label}", label) for index in range(60) for label in ("a0", "b1", "c2")]
    with dataset_writer(tmp_path / "data", ["train", "validation"]) as writer:
        for index, (text, label) in enumerate(texts):
            writer.add("validation" if index > 150 else "train", Row(str(index), text, label))
        writer.finish("made up", ["a0", "b1", "c2"], normalizer=TextNormalizer())
    return Dataset.open(tmp_path / "data")


def test_probabilities_of_three_labels_equal_scikit_learns(three_labels: Dataset, tmp_path: Path) -> None:
    train_bundle(three_labels.path, "x", TRAINING, tmp_path / "bundle", TrainingContext())
    _, train, classes = three_labels.columns("train")
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=3, max_iter=1000)
    )
    queries = ["a0 b1", "words of c2 3", "nothing known"]
    expected = model.fit(train, classes).predict_proba(queries)
    np.testing.assert_allclose(load_bundle(tmp_path / "bundle").predict_proba(queries), expected, atol=1e-12)


def test_validation_scores_in_every_metric_of_a_gate_equal_scikit_learns(three_labels: Dataset, tmp_path: Path) -> None:
    bundle = train_bundle(three_labels.path, "x", TRAINING, tmp_path / "bundle", TrainingContext())
    _, texts, truth = three_labels.columns("validation")
    probabilities = load_bundle(tmp_path / "bundle").predict_proba(texts)
    predicted = probabilities.argmax(axis=1)
    expected = {
        "f1": f1_score(truth, predicted, average="macro"),
        "macro_f1": f1_score(truth, predicted, average="macro"),
        "weighted_f1": f1_score(truth, predicted, average="weighted"),
        "accuracy": accuracy_score(truth, predicted),
        "mcc": matthews_corrcoef(truth, predicted),
        "pr_auc": average_precision_score(np.eye(3)[truth], probabilities, average="macro"),
    }
    validation = {name.removeprefix("validation_"): value for name, value in bundle.metrics.items() if name != "terms"}
    assert validation == pytest.approx(expected)


def test_balanced_class_weights_are_those_of_scikit_learn(three_labels: Dataset, tmp_path: Path) -> None:
    with dataset_writer(tmp_path / "rare", ["train", "validation"]) as writer:
        for split in ("train", "validation"):
            rows = [row for row in three_labels.rows(split) if row.label != "c2" or int(row.id) % 10 < 3]
            for row in rows:
                writer.add(split, row)
        writer.finish("made up", ["a0", "b1", "c2"], normalizer=TextNormalizer())
    dataset, queries = Dataset.open(tmp_path / "rare"), ["words of a0 c2", "nothing known"]
    _, train, classes = dataset.columns("train")
    probabilities = []
    for weights in (None, "balanced"):
        training = LinearTraining(**{**TRAINING.model_dump(), "class_weights": weights})
        train_bundle(dataset.path, "x", training, tmp_path / str(weights), TrainingContext())
        probabilities.append(load_bundle(tmp_path / str(weights)).predict_proba(queries))
        regression = LogisticRegression(C=3, max_iter=1000, class_weight=weights)
        model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), regression).fit(train, classes)
        np.testing.assert_allclose(probabilities[-1], model.predict_proba(queries), atol=1e-12)
    assert (probabilities[1][:, 2] > probabilities[0][:, 2]).all()


def test_directions_beyond_the_rank_of_the_texts_are_left_out(three_labels: Dataset, tmp_path: Path) -> None:
    # Texts of a label differ by a digit only, which is not a term: a fourth direction, standardized, would be noise.
    queries = ["a0 b1", "b1 c2", "words words a0", ""]
    probabilities = []
    for components in (3, 7):
        training = TRAINING.model_copy(update={"components": components})
        train_bundle(three_labels.path, "x", training, tmp_path / str(components), TrainingContext())
        probabilities.append(load_bundle(tmp_path / str(components)).predict_proba(queries))
    np.testing.assert_allclose(probabilities[1], probabilities[0], atol=1e-2)


def test_only_the_most_frequent_terms_are_kept(dataset: Dataset, tmp_path: Path) -> None:
    training = TRAINING.model_copy(update={"max_terms": 30})
    bundle = train_bundle(dataset.path, "linear", training, tmp_path / "bundle", TrainingContext())
    assert bundle.metrics["terms"] == 30
    _, train, classes = dataset.columns("train")
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=30)
    model = make_pipeline(vectorizer, LogisticRegression(C=3, max_iter=1000)).fit(train, classes)
    _, texts, _ = dataset.columns("test")
    np.testing.assert_allclose(
        load_bundle(tmp_path / "bundle").predict_proba(texts), model.predict_proba(texts), atol=1e-12
    )


@pytest.mark.parametrize("training", [TRAINING, LATENT], ids=["tfidf", "latent"])
def test_training_is_reproducible_byte_for_byte(dataset: Dataset, training: LinearTraining, tmp_path: Path) -> None:
    for name in ("once", "again"):
        train_bundle(dataset.path, "linear", training, tmp_path / name, TrainingContext())
    for path in (tmp_path / "once").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_merge_and_export_copy_the_bundle(
    dataset: Dataset, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    merged = merge_bundle(bundle, tmp_path / "merged")
    exported = serve(dataset.path, tmp_path / "merged", tmp_path / "exported")
    assert exported.files == merged.files
    output = capsys.readouterr().out
    assert "nothing to merge: the bundle needs no base model" in output
    assert "nothing to export: linear bundles are served as they are" in output
    evaluation = evaluate_bundle(dataset.path, tmp_path / "exported", tmp_path / "evaluation")
    assert evaluation.manifest.f1.value > 0.9


def test_no_text_and_empty_texts_are_predicted(bundle: Path) -> None:
    predictor = load_bundle(bundle)
    assert predictor.predict_proba([]).shape == (0, 2)
    np.testing.assert_allclose(predictor.predict_proba(["", "???"]).sum(axis=1), 1)


def test_a_min_df_that_no_term_reaches_is_one_sentence(dataset: Dataset, tmp_path: Path) -> None:
    training = TRAINING.model_copy(update={"min_df": 10_000})
    with pytest.raises(InputError, match=r"no n-gram .* occurs in train\.min_df=10000 of them: lower it"):
        train_bundle(dataset.path, "linear", training, tmp_path / "bundle", TrainingContext())
    assert list(tmp_path.iterdir()) == []


def test_more_components_than_terms_is_one_sentence(dataset: Dataset, tmp_path: Path) -> None:
    training = TRAINING.model_copy(update={"components": 30, "max_terms": 30})
    with pytest.raises(
        InputError, match=r"train\.components=30 must be below the number of terms, .* have 30: lower it"
    ):
        train_bundle(dataset.path, "linear", training, tmp_path / "bundle", TrainingContext())
    assert list(tmp_path.iterdir()) == []
