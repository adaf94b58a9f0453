"""Summary of the Trainer's log for the bundle: mean loss, and loss and F1 over the epochs."""

from typing import Any

_LOGGED = {"loss": "loss", "eval_f1": "validation_f1"}


def mean_loss(log: list[dict[str, Any]]) -> float:
    """Return the mean training loss over all updates, including those before the training was interrupted.

    Args:
        log: ``TrainerState.log_history``, whose losses are means over the updates since the previous entry.
    """
    total, last = 0.0, 0
    for entry in log:
        if "loss" in entry:
            total += entry["loss"] * (entry["step"] - last)
            last = entry["step"]
    return total / last


def history(log: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return the training loss and validation F1 by epoch, as ``ModelBundle.history``.

    Times are omitted, so the same training gives the same history.
    """
    return [
        {"epoch": round(float(entry["epoch"]), 4), name: round(float(entry[key]), 6)}
        for entry in log
        for key, name in _LOGGED.items()
        if key in entry
    ]
