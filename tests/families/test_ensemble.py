"""The family ``ensemble``: probabilities, weights, and bundles that cannot be members."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from families.served import serve
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from textgate.components.contracts import (
    Calibration,
    Dataset,
    EnsembleRuntime,
    EnsembleTraining,
    InputError,
    LinearTraining,
    ModelBundle,
    TransformersRuntime,
)
from textgate.components.families import TrainingContext, max_benchmark_tokens, open_predictor
from textgate.components.families.ensemble import maximum_likelihood_weights
from textgate.components.inference import load_bundle
from textgate.components.merge_quantize.merge_quantize import merge_bundle
from textgate.components.train.train import train_bundle

TEXTS = ["word1 good", "word2 bad word3", "", "é 漢字 👩‍👩‍👧", "good bad " * 40]


@pytest.fixture(scope="module")
def members(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two linear bundles by reference; the second is calibrated and has an alternative runtime."""
    folder = tmp_path_factory.mktemp("members")
    train_bundle(dataset.path, "a", LinearTraining(family="linear", min_df=1, C=0.05), folder / "a", TrainingContext())
    weak = LinearTraining(family="linear", ngrams=(2, 2), min_df=1)
    bundle = train_bundle(dataset.path, "b", weak, folder / "b", TrainingContext())
    (folder / "b" / "hf").mkdir()
    (folder / "b" / "hf" / "weights").write_bytes(b"not asked")
    alternatives = {"hf": TransformersRuntime(folder="hf", max_tokens=8)}
    bundle.model_copy(
        update={"calibration": Calibration(temperature=2.5, threshold=0.9), "alternatives": alternatives}
    ).write(folder / "b")
    return {"a@champion": folder / "a", "b": folder / "b"}


def training(*weights: float | None, names: tuple[str, ...] = ("a@champion", "b")) -> EnsembleTraining:
    members = [{"bundle": name, "weight": weight} for name, weight in zip(names, weights or (None, None), strict=True)]
    return EnsembleTraining.model_validate({"family": "ensemble", "members": members})


def runtime_of(bundle: ModelBundle) -> EnsembleRuntime:
    assert isinstance(bundle.runtime, EnsembleRuntime)
    return bundle.runtime


@pytest.fixture(scope="module")
def ensemble(dataset: Dataset, members: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ensemble") / "bundle"
    train_bundle(dataset.path, "both", training(3, 1), folder, TrainingContext(bundles=members))
    return folder


def test_probabilities_are_the_weighted_mean_of_the_calibrated_members(
    ensemble: Path, members: dict[str, Path]
) -> None:
    first, second = (load_bundle(folder).predict_proba(TEXTS) for folder in members.values())
    expected = 0.75 * first + 0.25 * second
    np.testing.assert_allclose(load_bundle(ensemble).predict_proba(TEXTS), expected, atol=1e-12)
    np.testing.assert_allclose(
        open_predictor(ensemble, ModelBundle.load(ensemble)).predict_proba(TEXTS), expected, atol=1e-12
    )
    assert load_bundle(ensemble).predict_proba([]).shape == (0, 2)


def test_the_bundle_holds_its_members_without_their_alternatives(ensemble: Path, members: dict[str, Path]) -> None:
    bundle = ModelBundle.load(ensemble)
    assert runtime_of(bundle) == EnsembleRuntime(members=["members/0", "members/1"], weights=[0.75, 0.25])
    first, second = (ModelBundle.load(ensemble / name) for name in runtime_of(bundle).members)
    assert first.fingerprint == ModelBundle.load(members["a@champion"]).fingerprint
    original = ModelBundle.load(members["b"])
    assert second == original.model_copy(update={"alternatives": {}, "files": second.files})
    assert second.files == {name: entry for name, entry in original.files.items() if not name.startswith("hf/")}
    manifests = sum((ensemble / name / "bundle.json").stat().st_size for name in runtime_of(bundle).members)
    assert bundle.size == first.size + original.size + manifests
    assert max_benchmark_tokens(bundle) == 512


def test_the_metrics_are_those_of_the_mean_on_the_validation_split(dataset: Dataset, ensemble: Path) -> None:
    _, texts, classes = dataset.columns("validation")
    correct = load_bundle(ensemble).predict_proba(texts).argmax(axis=1) == classes
    assert ModelBundle.load(ensemble).metrics["validation_accuracy"] == pytest.approx(correct.mean())


def test_missing_weights_are_fitted_by_maximum_likelihood_on_the_validation_split(
    dataset: Dataset, members: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundles = [
        train_bundle(dataset.path, "both", training(), tmp_path / name, TrainingContext(bundles=members))
        for name in ("once", "again")
    ]
    assert bundles[0].fingerprint == bundles[1].fingerprint
    weights = runtime_of(bundles[0]).weights
    _, texts, classes = dataset.columns("validation")
    right = [load_bundle(folder).predict_proba(texts)[np.arange(len(classes)), classes] for folder in members.values()]
    losses = [-np.log(w * right[0] + (1 - w) * right[1]).mean() for w in np.linspace(0, 1, 10_001)]
    assert weights[0] == pytest.approx(np.argmin(losses) / 10_000, abs=5e-3)
    assert re.search(rf"^b: validation F1 0\.\d+ by itself, weight {weights[1]:.4f}$", capsys.readouterr().out, re.M)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), members=st.integers(2, 5), labels=st.integers(2, 4))
