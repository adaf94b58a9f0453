"""Adapters on tiny decoders, encoders and encoder-decoders: training, storage, merging and prediction."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig

from textgate.components.contracts import Adapter, Dataset, InputError, ModelBundle, TransformerTraining
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.families import EXPORTABLE_FAMILIES, TrainingContext
from textgate.components.families.transformer.model.adapters import (
    add_adapter,
    quantization_options,
    require_trainable_head,
)
from textgate.components.families.transformer.model.architectures import ARCHITECTURES
from textgate.components.families.transformer.model.pretrained import load_classifier
from textgate.components.merge_quantize.merge_quantize import merge_bundle
from textgate.components.train.train import train_bundle

Tiny = Callable[[str], Path]


def training(base_model: Path, adapter: Adapter, **changes: Any) -> TransformerTraining:
    settings = {"max_tokens": 32, "epochs": 1, "batch_size": 8, "learning_rate": 2e-2, "precision": "fp32", **changes}
    return TransformerTraining(family="transformer", base_model=str(base_model), adapter=adapter, **settings)


LORA = Adapter(r=4, alpha=8)
CASES = [
    ("llama", LORA),
    ("mistral", Adapter(r=4, alpha=8, variant="dora")),
    ("t5", LORA),
    ("llama", Adapter(r=4, alpha=8, variant="pissa", quantization="none")),
    ("bert", Adapter(r=4, alpha=8, variant="rslora", quantization="none")),
    ("distilbert", LORA),
]


@pytest.fixture(scope="module")
def trained(
    tiny: Tiny, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, Adapter], tuple[Path, Path]]:
    """A function that returns a trained bundle and its base model, trained once per architecture and adapter."""
    folder = tmp_path_factory.mktemp("adapters")

    def train(model_type: str, adapter: Adapter = LORA) -> tuple[Path, Path]:
        base_model = tiny(model_type)
        path = folder / f"{model_type}-{adapter.variant}"
        if not path.exists():
            settings = training(base_model, adapter, epochs=4 if "bert" in model_type else 1)
            train_bundle(dataset.path, "tiny", settings, path, TrainingContext(base_model))
        return path, base_model

    return train


@pytest.mark.parametrize(("model_type", "adapter"), CASES, ids=[f"{name}-{a.variant}" for name, a in CASES])
def test_adapter_learns_and_merging_keeps_its_predictions(
    model_type: str, adapter: Adapter, trained: Any, dataset: Dataset, tmp_path: Path
) -> None:
    bundle, base_model = trained(model_type, adapter)
    assert ModelBundle.load(bundle).base_model == str(base_model)
    assert not list(bundle.rglob("model.safetensors")), "the base must not be stored again"
    before = evaluate_bundle(dataset.path, bundle, tmp_path / "before")
    assert before.manifest.f1.value > 0.8
    assert merge_bundle(bundle, tmp_path / "merged").base_model is None
    after = evaluate_bundle(dataset.path, tmp_path / "merged", tmp_path / "after")
    np.testing.assert_allclose(np.log(after.probabilities), np.log(before.probabilities), atol=1e-4)


@pytest.mark.filterwarnings("ignore:MatMul8bitLt")
def test_an_adapter_on_an_8_bit_base_is_merged_into_the_dequantized_weights(
    tiny: Tiny, dataset: Dataset, tmp_path: Path
) -> None:
    base_model, adapter = tiny("llama"), Adapter(r=4, quantization="int8")
    train_bundle(dataset.path, "tiny", training(base_model, adapter), tmp_path / "trained", TrainingContext(base_model))
    before = evaluate_bundle(dataset.path, tmp_path / "trained", tmp_path / "before")
    assert before.manifest.f1.value > 0.8
    merge_bundle(tmp_path / "trained", tmp_path / "merged")
    after = evaluate_bundle(dataset.path, tmp_path / "merged", tmp_path / "after")
    # The forward pass of training also rounds the activations to 8 bits.
    np.testing.assert_allclose(after.probabilities, before.probabilities, atol=0.03)
    merged, base = load_file(tmp_path / "merged" / "model.safetensors"), load_file(base_model / "model.safetensors")
    stored = load_file(tmp_path / "trained" / "adapter_model.safetensors")
    for name in ("model.layers.1.self_attn.q_proj", "model.layers.0.mlp.up_proj"):
        weight = base[f"{name}.weight"].half().float()
        scale = weight.abs().amax(1, keepdim=True) / 127
        expected = (weight / scale).round() * scale
        if (low := stored.get(f"base_model.model.{name}.lora_A.weight")) is not None:
            expected += adapter.alpha / adapter.r * stored[f"base_model.model.{name}.lora_B.weight"] @ low
        difference = (merged[f"{name}.weight"] - expected).abs()
        assert difference.max() < 1.01 * scale.max(), "a value between two steps may be rounded to either"
        assert (difference > 1e-5).float().mean() < 0.01


def test_transformers_loads_a_merged_bundle_in_full_precision(trained: Any, tmp_path: Path) -> None:
    merge_bundle(trained("llama")[0], tmp_path / "merged")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    assert model.config.id2label == {0: "bad", 1: "good"}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert "quantization_config" not in json.loads((tmp_path / "merged" / "config.json").read_text())


def test_training_an_adapter_twice_gives_the_same_bytes_and_no_local_path(
    trained: Any, dataset: Dataset, tmp_path: Path
) -> None:
    first, base_model = trained("llama")
    settings = training(base_model, LORA).model_copy(update={"base_model": "hf://org/name@" + "a" * 40})
    train_bundle(dataset.path, "tiny", settings, tmp_path / "again", TrainingContext(base_model))
    weights = "adapter_model.safetensors"
    assert (tmp_path / "again" / weights).read_bytes() == (first / weights).read_bytes()
    for path in (tmp_path / "again").iterdir():
        assert str(base_model).encode() not in path.read_bytes(), path.name


@pytest.mark.parametrize("model_type", ["llama", "t5", "distilbert"])
def test_the_head_is_trained_and_stored_in_full_precision(model_type: str, trained: Any) -> None:
    stored = load_file(trained(model_type)[0] / "adapter_model.safetensors")
    for module in ARCHITECTURES[model_type].head_modules:
        weights = [value for name, value in stored.items() if f".{module}." in name]
        assert weights, f"{module} of {model_type} was not stored"
        assert all(value.dtype == torch.float32 for value in weights)


def test_a_head_that_would_not_be_trained_is_rejected_by_name(tiny: Tiny) -> None:
    # The defaults of PEFT and bitsandbytes, which recognize `score` and `classifier` only.
    config = BitsAndBytesConfig(load_in_4bit=True, llm_int8_skip_modules=["score", "classifier"])
    model = AutoModelForSequenceClassification.from_pretrained(tiny("t5"), quantization_config=config)
    with pytest.raises(InputError, match=r"head classification_head is quantized \(.*\) and could not be trained"):
        require_trainable_head(model, ("classification_head",))
    frozen = AutoModelForSequenceClassification.from_pretrained(tiny("t5")).requires_grad_(False)
    with pytest.raises(InputError, match="the classification head classification_head would not be trained"):
        require_trainable_head(frozen, ("classification_head",))


def test_unknown_target_layers_give_a_one_line_error(tiny: Tiny, tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny("llama"))
    with pytest.raises(
        InputError, match=r"train\.adapter\.targets: no layer of the base model is called absent, query"
    ) as error:
        add_adapter(model, Adapter(targets=["query", "absent"]), (), ("score",), "base", tmp_path)
    assert "\n" not in str(error.value)


def test_an_adapter_without_its_base_model_cannot_be_evaluated(trained: Any, dataset: Dataset, tmp_path: Path) -> None:
    folder = shutil.copytree(trained("llama")[0], tmp_path / "trained")
    bundle = ModelBundle.load(folder)
    runtime = bundle.runtime.model_copy(update={"base_model": str(tmp_path / "gone")})
    bundle.model_copy(update={"runtime": runtime}).write(folder)
    with pytest.raises(InputError, match="gone"):
        evaluate_bundle(dataset.path, folder, tmp_path / "evaluation")
    assert not (tmp_path / "evaluation").exists()


def test_the_error_of_an_unsupported_architecture_lists_the_supported_ones(
    tiny_encoder: Path, dataset: Dataset, tmp_path: Path
) -> None:
    base_model = tmp_path / "gpt"
    base_model.mkdir()
    for path in tiny_encoder.iterdir():
        (base_model / path.name).write_bytes(path.read_bytes())
    config = json.loads((base_model / "config.json").read_text())
    (base_model / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    with pytest.raises(InputError, match="the architecture 'gpt2' cannot be fine-tuned here: bert, distilbert"):
        train_bundle(
            dataset.path, "x", training(base_model, Adapter()), tmp_path / "bundle", TrainingContext(base_model)
        )


def test_merging_into_quantized_weights_exceeds_the_tolerance(trained: Any, dataset: Dataset) -> None:
    """The tolerance of the comparison above distinguishes a correct merge from a merge into 4-bit weights."""
    folder, base_model = trained("llama")
    texts = dataset.columns("test")[1]
    predictor: Any = EXPORTABLE_FAMILIES["transformer"]().predictor(folder, ModelBundle.load(folder), base_model)
    before = predictor.predict_proba(texts)
    predictor._model.merge_adapter()
    assert np.abs(np.log(predictor.predict_proba(texts)) - np.log(before)).max() > 1e-2


def test_a_4_bit_base_model_passes_gradients_after_an_evaluation(tiny: Tiny) -> None:
    """On CPUs with AVX512-BF16 bitsandbytes would repack the weights for inference and stop passing gradients."""
    base_model = tiny("llama")
    settings = training(base_model, LORA)
    options = quantization_options(LORA, ("score",), torch.float32)
    model = load_classifier(base_model, settings, ["bad", "good"], **options)
    model.config.pad_token_id = 0
    model = add_adapter(model, LORA, ("q_proj", "v_proj"), ("score",), "tiny", base_model)
    ids = torch.arange(1, 17).reshape(2, 8)
    with torch.inference_mode():
        model.eval()(input_ids=ids)
    model.train()(input_ids=ids, labels=torch.tensor([0, 1])).loss.backward()
    first_layer = [name for name, _ in model.named_parameters() if "layers.0." in name and "lora_B" in name]
    assert len(first_layer) == 2
    for name in first_layer:
        gradient = model.get_parameter(name).grad
        assert gradient is not None, name
        assert gradient.abs().max() > 0, name
