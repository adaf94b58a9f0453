"""What the engine does without a server: one arrangement of sessions and threads, in a process of its own.

    python ceiling.py BUNDLE SESSIONS THREADS WORKERS SECONDS < texts.json

WORKERS Python threads share SESSIONS sessions of THREADS threads each. They answer 1, 16, 64 and 512 texts at a time,
going round the texts on standard input; each worker takes its share of them, and a single text goes to the first.
Prints JSON: for each of these texts per second, CPU seconds of a text and the seconds of every prediction; the seconds
of lone texts with a pause before each, as one client makes one, after which a core has slept and its caches have gone
to others; and the process's resident bytes.
"""

import itertools
import json
import sys
import threading
import time
from pathlib import Path

import psutil

from textgate.components.inference import Predictor, load_bundle

AT_HAND = [1, 16, 64, 512]
_WARM_SECONDS = 1.0
_PAUSE_SECONDS = 0.001


def main() -> None:
    folder, (sessions, threads, workers), seconds = Path(sys.argv[1]), map(int, sys.argv[2:5]), float(sys.argv[5])
    texts = json.load(sys.stdin)
    opened = [load_bundle(folder, threads) for _ in range(sessions)]
    predictors = [opened[worker % sessions] for worker in range(workers)]
    measured = []
    for at_hand in AT_HAND:
        answer(predictors, texts, at_hand, _WARM_SECONDS)
        started, computed = time.perf_counter(), time.process_time()
        durations = answer(predictors, texts, at_hand, seconds)
        spent, computed = time.perf_counter() - started, time.process_time() - computed
        answered = len(durations) * (at_hand // min(workers, at_hand))
        measured.append({"rate": answered / spent, "cpu": computed / answered, "durations": durations})
    paused = answer(predictors[:1], texts, 1, seconds, _PAUSE_SECONDS)
    json.dump({"loads": measured, "paused": paused, "memory": psutil.Process().memory_full_info().pss}, sys.stdout)


def answer(
    predictors: list[Predictor], texts: list[str], at_hand: int, seconds: float, pause: float = 0.0
) -> list[float]:
    """Seconds of every prediction."""
    workers = min(len(predictors), at_hand)
    size = at_hand // workers
    pieces = [texts[start : start + size] for start in range(0, len(texts) - size + 1, size)]
    endless, lock = itertools.cycle(pieces), threading.Lock()
    durations: list[float] = []
    end = time.perf_counter() + seconds

    def work(predictor: Predictor) -> None:
        while (started := time.perf_counter()) < end:
            with lock:
                piece = next(endless)
            if pause:
                time.sleep(pause)
                started = time.perf_counter()
            predictor.predict_proba(piece)
            durations.append(time.perf_counter() - started)

    running = [threading.Thread(target=work, args=(predictor,)) for predictor in predictors[:workers]]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return durations


if __name__ == "__main__":
    main()
