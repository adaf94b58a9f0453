"""Experiment tracking of the training loss and scores: TensorBoard files, Weights & Biases, MLflow."""

import copy
import os
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import (
    MLflowCallback,
    TensorBoardCallback,
    WandbCallback,
    is_mlflow_available,
    is_wandb_available,
)

from textgate.components.contracts import InputError


def tracking_callbacks(logs: Path | None) -> list[TrainerCallback]:
    """Return the Trainer callbacks of TensorBoard and of the tracking services that the environment configures.

    The clients of the services read their addresses and keys from the environment themselves.

    Args:
        logs: Folder for TensorBoard files; None writes none.

    Raises:
        InputError: If a service is configured but its client is not installed.
    """
    callbacks: list[TrainerCallback] = [_TensorBoard(logs)] if logs else []
    environment = os.environ
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_MODE") == "offline":
        if not is_wandb_available():
            raise _missing("WANDB_API_KEY or WANDB_MODE", "wandb")
        callbacks.append(WandbCallback())
    if environment.get("MLFLOW_TRACKING_URI"):
        if not is_mlflow_available():
            raise _missing("MLFLOW_TRACKING_URI", "mlflow")
        callbacks.append(MLflowCallback())
    return callbacks


def _missing(variable: str, package: str) -> InputError:
    return InputError(
        f"{variable} enables tracking, but {package} is not installed: pip install {package}, or unset it"
    )


class _TensorBoard(TensorBoardCallback):
    """TensorBoard callback that writes to one folder. A resumed training first repeats the entries logged before."""

    def __init__(self, logs: Path) -> None:
        super().__init__()
        self.logging_dir = str(logs)

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        super().on_train_begin(args, state, control, **others)
        for entry in state.log_history:
            past_state = copy.copy(state)
            past_state.global_step = entry["step"]
            super().on_log(args, past_state, control, {name: value for name, value in entry.items() if name != "step"})
