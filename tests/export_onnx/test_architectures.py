"""Every architecture, exported to every target that supports it, predicts as the trained model does on torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from textgate.components.contracts import Dataset, Export, InputError, OnnxRuntime, Training
from textgate.components.contracts.export_target import EXPORT_TARGETS
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.export_onnx.measure import Reference, measure_quality
from textgate.components.export_onnx.target_exporter import TargetExporter
from textgate.components.families import TrainingContext, open_predictor
from textgate.components.merge_quantize.merge_quantize import compare_merged, merge_bundle
from textgate.components.train.train import train_bundle

ONNX = ["onnx-fp32", "onnx-fp16", "onnx-int8", "onnx-int4"]
# Largest mean absolute difference from the trained model's probabilities.
PARITY = {"onnx-fp32": 1e-5, "onnx-fp16": 2e-3, "onnx-int8": 0.03, "onnx-int4": 0.1, "hf": 1e-6, "hf-nf4": 0.1}
LORA = {"r": 4, "alpha": 8}
TUNED = {"max_tokens": 32, "batch_size": 8, "epochs": 2, "learning_rate": 3e-3, "precision": "fp32"}
ADAPTED = {**TUNED, "learning_rate": 2e-2, "adapter": LORA}

# Name of the base model, and training settings.
SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {"family": "transformer", **TUNED}),
    "distilbert": ("distilbert", {"family": "transformer", **TUNED}),
    "t5": ("t5", {"family": "transformer", **ADAPTED}),
    "llama": ("llama", {"family": "transformer", **ADAPTED}),
    "mistral": ("mistral", {"family": "transformer", **ADAPTED}),
    "prompted": (
        "llama",
        {
            "family": "prompted",
            "prompt": "{text} good?",
            "label_words": {"bad": " no", "good": " yes"},
            **ADAPTED,
            "max_tokens": 64,
        },
    ),
    "stella-qlora": (
        "stella",
        {"family": "transformer", "pooling": "attention", "trust_remote_code": True, **ADAPTED},
    ),
    "stella-mlp": (
        "stella",
        {
            "family": "embedding",
            "trust_remote_code": True,
            "max_tokens": 32,
            "dense": "2_Dense_1024",
            "head": {"kind": "mlp", "epochs": 2},
        },
    ),
    "stella-svm": ("stella", {"family": "embedding", "trust_remote_code": True, "head": {"kind": "svm"}}),
}
# Their heads are not classes of transformers, so they cannot be exported as a Hugging Face folder.
CUSTOM_HEAD = {"stella-qlora", "stella-mlp", "stella-svm"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "t5" else name for name in SYSTEMS]
)
def test_every_target_predicts_as_the_trained_model(
    name: str, tiny: Callable[[str], Path], tiny_stella: Path, dataset: Dataset, tmp_path: Path
) -> None:
    kind, settings = SYSTEMS[name]
    base_model = tiny_stella if kind == "stella" else tiny(kind)
    training: Any = TypeAdapter(Training).validate_python({**settings, "base_model": str(base_model)})
    train_bundle(dataset.path, "tiny", training, tmp_path / "trained", TrainingContext(base_model))
    evaluate_bundle(dataset.path, tmp_path / "trained", tmp_path / "evaluation")
    merged = merge_bundle(tmp_path / "trained", tmp_path / "merged")
    change = compare_merged(tmp_path / "merged", merged, tmp_path / "evaluation")
    assert (change is None) == ("adapter" not in settings and settings["family"] == "transformer")
    if change:
        assert change.agreement > 0.99
        assert change.logit_difference < 1e-3

    export = Export(min_agreement=0.9, max_f1_loss=0.1)
    (tmp_path / "scratch").mkdir()
    exporter = TargetExporter(tmp_path / "merged", tmp_path / "scratch", merged, dataset, export)
    reference = Reference.predict(tmp_path / "merged", merged, dataset)
    for target in [*ONNX, *([] if name in CUSTOM_HEAD else ["hf", "hf-nf4"])]:
        folder = tmp_path / "scratch" / target
        bundle = exporter.export(EXPORT_TARGETS[target])
        measurement = measure_quality(folder, bundle, reference, export, EXPORT_TARGETS[target])
        assert measurement.parity < PARITY[target], target
        assert measurement.agreement > (0.9 if target in ("onnx-int4", "hf-nf4") else 0.95), target
        if isinstance(bundle.runtime, OnnxRuntime):
            assert bundle.runtime.producer.startswith("pytorch ")
            assert bundle.runtime.inputs["input_ids"] == ["rows", "tokens"]
            assert bundle.runtime.outputs == {"logits": ["rows", 2]}
        # The prediction for a text does not depend on its batch.
        texts = dataset.columns("test")[1][:6]
        together = open_predictor(folder, bundle).predict_proba(texts)
        alone = np.concatenate([open_predictor(folder, bundle).predict_proba([text]) for text in texts[:2]])
        # Float differences between batch sizes can change how an activation is rounded to int8.
        tolerance = 0.05 if "int8" in target and not bundle.runtime.blocks else 1e-3  # type: ignore[union-attr]
        np.testing.assert_allclose(together[:2], alone, atol=tolerance)
    if name in CUSTOM_HEAD:
        with pytest.raises(InputError, match="has a custom head: use ONNX targets"):
            exporter.export(EXPORT_TARGETS["hf"])


def test_transformers_loads_an_exported_hugging_face_folder(
    tiny: Callable[[str], Path], dataset: Dataset, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    kind, settings = SYSTEMS["llama"]
    training: Any = TypeAdapter(Training).validate_python({**settings, "base_model": str(tiny(kind))})
    train_bundle(dataset.path, "tiny", training, tmp_path / "trained", TrainingContext(tiny(kind)))
    bundle = merge_bundle(tmp_path / "trained", tmp_path / "merged")
    exporter = TargetExporter(tmp_path / "merged", tmp_path, bundle, dataset, Export())
    texts = [dataset.normalizer(text) for text in dataset.columns("test")[1][:8]]
    for target, quantized in (("hf", False), ("hf-nf4", True)):
        exported = exporter.export(EXPORT_TARGETS[target])
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / target)
        assert bool(getattr(model, "is_quantized", False)) == quantized
        classify = pipeline(
            "text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(tmp_path / target)
        )
        ours = open_predictor(tmp_path / target, exported).predict_proba(texts)
        for answer, probabilities in zip(classify(texts), ours, strict=True):
            assert answer["label"] == bundle.labels[int(probabilities.argmax())]
            assert answer["score"] == pytest.approx(probabilities.max(), abs=1e-3)
    plain, small = (tmp_path / target / "model.safetensors" for target in ("hf", "hf-nf4"))
    assert small.stat().st_size < 0.7 * plain.stat().st_size
