"""The extra ``serving``, installed alone in a new environment, predicts with a bundle."""

import json
import os
import re
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest
from families.served import serve

from textgate.components.contracts import Row, TextNormalizer, TransformerTraining, dataset_writer
from textgate.components.families import TrainingContext
from textgate.components.inference import load_bundle
from textgate.components.train.train import train_bundle

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_bundle_predicts_without_torch(tmp_path: Path, tiny_encoder: Path) -> None:
    with dataset_writer(tmp_path / "data", ["train", "validation", "test"]) as writer:
        for number in range(24):
            label = ["bad", "good"][number % 2]
            writer.add(
                "test" if number > 19 else "validation" if number > 15 else "train",
                Row(str(number), f"word{number} {label}", label),
            )
        writer.finish("generated", ["bad", "good"], normalizer=TextNormalizer())
    training = TransformerTraining(family="transformer", base_model="tiny", max_tokens=16, epochs=1)
    train_bundle(tmp_path / "data", "tiny", training, tmp_path / "trained", TrainingContext(tiny_encoder))
    serve(tmp_path / "data", tmp_path / "trained", tmp_path / "bundle", ["onnx-int8", "onnx-fp32"])
    texts = ["word1 good", "é 漢字", ""]
    expected = load_bundle(tmp_path / "bundle").predict_proba(texts)

    # The versions of the lock file, without hashes: pip cannot hash the folder of the project.
    locked = re.findall(r"^([\w.-]+==\S+)( ; [^\\]+)?", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)
    (tmp_path / "constraints.txt").write_text("\n".join(f"{pin}{marker.rstrip()}" for pin, marker in locked))
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "-c", tmp_path / "constraints.txt", f"{ROOT}[serving]"]
    subprocess.run(install, check=True, capture_output=True, cwd=tmp_path)

    script = f"""
import importlib.util, json
from textgate.components.inference import load_bundle
absent = ["torch", "transformers", "kfp", "sklearn"]
print(json.dumps([
    load_bundle({str(tmp_path / "bundle")!r}).predict_proba({texts!r}).tolist(),
    [name for name in absent if importlib.util.find_spec(name)],
]))
"""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    process = subprocess.run([python, "-c", script], capture_output=True, text=True, env=clean, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    probabilities, installed = json.loads(process.stdout)
    assert installed == []
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
