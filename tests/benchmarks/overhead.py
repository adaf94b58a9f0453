"""Measure the pipeline's overhead: wall time of `textgate run` minus the seconds in which its steps worked.

Every step runs (new workspaces, linear family, synthetic texts); the embedded store is already running, as after any
first command. Prints one line per run and the median.

    python tests/benchmarks/overhead.py [RUNS]
"""

import json
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

TEXTGATE = Path(sysconfig.get_path("scripts")) / "textgate"
RECIPE = """
name: overhead
description: a small task in which every step runs
model: overhead
source: {uri: data.csv}
train: {family: linear, min_df: 1}
gate: {min_f1: 0.1}
"""


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    overheads = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            overheads.append(measure_run(Path(folder)))
    print(f"median {statistics.median(overheads):.2f} s of {runs} runs on {os.cpu_count()} cores; the limit is 5 s")


def measure_run(folder: Path) -> float:
    """Run the pipeline in a folder and return its overhead in seconds."""
    rng = random.Random(13)
    words = [f"word{index}" for index in range(200)]
    lines = [f"{' '.join(rng.sample(words, 8))} {'good' if index % 2 else 'bad'},{index % 2}" for index in range(2_000)]
    (folder / "data.csv").write_text("text,label\n" + "\n".join(lines))
    (folder / "overhead.yaml").write_text(RECIPE)
    subprocess.run([TEXTGATE, "store", "start"], cwd=folder, check=True, capture_output=True)
    started = time.perf_counter()
    done = subprocess.run([TEXTGATE, "run", "overhead.yaml", "--json"], cwd=folder, check=True, capture_output=True)
    seconds = time.perf_counter() - started
    subprocess.run([TEXTGATE, "store", "stop"], cwd=folder, check=True, capture_output=True)
    result = json.loads(done.stdout)
    work: float = sum(step["work_seconds"] for step in result["steps"])
    steps = len(result["steps"])
    print(f"{steps} steps: wall {seconds:.2f} s - work {work:.2f} s = {seconds - work:.2f} s ({result['verdict']})")
    return seconds - work


if __name__ == "__main__":
    main()
