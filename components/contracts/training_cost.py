"""Cost of a training, and the file of a bundle that keeps it.

<bundle>/training_cost.json     TrainingCost

The file is no part of the bundle's manifest and fingerprint, because two trainings of the same model differ in it.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from textgate.components.contracts.files import write_file
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.parse import parse_json
from textgate.components.contracts.progress import duration
from textgate.components.step import InputError

TRAINING_COST = "training_cost.json"


class TrainingCost(FrozenModel):
    """Cost of a training on the machines it ran on."""

    seconds: float
    """Wall-clock time in seconds."""
    cpu_seconds: float | None = None
    """Seconds that CPU cores worked, summed over the cores; None if it was not measured, as on several machines."""
    peak_memory: int
    """Peak resident memory in bytes."""
    accelerators: int | None = None
    """Accelerators that the training could use, of all machines; None before textgate 0.2, when it was not recorded."""
    accelerator_use: "AcceleratorUse | None" = None
    """Memory and speed of the GPUs; None without one, and before textgate 0.2, when it was not recorded."""
    earlier: list["EarlierTraining"] = []
    """Trainings of the members of an ensemble, or of the teacher of a distilled student. They are not part of the
    figures above."""

    @property
    def parts(self) -> list["TrainingCost"]:
        """Costs of this training and of those of all members whose cost is known."""
        return list(self._parts())

    @property
    def total_seconds(self) -> float:
        """Wall-clock time with that of the members whose cost is known, as if all were trained one after another."""
        return sum(part.seconds for part in self.parts)

    @property
    def unknown_members(self) -> list[str]:
        """References of the members whose cost is unknown; the total is a lower bound if there are some."""
        return [each.bundle for each in self._earlier("member") if each.cost is None]

    @property
    def teachers(self) -> list["EarlierTraining"]:
        """Trainings of the teachers, which are not part of the total."""
        return list(self._earlier("teacher"))

    def note(self, name: Callable[[str], str] = str) -> str:
        """Return what the total includes and what not, such as ``, including its members a and b``.

        Args:
            name: Function from a reference to the name to show.
        """
        known = [name(each.bundle) for each in self._earlier("member") if each.cost]
        unknown = list(map(name, self.unknown_members))
        return "".join(
            [
                f", including {_members(known)}" if known else "",
                f", without {_members(unknown)} of unknown cost" if unknown else "",
                *(
                    f", without its teacher {name(each.bundle)} "
                    f"({duration(each.cost.total_seconds) if each.cost else 'of unknown cost'})"
                    for each in self.teachers
                ),
            ]
        )

    def _parts(self) -> Iterator["TrainingCost"]:
        yield self
        for each in self.earlier:
            if each.role == "member" and each.cost:
                yield from each.cost._parts()

    def _earlier(self, role: Literal["member", "teacher"]) -> Iterator["EarlierTraining"]:
        return (each for part in self._parts() for each in part.earlier if each.role == role)


class AcceleratorUse(FrozenModel):
    """Memory and speed of the GPUs of a training, which has one process per GPU."""

    name: str
    """Product name of the device, such as ``NVIDIA H100 80GB HBM3``."""
    peak_allocated: int
    """Most bytes that tensors took on one device."""
    peak_reserved: int
    """Most bytes that PyTorch's allocator took on one device: at least this much must be free to train."""
    utilization: float | None = None
    """Mean share of the time in which a kernel ran; None if NVML did not measure it."""
    tokens_per_second: float | None = None
    """Trained tokens per second without padding, of all devices; None if there was no or a single update."""
    texts_per_second: float | None = None
    """Trained texts per second, of all devices."""
    mfu: float | None = None
    """Model FLOPs utilization: share of the devices' peak FLOP/s that the model needs; None if the peak is unknown."""

    @property
    def message(self) -> str:
        """The figures that are known, such as ``7.1 GB of GPU memory, 20,000 tokens/s, 41 % MFU, 97 % busy``."""
        parts = [f"{self.peak_reserved / 1e9:,.1f} GB of GPU memory"]
        if self.tokens_per_second is not None:
            parts.append(f"{self.tokens_per_second:,.0f} tokens/s")
        if self.mfu is not None:
            parts.append(f"{self.mfu:.0%} MFU")
        if self.utilization is not None:
            parts.append(f"{self.utilization:.0%} busy")
        return ", ".join(parts)


class EarlierTraining(FrozenModel):
    """Training of another model that a model builds on."""

    bundle: str
    """Reference of the other model."""
    role: Literal["member", "teacher"]
    """``member`` of an ensemble, or ``teacher`` of a distilled student."""
    cost: TrainingCost | None
    """Cost of its training; None if its bundle does not have it, as before textgate 0.2."""


def write_training_cost(folder: Path, cost: TrainingCost) -> None:
    """Write the cost of its training to the folder of a bundle."""
    write_file(folder / TRAINING_COST, cost.model_dump_json(indent=2) + "\n")


def read_training_cost(folder: Path) -> TrainingCost | None:
    """Return the cost of the training of the bundle in ``folder``; None if it does not have it.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / TRAINING_COST
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error})") from error
    return parse_json(TrainingCost, text, str(path), "the cost of a training")


def copy_training_cost(source: Path, target: Path) -> None:
    """Copy the file, if there is one, from the folder of one bundle to that of a bundle made from it."""
    if (source / TRAINING_COST).is_file():
        shutil.copyfile(source / TRAINING_COST, target / TRAINING_COST)


def _members(names: list[str]) -> str:
    return f"its member{'s' if len(names) > 1 else ''} {' and '.join(names)}"
