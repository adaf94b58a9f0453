"""A killed and resumed training ends with the same result as an uninterrupted one."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from textgate.components.contracts import Adapter, Distillation, LinearTraining, ModelBundle, TransformerTraining
from textgate.components.families import TrainingContext
from textgate.components.storage import Store
from textgate.components.train.checkpoints import StoreCheckpoints
from textgate.components.train.launch import TrainingJob, run
from textgate.components.train.train import train_bundle

START = """
import sys
from pathlib import Path
from textgate.components.contracts import TransformerTraining
from textgate.components.train.launch import TrainingJob, run

dataset, settings, bucket, folder = sys.argv[1:]
training = TransformerTraining.model_validate_json(settings)
run(TrainingJob(Path(dataset), "tiny", training, "code", bucket, Path(folder) / "model", Path(folder) / "logs"))
"""


def start(dataset: Path, training: TransformerTraining, store: Store, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", START, str(dataset), training.model_dump_json(), store.bucket, str(folder)]
    return subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True)


def kill_after(process: subprocess.Popen[str], line: str) -> None:
    """Wait until the process prints a line that starts with ``line``, then kill it with SIGKILL."""
    assert process.stdout
    lines = []
    for printed in process.stdout:
        lines.append(printed)
        if printed.startswith(line):
            break
    else:
        raise AssertionError("".join(lines))
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use one thread, since floating-point sums depend on how they are split over threads."""
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_killed_and_resumed_equals_never_killed(
    dataset: Path,
    training: TransformerTraining,
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    scalars: Callable[[Path], dict[str, dict[int, float]]],
) -> None:
    def job(name: str) -> TrainingJob:
        return TrainingJob(
            dataset, "tiny", training, "code", store.bucket, tmp_path / name / "model", tmp_path / name / "logs"
        )

    whole = run(job("whole"))
    assert "resuming" not in capsys.readouterr().out

    # The upload of a checkpoint is waited for before the next is saved, so the third, in epoch 2, is complete now.
    kill_after(start(dataset, training, store, tmp_path / "killed"), "epoch 1.75")
    assert not (tmp_path / "killed/model").exists()
    assert list(store.objects("checkpoints/"))

    resumed = run(job("resumed"))
    output = capsys.readouterr().out
    match = re.search(r"resuming at update (\d+) of 40", output)
    assert match
    assert int(match[1]) in (21, 28, 35), "the third checkpoint, or a later one"
    assert "epoch 0.35" not in output
    assert resumed == whole
    assert ModelBundle.load(tmp_path / "resumed/model") == whole
    assert list(store.objects("checkpoints/")) == []

    curve = scalars(tmp_path / "whole/logs")
    assert list(curve["train/loss"]) == [7, 10, 14, 20, 21, 28, 30, 35, 40]
    assert list(curve["eval/f1"]) == [7, 14, 21, 28, 35, 40]
    assert scalars(tmp_path / "resumed/logs") == curve


class Interrupted(Exception):  # noqa: N818
    pass


class InterruptedAfter(StoreCheckpoints):
    """Checkpoints that interrupt the training after a number of saves."""

    def __init__(self, store: Store, checkpoints: int) -> None:
        super().__init__(store, "checkpoints/one")
        self._left = checkpoints

    def save(self, folder: Path) -> None:
        super().save(folder)
        self._left -= 1
        if self._left == 0:
            self.wait()
            raise Interrupted


