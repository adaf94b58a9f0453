"""Latency of a feedback request, beside a classification on the same server and a bare write to the disk.

A label is acknowledged when it is on the disk, so the limit is one append and one ``fdatasync`` of a file. The model
is a tiny bag of words: its classification shows what a request costs that writes nothing.

    python tests/benchmarks/feedback.py [--seconds SECONDS] [--rounds ROUNDS]

Prints medians over rounds, with the CPU time of the server and the steal beside them.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

from load import measure, percentile, post
from server_process import promote, start_server
from words import write_words

from textgate.components.storage import EmbeddedStore, Registry, Store

CLIENTS = (1, 16)
LABEL = {"request_id": "request-1", "label": "good", "model": "small"}
TEXTS = {"texts": ["a good film"]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        embedded = EmbeddedStore(folder / "store")
        embedded.start()
        os.environ.update(embedded.environment())
        store = Store.from_environment("feedback")
        store.ensure_bucket()
        bundle = write_words(folder / "words")
        promote(Registry(store), bundle)
        try:
            with start_server({}, "feedback", folder / "workspace", bundle) as server:
                measure_all(urlsplit(server.http).port or 0, server.process.pid, folder, options)
        finally:
            embedded.stop()


def measure_all(port: int, pid: int, folder: Path, options: argparse.Namespace) -> None:
    """Measure the disk, then both requests with one and with several clients."""
    disk = [write_seconds(folder / "bare", options.seconds) for _ in range(options.rounds)]
    print(f"append and fdatasync: p50 {1e3 * median(disk):.2f} ms")
    print("| request | clients | p50 ms | p99 ms | requests/s | CPU ms/request | errors | steal |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    requests = {
        "classification": post("/v1/models/small:classify", json.dumps(TEXTS).encode()),
        "feedback": post("/v1/feedback", json.dumps(LABEL).encode()),
    }
    for clients in CLIENTS:
        for name, request in requests.items():
            rounds = [measure_round(port, pid, request, clients, options.seconds) for _ in range(options.rounds)]
            p50, p99, rate, cpu, errors, steal = (median(column) for column in zip(*rounds, strict=True))
            print(
                f"| {name} | {clients} | {p50:.2f} | {p99:.2f} | {rate:,.0f} | {cpu:.2f} | {errors:.0f} | {steal:.1%} |"
            )


def measure_round(port: int, pid: int, request: bytes, clients: int, seconds: float) -> tuple[float, ...]:
    """Return p50 and p99 in ms, requests/s, CPU ms per request, errors and the share of steal."""
    before, used = psutil.cpu_times(), sum(psutil.Process(pid).cpu_times()[:2])
    result = measure(port, [request], clients, seconds)
    after, now = psutil.cpu_times(), sum(psutil.Process(pid).cpu_times()[:2])
    steal = (after.steal - before.steal) / (sum(after[:8]) - sum(before[:8]))
    cpu = 1e3 * (now - used) / max(1, len(result.latencies)) * seconds / (seconds + 0.5)
    return 1e3 * result.percentile(0.5), 1e3 * result.percentile(0.99), result.rate, cpu, result.errors, steal


def write_seconds(path: Path, seconds: float) -> float:
    """Return the median seconds of appending a label to a file and of ``fdatasync``."""
    line, taken = json.dumps(LABEL).encode() + b"\n", list[float]()
    with path.open("ab", buffering=0) as file:
        while sum(taken) < seconds:
            started = time.perf_counter()
            file.write(line)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - started)
    return percentile(sorted(taken), 0.5)


if __name__ == "__main__":
    main()
