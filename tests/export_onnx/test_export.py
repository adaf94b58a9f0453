"""Every target is exported and measured against the trained model, and the best that keeps F1 is served."""

import re
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
    export_target,
)
from textgate.components.contracts.export_target import EXPORT_TARGETS, ExportTarget
from textgate.components.contracts.measurement import Measurement, Measurements, Speed
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.export_onnx import onnx_graphs
from textgate.components.export_onnx.export_onnx import export_bundle
from textgate.components.export_onnx.measure import choose_served
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
    evaluate_bundle(dataset.path, folder / "trained", folder / "evaluation")
    return folder / "trained"


def exported(dataset: Dataset, trained: Path, output: Path, **settings: Any) -> tuple[ModelBundle, Measurements]:
    return export_bundle(trained, dataset.path, Export.model_validate(settings), output)


def test_every_target_is_measured_and_stays_in_the_bundle(dataset: Dataset, trained: Path, tmp_path: Path) -> None:
    bundle, measured = exported(dataset, trained, tmp_path / "exported", targets=ALL)
    assert [found.target for found in measured.targets] == ALL
    by_target = {found.target: found for found in measured.targets}
    # Mean absolute difference from the probabilities on torch.
    tolerances = {"onnx-fp32": 1e-5, "onnx-fp16": 1e-3, "onnx-int8": 0.05, "onnx-int4": 0.1, "hf": 1e-6, "hf-nf4": 0.1}
    for target, tolerance in tolerances.items():
        assert by_target[target].parity < tolerance, target
        assert by_target[target].agreement > 0.95, target
        assert by_target[target].refused is None
    assert by_target["onnx-int8"].bytes < by_target["onnx-fp16"].bytes < by_target["onnx-fp32"].bytes
    assert by_target["onnx-int4"].bytes < by_target["onnx-fp32"].bytes
    for found in measured.targets:
        assert {(speed.tokens, speed.batch) for speed in found.speeds} == {(16, 1), (16, 8), (16, 32)}
        assert 20e6 < found.peak_memory < 2e9
        assert found.machine
    assert re.fullmatch(r".+, \d+ cores?", by_target["onnx-fp32"].machine or "")
    assert set(bundle.alternatives) == set(ALL) - {measured.served}

    # Each alternative predicts from the files in the bundle.
    assert measured.served.startswith("onnx-")
    _, texts, _ = dataset.columns("test")
    served = load_bundle(tmp_path / "exported").predict_proba(texts).argmax(axis=1)
    for target, runtime in bundle.alternatives.items():
        other = bundle.model_copy(update={"runtime": runtime})
        answers = open_predictor(tmp_path / "exported", other.write(tmp_path / "exported")).predict_proba(texts)
        if isinstance(runtime, OnnxRuntime):
            assert runtime.precision == EXPORT_TARGETS[target].precision
        else:
            assert runtime.folder == target
        assert np.mean(answers.argmax(axis=1) == served) > 0.95

    measured.write(tmp_path / "measurements.json")
    assert Measurements.open(tmp_path / "measurements.json") == measured


def write_graph_with_wrong_scales(
    target: ExportTarget, source: Path, output: Path, excluded_nodes: Any = (), ranges: Any = None
) -> None:
    """Call ``write_graph``, then multiply every other scale of int8 weights by 30."""
    written.append((target.name, len(excluded_nodes), ranges is None))
    real_write_graph(target, source, output, excluded_nodes, ranges)
    if target.precision != "int8":
        return
    graph = onnx.load(output)
    for tensor in graph.graph.initializer:
        if "scale" in tensor.name and tensor.data_type == onnx.TensorProto.FLOAT:
            scales = numpy_helper.to_array(tensor).copy().reshape(-1)
            scales[::2] *= 30
            tensor.CopyFrom(numpy_helper.from_array(scales.reshape(tensor.dims), tensor.name))
    onnx.save(graph, output)


real_write_graph = onnx_graphs.write_graph
written: list[tuple[str, int, bool]] = []
"""Target, number of excluded nodes, and whether the scales are block-wise, of each graph that was written."""


