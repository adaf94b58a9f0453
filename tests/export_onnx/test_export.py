"""Every target is made, measured against the trained model, and the best that keeps F1 is served."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from textgate.components.contracts import (
    Dataset,
    Estimate,
    Evaluation,
    Export,
    Gate,
    InputError,
    ModelBundle,
    OnnxRuntime,
    TransformerTraining,
)
from textgate.components.contracts.measurement import Measurement, Measurements, Speed
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.export_onnx import measure, targets
from textgate.components.export_onnx.export_onnx import export_bundle
from textgate.components.export_onnx.measure import choose
from textgate.components.families import TrainingContext, onnx_files, open_predictor
from textgate.components.gate.rules import judge_served
from textgate.components.inference import load_bundle
from textgate.components.train.train import train_bundle

TRAINING = {"family": "transformer", "base_model": "tiny", "max_tokens": 32, "batch_size": 8, "learning_rate": 3e-3}
ONNX = ["onnx-fp32", "onnx-fp16", "onnx-int8", "onnx-int4"]
ALL = [*ONNX, "hf", "hf-nf4"]


@pytest.fixture(scope="module")
def trained(dataset: Dataset, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    training = TransformerTraining.model_validate({**TRAINING, "epochs": 6})
    train_bundle(dataset.path, "tiny", training, folder / "trained", TrainingContext(tiny_encoder))
    evaluate_bundle(dataset.path, folder / "trained", folder / "judged")
    return folder / "trained"


def exported(dataset: Dataset, trained: Path, output: Path, **settings: Any) -> tuple[ModelBundle, Measurements]:
    return export_bundle(trained, dataset.path, trained.with_name("judged"), Export.model_validate(settings), output)


def test_every_target_is_measured_and_stays_in_the_bundle(dataset: Dataset, trained: Path, tmp_path: Path) -> None:
    bundle, measured = exported(dataset, trained, tmp_path / "exported", targets=ALL)
    assert [found.target for found in measured.targets] == ALL
    of = {found.target: found for found in measured.targets}
    # What each precision may differ by from torch's own answers.
    tolerances = {"onnx-fp32": 1e-5, "onnx-fp16": 1e-3, "onnx-int8": 0.05, "onnx-int4": 0.1, "hf": 1e-6, "hf-nf4": 0.1}
    for target, tolerance in tolerances.items():
        assert of[target].parity < tolerance, target
        assert of[target].agreement > 0.95, target
        assert of[target].refused is None
    assert of["onnx-int8"].bytes < of["onnx-fp16"].bytes < of["onnx-fp32"].bytes
    assert of["onnx-int4"].bytes < of["onnx-fp32"].bytes
    for found in measured.targets:
        assert {(speed.tokens, speed.batch) for speed in found.speeds} == {(16, 1), (16, 8), (16, 32)}
        assert 20e6 < found.peak_memory < 2e9
    assert set(bundle.alternatives) == set(ALL) - {measured.served}

    # Each of them answers, from the files that are in the bundle.
    assert measured.served.startswith("onnx-")
    _, texts, _ = dataset.columns("test")
    served = load_bundle(tmp_path / "exported").predict_proba(texts).argmax(axis=1)
    for target, runtime in bundle.alternatives.items():
        other = bundle.model_copy(update={"runtime": runtime})
        answers = open_predictor(tmp_path / "exported", other.write(tmp_path / "exported")).predict_proba(texts)
        if isinstance(runtime, OnnxRuntime):
            assert runtime.precision == target.removeprefix("onnx-")
        else:
            assert runtime.folder == target
        assert np.mean(answers.argmax(axis=1) == served) > 0.95

    measured.write(tmp_path / "measurements.json")
    assert Measurements.open(tmp_path / "measurements.json") == measured


def corrupt_scales(target: str, full: Path, output: Path, kept: Any = (), ranges: Any = None) -> None:
    """What ``make_target`` does, and then every other scale of the 8-bit weights is far off."""
    targets_made.append((target, len(kept), ranges is None))
    real_make_target(target, full, output, kept, ranges)
    if target != "onnx-int8":
        return
    graph = onnx.load(output)
    for tensor in graph.graph.initializer:
        if "scale" in tensor.name and tensor.data_type == onnx.TensorProto.FLOAT:
            scales = numpy_helper.to_array(tensor).copy().reshape(-1)
            scales[::2] *= 30
            tensor.CopyFrom(numpy_helper.from_array(scales.reshape(tensor.dims), tensor.name))
    onnx.save(graph, output)


real_make_target = targets.make_target
targets_made: list[tuple[str, int, bool]] = []


def test_a_harmful_quantization_is_not_served_and_where_it_is_all_there_is_gate_2_catches_it(
    dataset: Dataset, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(targets, "make_target", corrupt_scales)
    targets_made.clear()
    bundle, measured = exported(dataset, trained, tmp_path / "beside", targets=["onnx-int8", "onnx-fp32"])
    assert measured.served == "onnx-fp32"
    assert isinstance(bundle.runtime, OnnxRuntime)
    assert bundle.runtime.precision == "fp32"
    assert "onnx-int8 loses " in str(measured.targets[0].refused)
    # Ever more layers were spared first, then numbers were given scales by the block.
    spared = [(count, blocks) for target, count, blocks in targets_made if target == "onnx-int8"]
    assert [blocks for _, blocks in spared] == [False, False, False, True]
    assert [count for count, _ in spared] == [*sorted({count for count, _ in spared[:3]}), 0]
    said = capsys.readouterr().out
    assert "onnx-int8 with 15% of its products in full precision loses too much: agreement 0." in said
    assert "onnx-int8 with one scale a block loses too much" in said

    _, measured = exported(dataset, trained, tmp_path / "alone", targets=["onnx-int8"])
    assert measured.targets[0].refused is not None
    served = evaluate_bundle(dataset.path, tmp_path / "alone", tmp_path / "served")
    reference = evaluate_bundle(dataset.path, trained, tmp_path / "reference")
    decision = judge_served(served, reference, measured, None, Gate(min_f1=0))
    assert [rule.name for rule in decision.rules if not rule.passed] == ["min_agreement", "export_loss"]


def test_a_flipped_byte_is_named(dataset: Dataset, trained: Path, tmp_path: Path) -> None:
    exported(dataset, trained, tmp_path / "exported", targets=["onnx-int8"])
    path = tmp_path / "exported" / "onnx-int8" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"does not match its manifest: onnx-int8/model.onnx has been changed"):
        load_bundle(tmp_path / "exported")


def measurement(target: str, rate: float, size: int, f1: float = 0.9, refused: str | None = None) -> Measurement:
    estimate = Estimate(value=f1, low=f1, high=f1)
    return Measurement(
        target=target,
        bytes=size,
        parity=0,
        agreement=1,
        f1=estimate,
        f1_difference=estimate,
        speeds=[Speed(batch=8, tokens=64, milliseconds=8_000 / rate)],
        peak_memory=1,
        refused=refused,
    )


def test_the_fastest_that_keeps_f1_is_served_and_of_two_about_as_fast_the_smaller() -> None:
    slow, fast = measurement("slow", 100, 10), measurement("fast", 300, 40)
    small = measurement("small", 280, 20)
    assert choose([slow, fast]) is fast
    assert choose([slow, fast, small]) is small
    harmful = measurement("harmful", 900, 5, refused="it loses")
    assert choose([slow, fast, small, harmful]) is small
    worse = measurement("worse", 900, 5, f1=0.5, refused="it loses")
    assert choose([worse, harmful]) is harmful
    # What another runtime than this package's has to serve comes last.
    folder = measurement("hf", 900, 5)
    assert choose([folder, slow, harmful]) is slow
    assert choose([folder, harmful]) is folder


def test_a_bundle_that_another_runtime_serves_is_judged_like_any_other(
    dataset: Dataset, trained: Path, tmp_path: Path
) -> None:
    bundle, measured = exported(dataset, trained, tmp_path / "exported", targets=["hf"])
    assert measured.served == "hf"
    assert bundle.alternatives == {}
    evaluation = evaluate_bundle(dataset.path, tmp_path / "exported", tmp_path / "served")
    reference = Evaluation.open(trained.with_name("judged"))
    np.testing.assert_array_equal(evaluation.probabilities.argmax(axis=1), reference.probabilities.argmax(axis=1))
    assert evaluation.manifest.calibration_error_before == pytest.approx(
        reference.manifest.metrics["calibration_error"].value
    )
    with pytest.raises(InputError, match="answers with 'transformers', which is not served"):
        load_bundle(tmp_path / "exported")


def test_a_graph_whose_weights_lie_in_a_file_of_their_own_is_made_into_every_target(
    dataset: Dataset, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over 2 GiB, where a protobuf file ends."""
    monkeypatch.setattr(onnx_files, "_LARGEST_GRAPH", 0)
    monkeypatch.setattr(measure, "_PARITY", dict.fromkeys(measure._PARITY, -1.0))
    _, measured = exported(dataset, trained, tmp_path / "exported", targets=ONNX)
    assert all(found.agreement > 0.9 for found in measured.targets)
    assert (tmp_path / "exported" / "onnx-fp32" / "model.onnx.data").exists()
