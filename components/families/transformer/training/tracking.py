"""Where a training's loss and scores can be followed: TensorBoard files, Weights & Biases, MLflow."""

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


def trackers(logs: Path | None) -> list[TrainerCallback]:
    """What tells of the training: TensorBoard files in ``logs``, and the services whose variables are set.

    The services read their addresses and keys from the environment themselves.

    Raises:
        InputError: a service is asked for whose client is not installed.
    """
    chosen: list[TrainerCallback] = [_TensorBoard(logs)] if logs else []
    environment = os.environ
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_MODE") == "offline":
        if not is_wandb_available():
            raise _missing("WANDB_API_KEY or WANDB_MODE", "wandb")
        chosen.append(WandbCallback())
    if environment.get("MLFLOW_TRACKING_URI"):
        if not is_mlflow_available():
            raise _missing("MLFLOW_TRACKING_URI", "mlflow")
        chosen.append(MLflowCallback())
    return chosen


def _missing(variable: str, package: str) -> InputError:
    return InputError(
        f"{variable} asks for tracking, but the step's image holds no {package}: pip install {package}, or unset it"
    )


class _TensorBoard(TensorBoardCallback):
    """Writes into one folder, and for a resumed training also what was logged before it was killed."""

    def __init__(self, logs: Path) -> None:
        super().__init__()
        self.logging_dir = str(logs)

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        super().on_train_begin(args, state, control, **others)
        for entry in state.log_history:
            then = copy.copy(state)
            then.global_step = entry["step"]
            super().on_log(args, then, control, {name: value for name, value in entry.items() if name != "step"})
