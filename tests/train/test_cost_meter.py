"""The cost of a training counts the CPU time of this process and its children."""

import subprocess
import sys
import time

from textgate.components.contracts import TrainingCost
from textgate.components.train.cost_meter import CostMeter

BUSY = "import time\nwhile time.process_time() < 0.3: pass"


def cpu_seconds(cost: TrainingCost) -> float:
    assert cost.cpu_seconds is not None
    assert cost.peak_memory > 1e6
    return cost.cpu_seconds


def test_cpu_time_is_that_of_work_in_this_process_and_in_finished_children() -> None:
    started, meter = time.perf_counter(), CostMeter()
    subprocess.run([sys.executable, "-c", BUSY], check=True)
    child = meter.cost(accelerators=0)
    assert child.seconds >= 0.29
    assert child.seconds <= time.perf_counter() - started
    assert cpu_seconds(child) >= 0.29
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    assert cpu_seconds(meter.cost(accelerators=0)) - cpu_seconds(child) >= 0.09
