"""Training in two processes, as on two GPUs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from textgate.components.contracts import (
    Distillation,
    InputError,
    LinearTraining,
    ModelBundle,
    TransformerTraining,
    dataset_writer,
)
from textgate.components.families import TrainingContext
from textgate.components.families.distributed import world_size_for
from textgate.components.storage import Store
from textgate.components.train.launch import TrainingJob, run
from textgate.components.train.train import train_bundle


@pytest.mark.slow  # the same with processes of a TrainJob: test_multi_node.py
@pytest.mark.parametrize("distilled", [False, True])
def test_two_processes_reach_the_loss_of_one(
    distilled: bool,
    dataset: Path,
    training: TransformerTraining,
    without_dropout: Path,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    scalars: Callable[[Path], dict[str, dict[int, float]]],
) -> None:
    settings = training.model_copy(update={"base_model": str(without_dropout), "micro_batch_size": None, "epochs": 1})
    if distilled:
        teacher = LinearTraining(family="linear", min_df=1)
        train_bundle(dataset, "teacher", teacher, tmp_path / "teacher", TrainingContext())
        settings = settings.model_copy(update={"distillation": Distillation(teacher=str(tmp_path / "teacher"))})
    bundles, curves = [], []
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for processes in ("1", "2"):
        monkeypatch.setenv("TEXTGATE_PROCESSES", processes)
        folder = tmp_path / processes
        bundles.append(
            run(TrainingJob(dataset, "tiny", settings, "code", store.bucket, folder / "model", folder / "logs"))
        )
        curves.append(scalars(folder / "logs"))
    assert curves[0].keys() == curves[1].keys()
    for tag in curves[0]:
        assert curves[1][tag] == pytest.approx(curves[0][tag], rel=1e-3, abs=1e-4), tag
    assert bundles[1].metrics == pytest.approx(bundles[0].metrics, abs=1e-4)
    assert ModelBundle.load(tmp_path / "2/model") == bundles[1]
    output = capfd.readouterr().out
    assert "8 texts an update, 4 at once on 2 device(s)" in output
    assert output.count("asking the teacher") == (2 if distilled else 0), "one process per training runs the teacher"
    evaluations = [line for line in output.splitlines() if line.startswith("epoch 0.35")]
    assert len(evaluations) == 2, "one process per training prints"
    assert list(store.objects("checkpoints/")) == []


def test_an_input_error_in_several_processes_is_one_sentence(
    training: TransformerTraining, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTGATE_PROCESSES", "2")
    with dataset_writer(tmp_path / "raw", ["train", "validation"]) as writer:
        writer.finish("made up", ["bad", "good"])
    with pytest.raises(InputError, match="has not been preprocessed: it carries no normaliser") as error:
        run(
            TrainingJob(tmp_path / "raw", "tiny", training, "code", store.bucket, tmp_path / "model", tmp_path / "logs")
        )
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()


def test_an_invalid_number_of_processes_is_rejected(
    training: TransformerTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTGATE_PROCESSES", "3")
    with pytest.raises(InputError, match=r"train\.batch_size \(8\) must be a multiple of the 3 devices"):
        world_size_for(training)
    for wrong in ("0", "two", "", "-1"):
        monkeypatch.setenv("TEXTGATE_PROCESSES", wrong)
        with pytest.raises(InputError, match="TEXTGATE_PROCESSES must be a number of processes"):
            world_size_for(training)
    assert world_size_for(LinearTraining(family="linear")) == 1
