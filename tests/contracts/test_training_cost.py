"""Cost of a training with those of the models that it builds on, and the file that keeps it."""

from pathlib import Path

import pytest

from textgate.components.contracts import EnsembleTraining, InputError, LinearTraining, TrainingCost
from textgate.components.contracts.bundle import LinearRuntime, ModelBundle
from textgate.components.contracts.earlier_trainings import earlier_trainings, with_earlier
from textgate.components.contracts.normalizer import TextNormalizer
from textgate.components.contracts.training_cost import (
    EarlierTraining,
    copy_training_cost,
    read_training_cost,
    write_training_cost,
)

TEACHER = EarlierTraining(bundle="big", role="teacher", cost=TrainingCost(seconds=3_600, peak_memory=9))
STUDENT = TrainingCost(seconds=60, cpu_seconds=100, peak_memory=5, accelerators=1, earlier=[TEACHER])
ENSEMBLE = TrainingCost(
    seconds=2,
    cpu_seconds=1,
    peak_memory=1,
    accelerators=0,
    earlier=[
        EarlierTraining(bundle="student", role="member", cost=STUDENT),
        EarlierTraining(bundle="words", role="member", cost=TrainingCost(seconds=8, cpu_seconds=16, peak_memory=2)),
    ],
)
MEMBERS = EnsembleTraining.model_validate({"family": "ensemble", "members": [{"bundle": "a"}, {"bundle": "b"}]})


def bundle(folder: Path) -> ModelBundle:
    folder.mkdir()
    (folder / "weights").write_bytes(b"1")
    return ModelBundle(
        name="films",
        family="linear",
        runtime=LinearRuntime(ngrams=(1, 1), sublinear=True),
        labels=["a", "b"],
        normalizer=TextNormalizer(),
        recipe={},
        metrics={},
        dataset="0" * 64,
        versions={},
    ).write(folder)


def test_the_total_of_an_ensemble_includes_its_members_and_no_teacher() -> None:
    assert ENSEMBLE.total_seconds == 2 + 60 + 8
    assert [part.cpu_seconds for part in ENSEMBLE.parts] == [1, 100, 16]
    assert ENSEMBLE.unknown_members == []
    assert ENSEMBLE.teachers == [TEACHER]
    assert ENSEMBLE.note() == ", including its members student and words, without its teacher big (1h00m)"
    assert STUDENT.total_seconds == 60
    assert STUDENT.note(str.upper) == ", without its teacher BIG (1h00m)"
    assert TrainingCost(seconds=1, peak_memory=1).note() == ""
    assert TrainingCost.model_validate_json(ENSEMBLE.model_dump_json()) == ENSEMBLE


def test_trainings_without_a_record_are_named_as_unknown() -> None:
    old = with_earlier(TrainingCost(seconds=5, peak_memory=1), MEMBERS)
    assert (old.total_seconds, old.unknown_members) == (5, ["a", "b"])
    assert old.note() == ", without its members a and b of unknown cost"
    assert with_earlier(ENSEMBLE, MEMBERS) is ENSEMBLE
    linear = TrainingCost(seconds=5, peak_memory=1)
    assert with_earlier(linear, LinearTraining(family="linear")) == linear
    one = TrainingCost(seconds=5, peak_memory=1, earlier=earlier_trainings(MEMBERS, {"a": STUDENT}.get))
    assert one.note().startswith(", including its member a, without its member b of unknown cost, without its teacher")
    assert one.total_seconds == 65
    taught = TrainingCost(seconds=5, peak_memory=1, earlier=[EarlierTraining(bundle="big", role="teacher", cost=None)])
    assert taught.note() == ", without its teacher big (of unknown cost)"
    assert taught.unknown_members == []


def test_the_file_of_a_bundle_changes_neither_its_fingerprint_nor_its_manifest(tmp_path: Path) -> None:
    written = bundle(tmp_path / "1")
    assert read_training_cost(tmp_path / "1") is None
    write_training_cost(tmp_path / "1", ENSEMBLE)
    assert read_training_cost(tmp_path / "1") == ENSEMBLE
    loaded = ModelBundle.load(tmp_path / "1")
    assert (loaded, loaded.size) == (written, 1)
    assert loaded.write(tmp_path / "1") == written
    copy = bundle(tmp_path / "2")
    copy_training_cost(tmp_path / "1", tmp_path / "2")
    assert read_training_cost(tmp_path / "2") == ENSEMBLE
    assert copy.fingerprint == written.fingerprint


@pytest.mark.parametrize("content", [b"{}", b"\xff", b"", b'{"seconds": 1, "peak_memory": 1, "other": 1}'])
def test_a_damaged_file_is_an_input_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "training_cost.json").write_bytes(content)
    with pytest.raises(InputError, match=r"training_cost\.json"):
        read_training_cost(tmp_path)
