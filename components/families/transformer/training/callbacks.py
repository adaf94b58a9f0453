"""Trainer callbacks: complete loss log, checkpoints in the store, progress lines."""

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from textgate.components.contracts import FineTuning, Progress
from textgate.components.families import Checkpoints
from textgate.components.families.distributed import barrier, is_main_process
from textgate.components.families.transformer.training.training_state import pack_checkpoint


class LogBeforeCheckpoint(TrainerCallback):
    """Callback that logs the loss before each checkpoint and at the end, so that the log covers every update.

    A checkpoint does not contain the losses that were accumulated since the last log entry.
    """

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Request a log entry if the Trainer is about to save or stop."""
        control.should_log |= control.should_save or control.should_training_stop


class StoreCheckpoint(TrainerCallback):
    """Callback that uploads the Trainer's checkpoints, the last and the best, so that they outlive the process."""

    def __init__(self, checkpoints: Checkpoints, scratch: Path) -> None:
        self._checkpoints, self._scratch = checkpoints, scratch

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Pack and upload the folders in the Trainer's output folder."""
        barrier()  # every process writes its own random state
        # After the last update there is nothing to resume.
        if not is_main_process() or control.should_training_stop:
            return
        stored = self._scratch / "stored"
        for checkpoint in Path(args.output_dir).glob("checkpoint-*"):
            pack_checkpoint(checkpoint, stored / checkpoint.name)
        self._checkpoints.save(stored)


class PrintProgress(TrainerCallback):
    """Callback that prints trained rows, epoch, loss and F1 as ``Progress`` lines."""

    def __init__(self, training: FineTuning) -> None:
        self._training = training
        self._progress: Progress | None = None
        self._loss = self._f1 = ""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Keep the loss for the next line."""
        if logs and "loss" in logs:
            self._loss = f", loss {float(logs['loss']):.3f}"

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **_: Any
    ) -> None:
        """Print the validation F1."""
        if metrics and state.is_world_process_zero:
            self._f1 = f", validation F1 {metrics['eval_f1']:.4f}"
            print(f"epoch {state.epoch:.2f}{self._loss}{self._f1}", flush=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Print a progress line, at most one a second."""
        if not state.is_world_process_zero:
            return
        if self._progress is None:
            self._progress = Progress(total=state.max_steps * self._training.batch_size)
        note = f"epoch {state.epoch:.2f} of {self._training.epochs:g}{self._loss}{self._f1}"
        self._progress.update(state.global_step * self._training.batch_size, note)
