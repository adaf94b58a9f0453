"""Heads on embeddings, compared with scikit-learn."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

from textgate.components.contracts import LogisticHead, MlpHead, SvmHead
from textgate.components.families.embedding.heads import EmbeddedSplit, RbfSvm, fit_head, load_head


def blobs(labels: int, texts: int, seed: int, spread: float = 1.5) -> EmbeddedSplit:
    """Return one cluster per label; clusters overlap, and are far from the origin, as embeddings are."""
    rng = np.random.default_rng(seed)
    centres = 3 + np.random.default_rng(0).normal(size=(labels, 12))
    classes = np.arange(texts) % labels
    return EmbeddedSplit(centres[classes] + spread * rng.normal(size=(texts, 12)), classes)


def probabilities(head: torch.nn.Module, embeddings: npt.NDArray[np.float64]) -> Any:
    with torch.inference_mode():
        return head(torch.tensor(embeddings, dtype=torch.float32)).softmax(dim=1).numpy()


@pytest.mark.parametrize("labels", [2, 3])
def test_the_logistic_head_equals_scikit_learns(labels: int) -> None:
    train, validation, test = (blobs(labels, 300, seed) for seed in (1, 2, 3))
    head, _ = fit_head(LogisticHead(kind="logistic", C=0.5), train, validation, labels)
    reference = LogisticRegression(C=0.5, max_iter=1000).fit(train.embeddings, train.classes)
    np.testing.assert_allclose(
        probabilities(head, test.embeddings), reference.predict_proba(test.embeddings), atol=1e-5
    )


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("gamma", ["scale", 0.05])
def test_the_svm_head_equals_scikit_learns(labels: int, gamma: Any) -> None:
    train, validation, test = (blobs(labels, 300, seed) for seed in (1, 2, 3))
    head, _ = fit_head(SvmHead(kind="svm", C=2, gamma=gamma), train, validation, labels)
    machines = OneVsRestClassifier(SVC(C=2, gamma=gamma)).fit(train.embeddings, train.classes)
    margins = {"validation": machines.decision_function(validation.embeddings).reshape(300, -1)}
    margins["test"] = machines.decision_function(test.embeddings).reshape(300, -1)
    assert isinstance(head, RbfSvm)
    ours = head.margins(torch.tensor(test.embeddings, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(ours, margins["test"], atol=1e-5)
    assert len(head.support) < 300
    # Platt's regression is fitted on the validation split, which the machines have not seen.
    platt = LogisticRegression().fit(margins["validation"], validation.classes)
    expected = platt.predict_proba(margins["test"])
    np.testing.assert_allclose(probabilities(head, test.embeddings), expected, atol=1e-5)
    assert np.mean(expected.argmax(axis=1) == machines.predict(test.embeddings)) > 0.95


@pytest.mark.parametrize(
    "settings",
    [LogisticHead(kind="logistic"), SvmHead(kind="svm"), MlpHead(kind="mlp", hidden=[8], dropout=0, epochs=10)],
    ids=lambda settings: settings.kind,
)
def test_balanced_class_weights_find_more_of_a_rare_class(settings: LogisticHead | SvmHead | MlpHead) -> None:
    def rare(split: EmbeddedSplit) -> EmbeddedSplit:
        rows = np.flatnonzero((split.classes == 0) | (np.arange(len(split.classes)) % 20 == 1))
        return EmbeddedSplit(split.embeddings[rows], split.classes[rows])

    train, validation, test = (rare(blobs(2, 1_000, seed, spread=3)) for seed in (1, 2, 3))
    found = []
    for weights in (None, "balanced"):
        torch.manual_seed(13)
        head, _ = fit_head(settings, train, validation, 2, weights)
        predicted = probabilities(head, test.embeddings).argmax(axis=1)
        found.append(np.mean(predicted[test.classes == 1]))
    assert found[1] > found[0] + 0.1


def test_the_balanced_logistic_head_equals_scikit_learns() -> None:
    train, test = (
        EmbeddedSplit(split.embeddings[:-80:], split.classes[:-80] // 2)
        for split in (blobs(3, 300, 1), blobs(3, 300, 2))
    )
    head, _ = fit_head(LogisticHead(kind="logistic"), train, test, 2, "balanced")
    reference = LogisticRegression(max_iter=1000, class_weight="balanced").fit(train.embeddings, train.classes)
    np.testing.assert_allclose(
        probabilities(head, test.embeddings), reference.predict_proba(test.embeddings), atol=1e-5
    )


def test_thousands_of_support_vectors_lose_no_precision() -> None:
    train, validation, test = (blobs(2, 3000, seed, spread=6) for seed in (1, 2, 3))
    head, _ = fit_head(SvmHead(kind="svm"), train, validation, 2)
    assert isinstance(head, RbfSvm)
    assert len(head.support) > 2000
    reference = SVC().fit(train.embeddings, train.classes)
    ours = head.margins(torch.tensor(test.embeddings, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(ours[:, 0], reference.decision_function(test.embeddings), atol=1e-5)


def test_the_mlp_head_keeps_its_best_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    train, validation = blobs(2, 200, 1, spread=4), blobs(2, 100, 2, spread=4)
    settings = MlpHead(kind="mlp", hidden=[16, 8], dropout=0.2, learning_rate=0.05, epochs=30)
    torch.manual_seed(0)
    head, history = fit_head(settings, train, validation, 2)
    (last,) = (line for line in capsys.readouterr().out.splitlines() if "epoch 30 of 30, loss 0." in line)
    scores = re.search(r"validation F1 ([\d.]+), best ([\d.]+)", last)
    assert scores is not None
    predicted = probabilities(head, validation.embeddings).argmax(axis=1)
    tp = np.sum(predicted & validation.classes)
    assert f"{2 * tp / (predicted.sum() + validation.classes.sum()):.4f}" == scores[2]
    assert scores[1] < scores[2]
    assert [entry["epoch"] for entry in history] == list(range(1, 31))
    assert f"{max(entry['validation_f1'] for entry in history):.4f}" == scores[2]
    assert f", loss {history[-1]['loss']:.3f}, validation F1 {history[-1]['validation_f1']:.4f}" in last


def test_the_mlp_head_learns_a_nonlinear_boundary() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(400, 2))
    ring = EmbeddedSplit(points, (np.linalg.norm(points, axis=1) > 1.2).astype(np.int64))
    torch.manual_seed(0)
    settings = MlpHead(kind="mlp", hidden=[32], dropout=0.0, learning_rate=0.01, epochs=40)
    head, _ = fit_head(settings, ring, ring, 2)
    assert np.mean(probabilities(head, points).argmax(axis=1) == ring.classes) > 0.95


@pytest.mark.parametrize(
    "settings",
    [
        LogisticHead(kind="logistic"),
        SvmHead(kind="svm"),
        MlpHead(kind="mlp", hidden=[8, 7, 6, 5, 4], dropout=0.5, epochs=2),
        MlpHead(kind="mlp", hidden=[5], epochs=1),
    ],
    ids=lambda settings: settings.kind,
)
def test_a_stored_head_gives_the_same_probabilities(settings: Any) -> None:
    head, _ = fit_head(settings, blobs(3, 90, 1), blobs(3, 30, 2), 3)
    again = load_head(settings, dict(sorted(head.state_dict().items())))
    embeddings = blobs(3, 30, 3).embeddings
    np.testing.assert_array_equal(probabilities(again, embeddings), probabilities(head, embeddings))
