"""Trainer callbacks that log the training loss and scores: TensorBoard files, and the tracking services."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import TensorBoardCallback

from textgate.components.families import TrainingContext


def tracking_callbacks(context: TrainingContext) -> list[TrainerCallback]:
    """Return the Trainer callbacks that log to where ``context`` says: TensorBoard files and tracking services."""
    return [
        *([_TensorBoard(context.logs)] if context.logs else []),
        *([_Track(context.track)] if context.track else []),
    ]


class _Track(TrainerCallback):
    """Callback that passes the numbers of each log entry on, by the names that transformers' own callbacks use."""

    def __init__(self, track: Callable[[dict[str, float], int], None]) -> None:
        self._track = track

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
        numbers = {name: value for name, value in (logs or {}).items() if isinstance(value, int | float)}
        self._track({_title(name): float(value) for name, value in numbers.items()}, state.global_step)


def _title(name: str) -> str:
    return f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"


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
