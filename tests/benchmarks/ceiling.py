"""Measure inference without a server: one configuration of sessions and threads, in a process of its own.

    python ceiling.py BUNDLE SESSIONS THREADS WORKERS SECONDS < texts.json

WORKERS Python threads share SESSIONS ONNX Runtime sessions of THREADS threads each. They predict batches of 1, 16, 64
and 512 texts from the list on standard input, repeatedly; each worker predicts an equal share of a batch, and a batch
of one text goes to the first worker. Prints JSON: for each batch size, texts per second, CPU seconds per text and the
seconds of every prediction; the seconds of single texts with a pause before each, as between the requests of one
client, during which cores sleep and caches go cold; and the resident bytes of the process.
"""

import itertools
import json
import sys
import threading
import time
from pathlib import Path

import psutil

from textgate.components.inference import Predictor, load_bundle

BATCH_SIZES = [1, 16, 64, 512]
_WARM_SECONDS = 1.0
_PAUSE_SECONDS = 0.001


def main() -> None:
    folder, (sessions, threads, workers), seconds = Path(sys.argv[1]), map(int, sys.argv[2:5]), float(sys.argv[5])
    texts = json.load(sys.stdin)
    bundles = [load_bundle(folder, threads) for _ in range(sessions)]
    predictors: list[Predictor] = [bundles[worker % sessions] for worker in range(workers)]
    loads = []
    for batch_size in BATCH_SIZES:
        predict(predictors, texts, batch_size, _WARM_SECONDS)
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        durations = predict(predictors, texts, batch_size, seconds)
        wall, cpu = time.perf_counter() - wall_start, time.process_time() - cpu_start
        predicted = len(durations) * (batch_size // min(workers, batch_size))
        loads.append({"rate": predicted / wall, "cpu": cpu / predicted, "durations": durations})
    paused = predict(predictors[:1], texts, 1, seconds, _PAUSE_SECONDS)
    json.dump({"loads": loads, "paused": paused, "memory": psutil.Process().memory_full_info().pss}, sys.stdout)


def predict(
    predictors: list[Predictor], texts: list[str], batch_size: int, seconds: float, pause: float = 0.0
) -> list[float]:
    """Predict for ``seconds``, one thread per predictor; return the seconds of every prediction."""
    workers = min(len(predictors), batch_size)
    size = batch_size // workers
    chunks = [texts[start : start + size] for start in range(0, len(texts) - size + 1, size)]
    endless, lock = itertools.cycle(chunks), threading.Lock()
    durations: list[float] = []
    end = time.perf_counter() + seconds

    def work(predictor: Predictor) -> None:
        while (started := time.perf_counter()) < end:
            with lock:
                chunk = next(endless)
            if pause:
                time.sleep(pause)
                started = time.perf_counter()
            predictor.predict_proba(chunk)
            durations.append(time.perf_counter() - started)

    worker_threads = [threading.Thread(target=work, args=(predictor,)) for predictor in predictors[:workers]]
    for thread in worker_threads:
        thread.start()
    for thread in worker_threads:
        thread.join()
    return durations


if __name__ == "__main__":
    main()