def test_an_adapter_on_a_4_bit_base_resumes_to_the_last_bit(
    dataset: Path, training: TransformerTraining, tiny_encoder: Path, store: Store, tmp_path: Path
) -> None:
    settings = training.model_copy(update={"epochs": 0.7, "adapter": Adapter(r=4, quantization="nf4")})
    whole = train_bundle(dataset, "tiny", settings, tmp_path / "whole", TrainingContext(tiny_encoder))
    with pytest.raises(Interrupted):
        train_bundle(
            dataset, "tiny", settings, tmp_path / "model", TrainingContext(tiny_encoder, InterruptedAfter(store, 1))
        )
    checkpoints = StoreCheckpoints(store, "checkpoints/one")
    assert (
        train_bundle(dataset, "tiny", settings, tmp_path / "model", TrainingContext(tiny_encoder, checkpoints)) == whole
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "optimizer"),
    [(None, "adamw_8bit"), (None, "paged_adamw_32bit"), (Adapter(r=64, quantization="int8"), "paged_adamw_8bit")],
    ids=["adamw_8bit", "paged_adamw_32bit", "int8-paged_adamw_8bit"],
)
# On a CPU the paged optimizers say that they are not paged, and 8-bit layers that they round float32 to float16.
@pytest.mark.filterwarnings("ignore:Paged optimizers", "ignore:MatMul8bitLt")
def test_the_optimizers_of_bitsandbytes_resume_to_the_last_bit(
    adapter: Adapter | None,
    optimizer: str,
    dataset: Path,
    training: TransformerTraining,
    tiny_encoder: Path,
    store: Store,
    tmp_path: Path,
) -> None:
    settings = training.model_copy(update={"epochs": 0.7, "adapter": adapter, "optimizer": optimizer})
    whole = train_bundle(dataset, "tiny", settings, tmp_path / "whole", TrainingContext(tiny_encoder))
    with pytest.raises(Interrupted):
        train_bundle(
            dataset, "tiny", settings, tmp_path / "model", TrainingContext(tiny_encoder, InterruptedAfter(store, 1))
        )
    checkpoints = StoreCheckpoints(store, "checkpoints/one")
    assert checkpoints.restore(tmp_path / "checkpoint")
    (state,) = (tmp_path / "checkpoint").rglob("training_state.safetensors")
    moments = [tensor for tensor in load_file(state).values() if tensor.numel() > 4_096]
    assert {str(tensor.dtype) for tensor in moments} >= {"torch.uint8" if "8bit" in optimizer else "torch.float32"}
    resumed = train_bundle(dataset, "tiny", settings, tmp_path / "model", TrainingContext(tiny_encoder, checkpoints))
    assert resumed == whole


def test_a_student_and_its_history_resume_to_the_last_bit(
    dataset: Path, training: TransformerTraining, tiny_encoder: Path, store: Store, tmp_path: Path
) -> None:
    train_bundle(dataset, "teacher", LinearTraining(family="linear", min_df=1), tmp_path / "teacher", TrainingContext())
    context = TrainingContext(tiny_encoder, bundles={"teacher@1": tmp_path / "teacher"})
    settings = training.model_copy(update={"epochs": 0.7, "distillation": Distillation(teacher="teacher@1")})
    whole = train_bundle(dataset, "tiny", settings, tmp_path / "whole", context)
    with pytest.raises(Interrupted):
        interrupted = replace(context, checkpoints=InterruptedAfter(store, 1))
        train_bundle(dataset, "tiny", settings, tmp_path / "model", interrupted)
    resumed = replace(context, checkpoints=StoreCheckpoints(store, "checkpoints/one"))
    assert train_bundle(dataset, "tiny", settings, tmp_path / "model", resumed) == whole
    assert [entry["epoch"] for entry in whole.history if "loss" in entry] == [0.35, 0.5, 0.7]
    assert [entry["epoch"] for entry in whole.history if "validation_f1" in entry] == [0.35, 0.7]
    alone = settings.model_copy(update={"distillation": None})
    assert train_bundle(dataset, "tiny", alone, tmp_path / "alone", TrainingContext(tiny_encoder)).files != whole.files


def test_early_stopping_resumes_its_patience(
    dataset: Path,
    training: TransformerTraining,
    tiny_encoder: Path,
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # With this learning rate nothing improves on the first evaluation, so the training stops after the fourth.
    settings = training.model_copy(update={"early_stopping": 3, "learning_rate": 1e-12})
    with pytest.raises(Interrupted):
        train_bundle(
            dataset, "tiny", settings, tmp_path / "model", TrainingContext(tiny_encoder, InterruptedAfter(store, 2))
        )
    assert list(tmp_path.iterdir()) == []
    train_bundle(
        dataset, "tiny", settings, tmp_path / "model", TrainingContext(tiny_encoder, InterruptedAfter(store, 3))
    )
    evaluations = [line.split(",")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert evaluations == ["epoch 0.35", "epoch 0.70", "epoch 1.05", "epoch 1.40"]


def test_an_unavailable_store_does_not_end_the_training(
    dataset: Path,
    training: TransformerTraining,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    settings = training.model_copy(update={"epochs": 1, "evaluate_every": 0.5})
    run(TrainingJob(dataset, "tiny", settings, "code", "gone", tmp_path / "model", tmp_path / "logs"))
    assert capsys.readouterr().out.count("the checkpoint was not saved") == 1
    assert ModelBundle.load(tmp_path / "model").family == "transformer"
