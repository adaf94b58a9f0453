"""Speed and memory of a served bundle, measured in a separate process, as a server would run it.

``python -m textgate.components.families.speed FOLDER MAX_TOKENS`` prints the measurement as JSON.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from textgate.components.contracts.measurement import Speed
from textgate.components.inference import Predictor

_TOKENS = (16, 64, 256)
_BATCHES = (1, 8, 32)
_SECONDS = 0.3
"""Minimum total time for which each batch is repeated."""
_MAX_BATCH_SECONDS = 20.0
"""Maximum expected time of a single batch; a slower one is skipped."""
_RUSAGE_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes per unit of ``ru_maxrss`` (getrusage(2))."""


class ServingSpeed(NamedTuple):
    """Speed and memory of a served bundle."""

    speeds: list[Speed]
    """Median time of each batch size and text length."""
    peak_memory: int
    """Peak of resident memory in bytes."""
    machine: str
    """Processor that predicted, such as ``AMD EPYC 7B12, 8 cores``."""


def measure_speed(bundle: Path, max_tokens: int) -> ServingSpeed:
    """Measure the speed and the memory of a served bundle in a process of its own.

    Args:
        bundle: Folder of the bundle.
        max_tokens: Maximum length of a text; the lengths 16, 64 and 256 above it are skipped.

    Returns:
        Times of the batch sizes 1, 8 and 32, without batches expected to take more than 20 seconds; memory; machine.

    Raises:
        RuntimeError: The process failed; the message holds its standard error.
    """
    command = [sys.executable, "-m", __name__, str(bundle), str(max_tokens)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"measuring {bundle} failed: {done.stderr}")
    # A predictor on torch prints its progress first.
    result = json.loads(done.stdout.splitlines()[-1])
    speeds = [Speed.model_validate(speed) for speed in result["speeds"]]
    return ServingSpeed(speeds, result["peak_memory"], result["machine"])


def main(bundle: Path, max_tokens: int) -> None:
    """Measure in this process, and print the result as JSON."""
    from textgate.components.contracts import ModelBundle, TransformersRuntime
    from textgate.components.families import open_predictor

    manifest = ModelBundle.load(bundle)
    predictor = open_predictor(bundle, manifest)
    machine = _processor(uses_torch=isinstance(manifest.runtime, TransformersRuntime))
    speeds: list[Speed] = []
    per_token = 0.0
    for tokens in [length for length in _TOKENS if length <= max_tokens] or [max_tokens]:
        # The tokenizer adds two special tokens; which word is repeated makes no difference.
        text = " ".join(["the"] * max(1, tokens - 2))
        for batch in _BATCHES:
            if per_token * tokens * batch > _MAX_BATCH_SECONDS:
                continue
            # The first run is a warm-up and does not count, unless it is so long that a warm-up makes no difference.
            first = _seconds(predictor, [text] * batch)
            times = [first] if first > _SECONDS else []
            while sum(times) < _SECONDS:
                times.append(_seconds(predictor, [text] * batch))
            per_token = median(times) / (tokens * batch)
            speeds.append(Speed(batch=batch, tokens=tokens, milliseconds=median(times) * 1_000))
    result = {"speeds": [speed.model_dump() for speed in speeds], "peak_memory": peak_memory(), "machine": machine}
    print(json.dumps(result))


def _seconds(predictor: Predictor, texts: list[str]) -> float:
    started = time.perf_counter()
    predictor.predict_proba(texts)
    return time.perf_counter() - started


def _processor(uses_torch: bool) -> str:
    """Return the name of the GPU that a predictor on torch uses, or of the CPU with its number of cores."""
    if uses_torch:
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    # ARM's lines have no model name.
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = os.cpu_count()
    return f"{names[0] if names else platform.machine()}, {cores} core{'' if cores == 1 else 's'}"


def peak_memory() -> int:
    """Return the peak resident memory in bytes of this process, or of its largest finished child if that is more.

    Linux's VmHWM is used where it exists, since ``ru_maxrss`` of a new process starts at its parent's value.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _RUSAGE_UNIT
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return max(children, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RUSAGE_UNIT)
    return max(children, next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
