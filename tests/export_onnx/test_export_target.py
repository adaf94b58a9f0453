"""The table of export targets and the names that a recipe accepts."""

from typing import get_args

from textgate.components.contracts import Export
from textgate.components.contracts.export_target import EXPORT_TARGETS, ExportTargetName


def test_every_name_that_a_recipe_accepts_is_a_target() -> None:
    assert list(EXPORT_TARGETS) == list(get_args(ExportTargetName))
    assert Export(targets=list(get_args(ExportTargetName))).targets == list(EXPORT_TARGETS)


def test_only_hugging_face_folders_need_torch() -> None:
    assert [name for name, target in EXPORT_TARGETS.items() if target.needs_torch] == ["hf", "hf-nf4"]
    assert Export(targets=["onnx-int8", "hf"]).needs_torch
    assert not Export(targets=["onnx-int8", "onnx-fp32"]).needs_torch


def test_a_lower_precision_may_differ_more_from_the_trained_model() -> None:
    tolerance = {name: target.parity_tolerance for name, target in EXPORT_TARGETS.items()}
    assert tolerance["onnx-fp32"] == tolerance["hf"] < tolerance["onnx-fp16"] < tolerance["onnx-int8"]
