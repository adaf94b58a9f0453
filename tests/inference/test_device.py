"""ONNX Runtime on a GPU. The refusals are real; without a GPU, sessions that succeed run on the CPU and say CUDA."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner

from textgate.components.contracts import InputError, ModelBundle
from textgate.components.inference import device, load_bundle
from textgate.pipelines.cli import main
from textgate.serving.loading import open_version

BUNDLE = Path(__file__).parents[1] / "compatibility/v010/store/models/v010-onnx/versions/526a8d5035c2"
"""A BERT whose served graph is int8."""
CUDA = "CUDAExecutionProvider"
TEXTS = ["a moving film", "", "dull " * 300, "a wonderful story"]


@pytest.fixture
def cuda_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime that was built with CUDA, on a machine without a GPU."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)


@pytest.fixture
def gpu(cuda_is_available: None, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The providers of each session that was created."""
    created: list[list[str]] = []

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, *arguments: Any, providers: list[str], **others: Any) -> None:
            created.append(providers)
            super().__init__(*arguments, providers=["CPUExecutionProvider"], **others)

        def get_providers(self) -> list[str]:
            return created[-1]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return created


def fp32_bundle(folder: Path) -> Path:
    """Copy the bundle with a manifest that calls its graph fp32."""
    folder.mkdir()
    for path in BUNDLE.rglob("*"):
        if path.is_file():
            copy = folder / path.relative_to(BUNDLE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    bundle = ModelBundle.load(folder)
    runtime = bundle.runtime.model_copy(update={"precision": "fp32"})
    bundle.model_copy(update={"runtime": runtime}).write(folder)
    return folder


def test_serve_on_a_gpu_is_refused_at_the_start_where_onnx_runtime_has_no_cuda(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["serve", "--device", "cuda", "--workspace", str(tmp_path)])
    assert result.exit_code == 2, result.output
    assert "use the image serving-gpu, or install onnxruntime-gpu instead of onnxruntime" in result.output


@pytest.mark.usefixtures("cuda_is_available")
def test_a_session_that_fell_back_to_the_cpu_is_refused() -> None:
    with pytest.raises(InputError, match="needs an NVIDIA GPU, and ONNX Runtime finds none"):
        device.check_cuda()


@pytest.mark.parametrize("load", [load_bundle, lambda folder, **device: open_version("m", "526a", folder, 2, **device)])
def test_a_graph_for_cpus_is_refused_on_a_gpu_with_the_target_to_train_for(load: Any, gpu: list[list[str]]) -> None:
    with pytest.raises(InputError, match=r"int8 weights, which are for CPUs: .*export\.targets: \[onnx-fp16\]"):
        load(BUNDLE, device="cuda")
    assert gpu == []


def test_a_gpu_predicts_as_the_cpu_does(gpu: list[list[str]], tmp_path: Path) -> None:
    folder = fp32_bundle(tmp_path / "bundle")
    expected = load_bundle(folder, threads=1).predict_proba(TEXTS)
    assert gpu.pop() == ["CPUExecutionProvider"]
    device.check_cuda()
    served = open_version("m", ModelBundle.load(folder).fingerprint[:12], folder, 2, "cuda")
    assert gpu == [[CUDA, "CPUExecutionProvider"]] * 2, "the check, and one session for all threads"
    np.testing.assert_allclose(served.parallel.predict_proba(TEXTS), expected, atol=1e-6)
