import subprocess
import sys
from pathlib import Path

import pytest

from textgate.components.contracts import InputError, ModelBundle, OnnxRuntime
from textgate.components.inference import load_bundle


def test_a_damaged_bundle_is_not_loaded(bundle_folder: Path) -> None:
    (bundle_folder / "weights.bin").write_bytes(b"Weights")
    with pytest.raises(InputError, match=r"weights\.bin has been changed"):
        load_bundle(bundle_folder)


def test_an_unreadable_graph_is_one_sentence(bundle_folder: Path) -> None:
    (bundle_folder / "model.onnx").write_bytes(b"not a graph")
    (bundle_folder / "tokenizer.json").write_text("{}")
    runtime = OnnxRuntime(
        precision="fp32",
        max_tokens=8,
        opset=20,
        producer="pytorch 2.13.0",
        inputs={"input_ids": ["rows", "tokens"]},
        outputs={"logits": ["rows", 2]},
    )
    manifest = ModelBundle.parse((bundle_folder / "bundle.json").read_bytes(), "here")
    manifest.model_copy(update={"runtime": runtime}).write(bundle_folder)
    with pytest.raises(InputError, match="cannot be opened by ONNX Runtime"):
        load_bundle(bundle_folder)


def test_inference_needs_neither_torch_nor_transformers_nor_kfp() -> None:
    script = """
import sys
from textgate.components import storage
from textgate.components.inference import ensemble, linear, onnx
print(sorted({"torch", "transformers", "kfp", "sklearn", "onnx"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