def test_a_harmful_quantization_is_not_served_and_gate_2_rejects_it_if_there_is_no_other_target(
    dataset: Dataset, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnx_graphs, "write_graph", write_graph_with_wrong_scales)
    written.clear()
    bundle, measured = exported(dataset, trained, tmp_path / "beside", targets=["onnx-int8", "onnx-fp32"])
    assert measured.served == "onnx-fp32"
    assert isinstance(bundle.runtime, OnnxRuntime)
    assert bundle.runtime.precision == "fp32"
    assert "onnx-int8 loses " in str(measured.targets[0].refused)
    # More and more nodes were excluded, then block-wise scales were tried.
    schemes = [(excluded, blocks) for target, excluded, blocks in written if target == "onnx-int8"]
    assert [blocks for _, blocks in schemes] == [False, False, False, True]
    assert [excluded for excluded, _ in schemes] == [*sorted({excluded for excluded, _ in schemes[:3]}), 0]
    printed = capsys.readouterr().out
    assert "onnx-int8 with 15% of its products in full precision loses too much: agreement 0." in printed
    assert "onnx-int8 with one scale per block loses too much" in printed

    _, measured = exported(dataset, trained, tmp_path / "alone", targets=["onnx-int8"])
    assert measured.targets[0].refused is not None
    served = evaluate_bundle(dataset.path, tmp_path / "alone", tmp_path / "served")
    reference = evaluate_bundle(dataset.path, trained, tmp_path / "reference")
    decision = judge_served(served, reference, measured, None, Gate(min_f1=0, beats_constant=False))
    assert [rule.name for rule in decision.rules if not rule.passed] == ["min_agreement", "export_loss"]


def test_the_error_names_the_file_with_a_flipped_byte(dataset: Dataset, trained: Path, tmp_path: Path) -> None:
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


def test_the_fastest_target_that_keeps_f1_is_served_or_the_smaller_of_two_equally_fast_ones() -> None:
    slow, fast = measurement("onnx-fp32", 100, 10), measurement("onnx-fp16", 300, 40)
    small = measurement("onnx-int8", 280, 20)
    assert choose_served([slow, fast]) is fast
    assert choose_served([slow, fast, small]) is small
    harmful = measurement("onnx-int4", 900, 5, refused="it loses")
    assert choose_served([slow, fast, small, harmful]) is small
    worse = measurement("onnx-int4", 900, 5, f1=0.5, refused="it loses")
    assert choose_served([worse, harmful]) is harmful
    # A target that needs torch is the last choice.
    folder = measurement("hf", 900, 5)
    assert choose_served([folder, slow, harmful]) is slow
    assert choose_served([folder, harmful]) is folder


def test_a_bundle_that_needs_another_server_is_evaluated_like_any_other(
    dataset: Dataset, trained: Path, tmp_path: Path
) -> None:
    bundle, measured = exported(dataset, trained, tmp_path / "exported", targets=["hf"])
    assert measured.served == "hf"
    assert bundle.alternatives == {}
    evaluation = evaluate_bundle(dataset.path, tmp_path / "exported", tmp_path / "served")
    reference = Evaluation.open(trained.with_name("evaluation"))
    np.testing.assert_array_equal(evaluation.probabilities.argmax(axis=1), reference.probabilities.argmax(axis=1))
    assert evaluation.manifest.calibration_error_before == pytest.approx(
        reference.manifest.metrics["calibration_error"].value
    )
    with pytest.raises(InputError, match="has the runtime 'transformers', which cannot be served"):
        load_bundle(tmp_path / "exported")


def test_a_graph_with_external_weights_is_exported_to_every_target(
    dataset: Dataset, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """External weights are needed over 2 GiB, the size limit of a protobuf file."""
    monkeypatch.setattr(onnx_files, "_LARGEST_GRAPH", 0)
    monkeypatch.setattr(export_target, "PARITY_TOLERANCE", dict.fromkeys(export_target.PARITY_TOLERANCE, -1.0))
    _, measured = exported(dataset, trained, tmp_path / "exported", targets=ONNX)
    assert all(found.agreement > 0.9 for found in measured.targets)
    assert (tmp_path / "exported" / "onnx-fp32" / "model.onnx.data").exists()
