"""Cost of a training: wall-clock time, CPU time and memory of this process and its children."""

import resource
import time

from textgate.components.contracts import TrainingCost
from textgate.components.contracts.training_cost import AcceleratorUse
from textgate.components.families.speed import peak_memory


class CostMeter:
    """Meter that starts when it is created."""

    def __init__(self) -> None:
        self._started, self._cpu_started = time.perf_counter(), _cpu_seconds()

    def cost(self, accelerators: int, use: AcceleratorUse | None = None) -> TrainingCost:
        """Return the cost since the start; children count once they have ended.

        Args:
            accelerators: Accelerators that the training could use.
            use: Memory and speed of the GPUs, if there are some.
        """
        return TrainingCost(
            seconds=time.perf_counter() - self._started,
            cpu_seconds=_cpu_seconds() - self._cpu_started,
            peak_memory=peak_memory(),
            accelerators=accelerators,
            accelerator_use=use,
        )


def _cpu_seconds() -> float:
    """Return the seconds that CPU cores have worked for this process and its finished children, user and system."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
