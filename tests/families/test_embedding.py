"""The family ``embedding``: training, merging and exporting heads on frozen encoders."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

from textgate.components.contracts import (
    Dataset,
    EmbeddingTraining,
    InputError,
    ModelBundle,
    Row,
    TextNormalizer,
    dataset_writer,
)
from textgate.components.contracts.export_target import EXPORT_TARGETS
from textgate.components.export_onnx.activations import activation_ranges
from textgate.components.export_onnx.onnx_graphs import write_graph
from textgate.components.families import TrainingContext
from textgate.components.families.embedding import family as embedding
from textgate.components.families.transformer.model.pretrained import load_backbone, load_tokenizer
from textgate.components.inference import load_bundle
from textgate.components.inference.onnx import OnnxPredictor
from textgate.components.train.train import train_bundle

DENSE = "2_Dense_1024"
HEADS: dict[str, dict[str, Any]] = {
    "logistic": {"kind": "logistic", "C": 10},
    "svm": {"kind": "svm", "C": 10},
    "mlp": {"kind": "mlp", "hidden": [32, 16], "dropout": 0.1, "learning_rate": 3e-3, "epochs": 30},
}
ODD_TEXTS = ["", "good", "BAD \u0301 é", "word1 " * 50, "😀 good 漢字", "a\x00b", "[SEP] [MASK] good", "\ud800 bad"]


def settings(kind: str, **changes: Any) -> EmbeddingTraining:
    section = {"family": "embedding", "base_model": "tiny", "max_tokens": 32, "head": HEADS[kind], **changes}
    return EmbeddingTraining(**section)


@pytest.fixture(scope="module")
def three_labels(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("three") / "dataset"
    with dataset_writer(path, ["train", "validation", "test"]) as writer:
        for index in range(300):
            label = ["bad", "fair", "good"][index % 3]
            split = "test" if index % 10 < 2 else "validation" if index % 10 < 4 else "train"
            others = [f"word{(index * factor) % 41}" for factor in range(1, 3 + index % 5)]
            writer.add(split, Row(str(index), " ".join([*others, label]), label))
        writer.finish("made up", ["bad", "fair", "good"], normalizer=TextNormalizer(lowercase=True))
    return Dataset.open(path)


@dataclass(frozen=True)
class System:
    """A head on an encoder, trained on a dataset."""

    training: EmbeddingTraining
    base_model: Path
    dataset: Dataset
    folder: Path
    """Folder of the bundles ``trained`` and ``merged``."""

    @property
    def texts(self) -> list[str]:
        return [*self.dataset.columns("test")[1], *ODD_TEXTS]

    def probabilities(self, stage: str) -> Any:
        folder = self.folder / stage
        base_model = self.base_model if stage == "trained" else None
        return embedding.predictor(folder, ModelBundle.load(folder), base_model).predict_proba(self.texts)


def merge(trained: Path, base_model: Path, output: Path) -> ModelBundle:
    output.mkdir()
    bundle = ModelBundle.load(trained)
    merged = embedding.merge(trained, bundle, base_model, output)
    assert merged is not None
    return bundle.model_copy(update={"runtime": merged[0]}).write(output)


def export(merged: Path, target: str, output: Path, texts: Sequence[str] = ()) -> ModelBundle:
    full = output.with_name("full")
    full.mkdir()
    bundle = ModelBundle.load(merged)
    runtime, unrounded = embedding.export_onnx(merged, bundle, full)
    predictor = OnnxPredictor(full, bundle.normalizer, runtime, threads=1)
    ranges = activation_ranges(full / "model.onnx", [batch.inputs for batch in predictor.batches(texts)])
    write_graph(EXPORT_TARGETS[target], full / "model.onnx", output / "model.onnx", unrounded, ranges)
    shutil.copy(full / "tokenizer.json", output)
    return bundle.model_copy(update={"runtime": runtime}).write(output)


@pytest.fixture(scope="module", params=HEADS)
def system(
    request: pytest.FixtureRequest,
    dataset: Dataset,
    three_labels: Dataset,
    tiny_stella: Path,
    tiny_encoder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> System:
    folder = tmp_path_factory.mktemp("embedding")
    system = {
        "logistic": System(settings("logistic"), tiny_encoder, three_labels, folder),
        "svm": System(settings("svm", trust_remote_code=True, dense=DENSE), tiny_stella, three_labels, folder),
        "mlp": System(settings("mlp", trust_remote_code=True), tiny_stella, dataset, folder),
    }[request.param]
    train_bundle(system.dataset.path, "tiny", system.training, folder / "trained", TrainingContext(system.base_model))
    merge(folder / "trained", system.base_model, folder / "merged")
    return system


def test_the_head_learns(system: System) -> None:
    assert ModelBundle.load(system.folder / "trained").metrics["validation_f1"] > 0.9
    classes = system.dataset.columns("test")[2]
    assert np.mean(system.probabilities("trained")[: len(classes)].argmax(axis=1) == classes) > 0.9


def test_training_is_reproducible_byte_for_byte(system: System, tmp_path: Path) -> None:
    train_bundle(system.dataset.path, "tiny", system.training, tmp_path / "again", TrainingContext(system.base_model))
    assert ModelBundle.load(tmp_path / "again") == ModelBundle.load(system.folder / "trained")
    assert merge(tmp_path / "again", system.base_model, tmp_path / "merged") == ModelBundle.load(
        system.folder / "merged"
    )


def test_the_trained_bundle_names_its_base_model_and_does_not_hold_it(system: System) -> None:
    bundle = ModelBundle.load(system.folder / "trained")
    assert bundle.base_model == "tiny"
    assert set(bundle.files) == {"head.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_a_merged_bundle_needs_no_base_model(system: System, tmp_path: Path) -> None:
    shutil.copytree(system.base_model, tmp_path / "base")
    bundle = merge(system.folder / "trained", tmp_path / "base", tmp_path / "merged")
    shutil.rmtree(tmp_path / "base")
    assert bundle.base_model is None
    probabilities = embedding.predictor(tmp_path / "merged", bundle, None).predict_proba(system.texts)
    np.testing.assert_array_equal(probabilities, system.probabilities("trained"))
    assert embedding.merge(tmp_path / "merged", bundle, None, tmp_path / "twice") is None


def test_the_exported_graph_equals_the_trained_model(system: System, tmp_path: Path) -> None:
    export(system.folder / "merged", "onnx-fp32", tmp_path / "exported")
    served = load_bundle(tmp_path / "exported")
    np.testing.assert_allclose(served.predict_proba(system.texts), system.probabilities("merged"), atol=1e-5)
    alone = np.concatenate([served.predict_proba([text]) for text in ODD_TEXTS])
    np.testing.assert_allclose(served.predict_proba(system.texts)[-len(ODD_TEXTS) :], alone, atol=1e-5)
    # No file of a bundle may reveal a path of the machine that trained it.
    local_paths = [
        str(tmp_path.parent.parent),
        str(Path(__file__).parents[2]),
        str(Path.home()),
        "transformers_modules",
    ]
    for folder in (system.folder / "trained", system.folder / "merged", tmp_path / "exported"):
        for path in folder.iterdir():
            assert not any(local.encode() in path.read_bytes() for local in local_paths), path


@pytest.mark.slow
@pytest.mark.parametrize("system", ["svm"], indirect=True)
def test_int8_agrees_and_leaves_the_head_unquantized(system: System, tmp_path: Path) -> None:
    export(system.folder / "merged", "onnx-int8", tmp_path / "int8", system.texts)
    agreement = load_bundle(tmp_path / "int8").predict_proba(system.texts).argmax(axis=1) == system.probabilities(
        "merged"
    ).argmax(axis=1)
    assert np.mean(agreement) > 0.95
    graph = onnx.load(tmp_path / "int8" / "model.onnx").graph
    quantized = {tensor.name.removesuffix("_quantized") for tensor in graph.initializer if tensor.data_type == 3}
    assert "dense.weight" in quantized
    assert any("mlp.down_proj" in entry or "val_" in entry for entry in quantized)
    assert not any(entry.startswith("head") for entry in quantized)
    assert sum(node.op_type == "MatMul" for node in graph.node) >= 3


def test_without_a_dense_layer_the_head_reads_the_mean(dataset: Dataset, tiny_stella: Path, tmp_path: Path) -> None:
    training = settings("logistic", trust_remote_code=True)
    train_bundle(dataset.path, "tiny", training, tmp_path / "bundle", TrainingContext(tiny_stella))
    tensors = load_file(tmp_path / "bundle" / "head.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        "head.weight": (2, 64),
        "head.bias": (2,),
    }
    tokenizer = load_tokenizer(tiny_stella, training)
    options = {"unpad_inputs": False, "use_memory_efficient_attention": False}
    backbone = load_backbone(tiny_stella, training, **options).eval()
    with torch.inference_mode():
        states = backbone(**tokenizer("good word1", return_tensors="pt")).last_hidden_state
    logits = states.mean(dim=1) @ tensors["head.weight"].T + tensors["head.bias"]
    bundle = ModelBundle.load(tmp_path / "bundle")
    probabilities = embedding.predictor(tmp_path / "bundle", bundle, tiny_stella).predict_proba(["good word1"])
    np.testing.assert_allclose(probabilities, logits.softmax(dim=1).numpy(), atol=1e-6)


def test_the_stub_of_stella_computes_what_its_architecture_does(tiny_stella: Path, tmp_path: Path) -> None:
    """Compare with transformers' GTE, which loads stella's weights but supports no scaling of rotary embeddings."""
    from transformers import GteConfig, GteModel

    shutil.copytree(tiny_stella, tmp_path / "stella")
    config = json.loads((tmp_path / "stella" / "config.json").read_text())
    config["rope_scaling"]["factor"] = 1.0
    (tmp_path / "stella" / "config.json").write_text(json.dumps(config))
    training = settings("logistic", trust_remote_code=True)
    options = {"unpad_inputs": False, "use_memory_efficient_attention": False}
    ours = load_backbone(tmp_path / "stella", training, **options).eval()
    sizes = {key: value for key, value in config.items() if key in GteConfig().to_dict() and key != "model_type"}
    rotation = {"rope_type": "default", "rope_theta": config["rope_theta"]}
    theirs, loaded = GteModel.from_pretrained(
        tmp_path / "stella", config=GteConfig(**sizes, rope_parameters=rotation), output_loading_info=True
    )
    assert not loaded["missing_keys"]
    assert not loaded["unexpected_keys"]
    batch = load_tokenizer(tmp_path / "stella", training)(
        ["good word1 word2", "bad"], padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        states = [model.eval()(**batch).last_hidden_state for model in (ours, theirs)]
    mask = batch["attention_mask"].bool()
    torch.testing.assert_close(states[0][mask], states[1][mask], atol=1e-5, rtol=0)


def test_custom_code_of_a_base_model_is_rejected_unless_trusted(
    dataset: Dataset, tiny_stella: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        InputError, match=r"needs Python code of its own \(new\): set train\.trust_remote_code=true"
    ) as e:
        train_bundle(dataset.path, "tiny", settings("logistic"), tmp_path / "bundle", TrainingContext(tiny_stella))
    assert "\n" not in str(e.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("no folder", r"train\.dense=3_Dense must be a folder with a linear layer .* which has 2_Dense_1024$"),
        ("no weights", r"train\.dense=2_Dense_1024 must be a folder .* which has no such folder$"),
        ("other tensors", r"train\.dense=2_Dense_1024 must be a folder .* which has 2_Dense_1024$"),
        ("truncated", r"train\.dense=2_Dense_1024 must be a folder .* which has 2_Dense_1024$"),
        ("activation", r"the encoder's 64 dimensions without an activation, but it takes 64 and has torch.*Tanh$"),
        ("sizes", r"the encoder's 64 dimensions without an activation, but it takes 8 and has torch.*Identity$"),
    ],
)
def test_an_unusable_dense_layer_is_one_sentence(
    damage: str, message: str, dataset: Dataset, tiny_stella: Path, tmp_path: Path
) -> None:
    base_model = tmp_path / "base"
    shutil.copytree(tiny_stella, base_model)
    weights = base_model / DENSE / "model.safetensors"
    match damage:
        case "no weights":
            weights.unlink()
        case "other tensors":
            save_file({"linear.bias": torch.zeros(3)}, weights)
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:100])
        case "activation":
            config = json.loads((base_model / DENSE / "config.json").read_text())
            config["activation_function"] = "torch.nn.modules.activation.Tanh"
            (base_model / DENSE / "config.json").write_text(json.dumps(config))
        case "sizes":
            save_file({"linear.weight": torch.zeros(3, 8)}, weights)
    dense = "3_Dense" if damage == "no folder" else DENSE
    training = settings("logistic", trust_remote_code=True, dense=dense)
    with pytest.raises(InputError, match=message) as error:
        train_bundle(dataset.path, "tiny", training, tmp_path / "bundle", TrainingContext(base_model))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "bundle").exists()


def test_an_encoder_decoder_is_rejected(dataset: Dataset, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is an encoder-decoder: train\.family=embedding takes an encoder"):
        train_bundle(dataset.path, "tiny", settings("logistic"), tmp_path / "bundle", TrainingContext(tiny("t5")))


def test_embeddings_with_nan_are_rejected(dataset: Dataset, tiny_encoder: Path, tmp_path: Path) -> None:
    base_model = tmp_path / "base"
    shutil.copytree(tiny_encoder, base_model)
    tensors = load_file(base_model / "model.safetensors")
    tensors["bert.embeddings.LayerNorm.bias"].fill_(torch.nan)
    save_file(tensors, base_model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="the base model tiny gives embeddings that are not numbers"):
        train_bundle(dataset.path, "tiny", settings("logistic"), tmp_path / "bundle", TrainingContext(base_model))


def test_a_head_that_diverges_leaves_no_bundle(dataset: Dataset, tiny_encoder: Path, tmp_path: Path) -> None:
    head = {"kind": "mlp", "learning_rate": 1e36, "epochs": 1}
    with pytest.raises(InputError, match="the training diverged: its probabilities are not numbers"):
        train_bundle(
            dataset.path, "tiny", settings("mlp", head=head), tmp_path / "bundle", TrainingContext(tiny_encoder)
        )
    assert list(tmp_path.iterdir()) == []


def test_a_base_model_that_was_not_fetched_is_one_sentence(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the base model tiny was not fetched"):
        train_bundle(dataset.path, "tiny", settings("logistic"), tmp_path / "bundle", TrainingContext())
