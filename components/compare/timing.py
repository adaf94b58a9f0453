"""Latency, throughput and memory of served systems, measured on real texts.

Each measurement runs in a process of its own. The systems are measured in turns on one machine, so that other load on
the machine affects all of them alike.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from textgate.components.contracts import ModelBundle
from textgate.components.families import open_predictor
from textgate.components.families.speed import peak_memory
from textgate.components.inference import Predictor

_ROUNDS = 3
_BATCH_SIZE = 32
_MAX_SECONDS = 3.0
"""Seconds after which a measurement stops before its next batch."""


class Timing(NamedTuple):
    """Cost of predicting with one system: medians over the rounds, and the largest peak memory."""

    latency_ms: float
    """Median milliseconds for a single text."""
    texts_per_second: float
    """Throughput in batches of 32 texts."""
    peak_memory: int
    """Peak resident memory in bytes."""


def time_in_turns(bundles: Sequence[Path], texts: Sequence[str]) -> list[Timing]:
    """Measure each bundle on the texts in three rounds, and return one timing per bundle."""
    rounds: list[list[Timing]] = [[] for _ in bundles]
    for done in range(1, _ROUNDS + 1):
        for bundle, timings in zip(bundles, rounds, strict=True):
            timings.append(_time_in_process(bundle, texts))
        print(f"timed {len(bundles)} systems, round {done} of {_ROUNDS}", flush=True)
    return [
        Timing(
            median(timing.latency_ms for timing in timings),
            median(timing.texts_per_second for timing in timings),
            max(timing.peak_memory for timing in timings),
        )
        for timings in rounds
    ]


def _time_in_process(bundle: Path, texts: Sequence[str]) -> Timing:
    command = [sys.executable, "-m", __name__, str(bundle)]
    process = subprocess.run(command, input=json.dumps(list(texts)), capture_output=True, text=True)
    if process.returncode:
        raise RuntimeError(f"timing {bundle} failed: {process.stderr}")
    # The lines before the last one show the progress of predictors on torch.
    return Timing(**json.loads(process.stdout.splitlines()[-1]))


def main(bundle: Path, texts: Sequence[str]) -> None:
    """Measure one bundle in this process, and print the timing as JSON."""
    predictor = open_predictor(bundle, ModelBundle.load(bundle))
    predictor.predict_proba(texts[:1])  # warm-up
    latencies = _time_batches(predictor, [[text] for text in texts])
    batches = [texts[start : start + _BATCH_SIZE] for start in range(0, len(texts), _BATCH_SIZE)]
    batch_seconds = _time_batches(predictor, batches)
    predicted = sum(map(len, batches[: len(batch_seconds)]))
    timing = Timing(median(latencies) * 1_000, predicted / sum(batch_seconds), peak_memory())
    print(json.dumps(timing._asdict()))


def _time_batches(predictor: Predictor, batches: Sequence[Sequence[str]]) -> list[float]:
    """Return the seconds that each batch took, until they add up to three seconds."""
    seconds: list[float] = []
    for batch in batches:
        if sum(seconds) > _MAX_SECONDS:
            break
        started = time.perf_counter()
        predictor.predict_proba(batch)
        seconds.append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.load(sys.stdin))
