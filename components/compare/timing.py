"""How long served systems take to answer real texts: each in a process of its own, in turns, on one machine.

What else the machine does in the meantime meets all of them alike.
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
_BATCH = 32
_LONGEST = 3.0
"""Seconds after which a process asks about no further text."""


class Timing(NamedTuple):
    """Medians over the rounds."""

    latency_ms: float
    """Median over the texts, each asked about alone."""
    texts_per_second: float
    """In batches of 32."""
    peak_memory: int
    """Bytes resident at most."""


def time_in_turns(bundles: Sequence[Path], texts: Sequence[str]) -> list[Timing]:
    """Ask each bundle about the texts, then each again, until every one had three turns."""
    turns: list[list[Timing]] = [[] for _ in bundles]
    for number in range(_ROUNDS):
        for bundle, taken in zip(bundles, turns, strict=True):
            taken.append(_turn(bundle, texts))
        print(f"timed {len(bundles)} systems, round {number + 1} of {_ROUNDS}", flush=True)
    return [
        Timing(
            median(turn.latency_ms for turn in taken),
            median(turn.texts_per_second for turn in taken),
            max(turn.peak_memory for turn in taken),
        )
        for taken in turns
    ]


def _turn(bundle: Path, texts: Sequence[str]) -> Timing:
    command = [sys.executable, "-m", __name__, str(bundle)]
    done = subprocess.run(command, input=json.dumps(list(texts)), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"timing {bundle} failed: {done.stderr}")
    # Predicting on torch says how far it is, on lines before.
    return Timing(**json.loads(done.stdout.splitlines()[-1]))


def main(bundle: Path, texts: Sequence[str]) -> None:
    """Take one turn, and print it as JSON."""
    predictor = open_predictor(bundle, ModelBundle.load(bundle))
    predictor.predict_proba(texts[:1])  # the first run is slower than those after it
    alone = _seconds(predictor, [[text] for text in texts])
    batches = [texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
    together = _seconds(predictor, batches)
    asked = sum(map(len, batches[: len(together)]))
    timing = Timing(median(alone) * 1_000, asked / sum(together), peak_memory())
    print(json.dumps(timing._asdict()))


def _seconds(predictor: Predictor, batches: Sequence[Sequence[str]]) -> list[float]:
    """Of each batch, until it has been long enough."""
    taken: list[float] = []
    for batch in batches:
        if sum(taken) > _LONGEST:
            break
        started = time.perf_counter()
        predictor.predict_proba(batch)
        taken.append(time.perf_counter() - started)
    return taken


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.load(sys.stdin))
