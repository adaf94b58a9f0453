"""The benchmark of GPUs runs: on tiny models and the CPU, with the recipes' settings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks.gpu import CASES, measure, serving_speed

from textgate.components.contracts import ModelBundle

TINY: dict[str, Any] = {
    "vocab_size": 1_100,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Paged optimizers", "ignore:MatMul8bitLt")
@pytest.mark.parametrize("name", ["Stella 1.5B QLoRA", "8B int8, paged_adamw_8bit", "bert-base, adamw_8bit"])
def test_a_case_trains_with_the_settings_of_its_recipe(name: str, tmp_path: Path) -> None:
    case = replace(CASES[name], shape=CASES[name].shape | TINY, tokens=16, texts=32)
    assert measure(case, tmp_path) is None, "there is no GPU"
    settings = ModelBundle.load(tmp_path / "trained").recipe["train"]
    assert settings["max_tokens"] == 16
    if name == "Stella 1.5B QLoRA":
        assert (settings["pooling"], settings["adapter"]["quantization"]) == ("attention", "nf4")
    else:
        assert "8bit" in settings["optimizer"]
    assert serving_speed(tmp_path).startswith("serving was not measured: --device cuda needs ONNX Runtime with CUDA")
