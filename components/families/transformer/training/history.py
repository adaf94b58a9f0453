"""What the Trainer logged while training, as it is kept of it."""

from typing import Any

_MEASURED = {"loss": "loss", "eval_f1": "validation_f1"}


def mean_loss(log: list[dict[str, Any]]) -> float:
    """Over every update, those before a training was killed included."""
    total, last = 0.0, 0
    for entry in log:
        if "loss" in entry:
            total += entry["loss"] * (entry["step"] - last)
            last = entry["step"]
    return total / last


def history(log: list[dict[str, Any]]) -> list[dict[str, float]]:
    """``ModelBundle.history``: all that is the same whenever it is trained, and so no times."""
    return [
        {"epoch": round(float(entry["epoch"]), 4), name: round(float(entry[logged]), 6)}
        for entry in log
        for logged, name in _MEASURED.items()
        if logged in entry
    ]