def test_no_other_weights_have_a_higher_likelihood(seed: int, members: int, labels: int) -> None:
    generator = np.random.default_rng(seed)
    classes = generator.integers(labels, size=60)
    sharpness = generator.uniform(0.1, 4, members)
    probabilities = np.stack([generator.dirichlet(np.ones(labels) / sharp, 60) for sharp in sharpness])
    fitted = maximum_likelihood_weights(probabilities, classes)
    assert fitted.min() >= 0
    assert fitted.sum() == pytest.approx(1)
    right = np.maximum(probabilities[:, np.arange(60), classes], 1e-12)

    def loss(weights: npt.NDArray[np.float64]) -> float:
        return -float(np.log(np.maximum(weights @ right, 1e-300)).mean())

    equal = {"type": "eq", "fun": lambda weights: weights.sum() - 1}
    start = np.full(members, 1 / members)
    other = minimize(loss, start, method="SLSQP", bounds=[(0, 1)] * members, constraints=[equal])
    assert loss(fitted) <= loss(other.x / other.x.sum()) + 1e-5


def test_a_member_with_weight_zero_is_not_run(dataset: Dataset, members: dict[str, Path], tmp_path: Path) -> None:
    train_bundle(dataset.path, "both", training(0, 2), tmp_path / "bundle", TrainingContext(bundles=members))
    np.testing.assert_array_equal(
        load_bundle(tmp_path / "bundle").predict_proba(TEXTS), load_bundle(members["b"]).predict_proba(TEXTS)
    )


def test_merge_and_export_copy_the_bundle(
    dataset: Dataset, ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    merged = merge_bundle(ensemble, tmp_path / "merged")
    exported = serve(dataset.path, tmp_path / "merged", tmp_path / "exported")
    assert exported.files == merged.files
    output = capsys.readouterr().out
    assert "nothing to merge: the bundle needs no base model" in output
    assert "nothing to export: ensemble bundles are served as they are" in output
    assert exported.calibration.temperature != 1


def test_a_bundle_that_cannot_be_a_member_is_one_sentence(
    dataset: Dataset, ensemble: Path, members: dict[str, Path], tmp_path: Path
) -> None:
    def refused(folder: Path, sentence: str) -> None:
        bundles = {"a@champion": folder, "b": members["b"]}
        with pytest.raises(InputError, match=sentence):
            train_bundle(dataset.path, "both", training(), tmp_path / "refused", TrainingContext(bundles=bundles))
        assert not (tmp_path / "refused").exists()

    refused(ensemble, "a@champion is itself an ensemble, .* name its members in train.members instead")
    changed: dict[str, dict[str, Any]] = {
        "torch": {"runtime": TransformersRuntime(max_tokens=8)},
        "other": {"labels": ["good", "bad"]},
    }
    for name, update in changed.items():
        (tmp_path / name).mkdir()
        ModelBundle.load(members["a@champion"]).model_copy(update=update).write(tmp_path / name)
    refused(tmp_path / "torch", "a@champion has the runtime transformers, which cannot be served: .* exported to ONNX")
    refused(tmp_path / "other", r"a@champion has the labels \['good', 'bad'\], but the dataset has \['bad', 'good'\]")


def test_a_bundle_whose_members_do_not_fit_is_not_loaded(ensemble: Path, tmp_path: Path) -> None:
    bundle = ModelBundle.load(ensemble)
    outside = runtime_of(bundle).model_copy(update={"members": ["members/0", "../bundle"]})
    changed: dict[str, dict[str, Any]] = {
        r"lacks \.\./bundle, which its runtime names as a member": {"runtime": outside},
        r"members/0 has the labels .* but its ensemble has \[": {"labels": ["good", "bad"]},
    }
    for index, (sentence, update) in enumerate(changed.items()):
        copy = tmp_path / str(index)
        shutil.copytree(ensemble, copy)
        bundle.model_copy(update=update).write(copy)
        with pytest.raises(InputError, match=sentence):
            load_bundle(copy)
