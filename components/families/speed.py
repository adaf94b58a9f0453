"""How fast a served bundle answers, and in how much memory: in a process of its own, as it would be served."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from textgate.components.contracts.measurement import Speed
from textgate.components.inference import Predictor

_TOKENS = (16, 64, 256)
_BATCHES = (1, 8, 32)
_SECONDS = 0.3
"""That each batch is repeated for."""
_LONGEST = 20.0
"""Seconds that a single batch may be expected to take."""
_RUSAGE_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes that ``ru_maxrss`` counts in (getrusage(2))."""


def measure_speed(bundle: Path, max_tokens: int) -> tuple[list[Speed], int]:
    """Median times of batches of 1, 8 and 32 texts of 16, 64 and 256 tokens, and the peak of resident memory in bytes.

    Lengths over ``max_tokens`` are left out, and so are batches that would take longer than 20 seconds.
    """
    command = [sys.executable, "-m", __name__, str(bundle), str(max_tokens)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"measuring {bundle} failed: {done.stderr}")
    # Predicting on torch says how far it is, on lines before.
    found = json.loads(done.stdout.splitlines()[-1])
    return [Speed.model_validate(speed) for speed in found["speeds"]], found["peak_memory"]


def main(bundle: Path, max_tokens: int) -> None:
    """Measure, and print what was found as JSON."""
    from textgate.components.contracts import ModelBundle
    from textgate.components.families import open_predictor

    predictor = open_predictor(bundle, ModelBundle.load(bundle))
    speeds: list[Speed] = []
    per_token = 0.0
    for tokens in [length for length in _TOKENS if length <= max_tokens] or [max_tokens]:
        # Two tokens stand around a text; which word is repeated makes no difference.
        text = " ".join(["the"] * max(1, tokens - 2))
        for batch in _BATCHES:
            if per_token * tokens * batch > _LONGEST:
                continue
            # The first run of a batch is slower than those after it, but not where a run is long.
            first = _seconds(predictor, [text] * batch)
            taken = [first] if first > _SECONDS else []
            while sum(taken) < _SECONDS:
                taken.append(_seconds(predictor, [text] * batch))
            per_token = median(taken) / (tokens * batch)
            speeds.append(Speed(batch=batch, tokens=tokens, milliseconds=median(taken) * 1_000))
    print(json.dumps({"speeds": [speed.model_dump() for speed in speeds], "peak_memory": peak_memory()}))


def _seconds(predictor: Predictor, texts: list[str]) -> float:
    started = time.perf_counter()
    predictor.predict_proba(texts)
    return time.perf_counter() - started


def peak_memory() -> int:
    """Bytes resident at most in this process so far, or in the largest of those it has waited for.

    By Linux's own mark, since ``ru_maxrss`` starts from the parent's.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _RUSAGE_UNIT
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return max(children, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RUSAGE_UNIT)
    return max(children, next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
