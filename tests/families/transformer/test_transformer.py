"""Fully fine-tuned encoders: training, export and errors."""

import json
from pathlib import Path

import numpy as np
import pytest
from families.served import serve
from families.uncalibrated import uncalibrated

from textgate.components.contracts import Dataset, InputError, ModelBundle, OnnxRuntime, TransformerTraining
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.families import EXPORTABLE_FAMILIES, TrainingContext
from textgate.components.inference import load_bundle
from textgate.components.merge_quantize.merge_quantize import merge_bundle
from textgate.components.train.train import train_bundle

TRAINING = TransformerTraining(
    family="transformer", base_model="tiny", max_tokens=16, epochs=6, batch_size=8, learning_rate=3e-3
)
ODD_TEXTS = ["", "good", "BAD \u0301 é", "word1 " * 50, "😀 good 漢字", "a\x00b", "[SEP] [MASK] good", "\ud800 bad"]


@pytest.fixture(scope="module")
def trained(dataset: Dataset, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "trained"
    train_bundle(dataset.path, "tiny", TRAINING, folder, TrainingContext(tiny_encoder))
    return folder


@pytest.fixture(scope="module")
def exported(dataset: Dataset, trained: Path) -> Path:
    folder = trained.parent / "exported"
    serve(dataset.path, trained, folder)
    return folder


def test_it_learns(dataset: Dataset, trained: Path, tmp_path: Path) -> None:
    bundle = ModelBundle.load(trained)
    assert bundle.metrics["validation_f1"] > 0.9
    evaluation = evaluate_bundle(dataset.path, trained, tmp_path / "evaluation")
    assert evaluation.manifest.f1.value > 0.9
    assert evaluation.manifest.runtime == "transformers"


def test_the_same_data_and_seed_give_the_same_bytes(
    dataset: Dataset, tiny_encoder: Path, trained: Path, exported: Path, tmp_path: Path
) -> None:
    train_bundle(dataset.path, "tiny", TRAINING, tmp_path / "again", TrainingContext(tiny_encoder))
    assert ModelBundle.load(tmp_path / "again") == ModelBundle.load(trained)
    serve(dataset.path, tmp_path / "again", tmp_path / "exported")
    assert ModelBundle.load(tmp_path / "exported") == ModelBundle.load(exported)


def test_full_precision_onnx_predicts_like_torch(dataset: Dataset, trained: Path, exported: Path) -> None:
    texts = [*dataset.columns("test")[1], *ODD_TEXTS]
    expected = (
        EXPORTABLE_FAMILIES["transformer"]().predictor(trained, ModelBundle.load(trained), None).predict_proba(texts)
    )
    np.testing.assert_allclose(uncalibrated(exported, texts), expected, atol=1e-5)


def test_a_prediction_does_not_depend_on_the_other_texts_in_the_batch(dataset: Dataset, exported: Path) -> None:
    texts = [*dataset.columns("test")[1], *ODD_TEXTS] * 3
    predictor = load_bundle(exported)
    together = predictor.predict_proba(texts)
    alone = np.concatenate([predictor.predict_proba([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_int8_is_smaller_and_agrees(dataset: Dataset, trained: Path, exported: Path, tmp_path: Path) -> None:
    bundle = serve(dataset.path, trained, tmp_path / "int8", ["onnx-int8"])
    assert isinstance(bundle.runtime, OnnxRuntime)
    assert bundle.runtime.precision == "int8"
    assert bundle.recipe["export"]["targets"] == ["onnx-int8"]
    sizes = [
        (folder / target / "model.onnx").stat().st_size
        for folder, target in ((tmp_path / "int8", "onnx-int8"), (exported, "onnx-fp32"))
    ]
    assert sizes[0] < 0.7 * sizes[1]
    texts = dataset.columns("test")[1]
    predictions = [load_bundle(folder).predict_proba(texts).argmax(axis=1) for folder in (tmp_path / "int8", exported)]
    assert np.mean(predictions[0] == predictions[1]) > 0.95


def test_there_is_nothing_to_merge(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        merge_bundle(trained, tmp_path / "merged") == ModelBundle.load(trained) == ModelBundle.load(tmp_path / "merged")
    )
    assert "nothing to merge: the bundle needs no base model" in capsys.readouterr().out


def test_progress_lines_have_epoch_loss_and_rate(
    dataset: Dataset, tiny_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_bundle(dataset.path, "tiny", TRAINING, tmp_path / "bundle", TrainingContext(tiny_encoder))
    (last,) = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("progress") and "epoch 6.00" in line
    ]
    assert ", loss 0." in last
    assert "rows/s" in last


def test_an_unexported_bundle_is_not_served_and_an_exported_one_is_not_exported_again(
    dataset: Dataset, trained: Path, exported: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="has the runtime 'transformers', which cannot be served: export it first"):
        load_bundle(trained)
    with pytest.raises(InputError, match="has the runtime onnx, not the transformers model it was trained as"):
        serve(dataset.path, exported, tmp_path / "twice")
    assert not (tmp_path / "twice").exists()


def test_a_diverging_training_leaves_no_bundle(dataset: Dataset, tiny_encoder: Path, tmp_path: Path) -> None:
    training = TRAINING.model_copy(update={"learning_rate": 1e38, "epochs": 1, "warmup": 0})
    with pytest.raises(InputError, match="the training diverged: its probabilities are not numbers"):
        train_bundle(dataset.path, "tiny", training, tmp_path / "bundle", TrainingContext(tiny_encoder))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["no config", "no weights", "not a model"])
def test_a_base_model_that_cannot_be_loaded_gives_a_one_line_error(
    damage: str, dataset: Dataset, tiny_encoder: Path, tmp_path: Path
) -> None:
    base_model = tmp_path / "base_model"
    base_model.mkdir()
    for path in tiny_encoder.iterdir():
        (base_model / path.name).write_bytes(path.read_bytes())
    if damage == "no config":
        (base_model / "config.json").unlink()
    elif damage == "no weights":
        (base_model / "model.safetensors").unlink()
    else:
        (base_model / "config.json").write_text(json.dumps({"model_type": "toaster"}))
    message = "'toaster' cannot be fine-tuned" if damage == "not a model" else "the base model tiny cannot be loaded"
    with pytest.raises(InputError, match=message) as error:
        train_bundle(dataset.path, "tiny", TRAINING, tmp_path / "bundle", TrainingContext(base_model))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "bundle").exists()
