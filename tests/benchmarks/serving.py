"""Compare the server with other servers of the same model: texts per second, latency, CPU time, memory.

    python tests/benchmarks/serving.py --headlines clickbait_headlines.jsonl.gz [--rounds 3] [--seconds 5]
        [--baseline CHECKOUT] [--only textgate,KServe] [--work DIR] [--environments DIR] [--json FILE]

Trains a model, or reuses the one in --work. Every server runs it in a format that it supports: the int8 graph on ONNX
Runtime, or the Hugging Face folder on torch. --baseline adds the server of another checkout of this repository, run
with the same libraries. In each round, every server is started, checked, warmed up, measured and stopped, in the
reverse order every other time; the table has the medians of the rounds. A measurement during which the hypervisor gave
more than 5 % of the CPU time to other machines (steal) is discarded and repeated. Each client keeps a connection and
sends its next request when it has received the response to the last one; one process simulates all clients, at about 15
us of CPU time per request. textgate logs a line per request to a file, its default; the others log no requests. The
other servers are installed in their own virtual environments (3 GB) if these are missing. A round of all servers takes
about 8 minutes.
"""

import argparse
import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
from ceiling import BATCH_SIZES
from headline_model import HeadlineModel, prepare
from load import measure, percentile, post
from running import UnavailableError, running
from servers import BASELINE, SERVERS, TEXTGATE, Server, baseline_server

from textgate.components.storage import EmbeddedStore

CLIENTS = [(1, 1), (16, 1), (64, 1), (16, 32)]
"""Number of clients, and texts per request."""
CONFIGURATIONS = {
    "in process: 1 session of 2 threads": (1, 2, 1),
    "in process: 2 sessions of 1 thread": (2, 1, 2),
    "in process: 1 session of 1 thread for 2": (1, 1, 2),
}
"""ONNX Runtime sessions, threads per session, and Python threads that call them."""
_CHECKED = 64
_WARM_SECONDS = 3.0
_MAX_STEAL = 0.05
"""Share of the CPU time; above it, a measurement is discarded."""
_MAX_REPEATS = 5


@dataclass(frozen=True)
class LoadFigures:
    """Figures of one row under one load."""

    rate: float
    """Texts per second."""
    p50: float
    """Median latency in milliseconds."""
    p99: float
    cpu: float
    """CPU milliseconds per text on all cores; less affected by other processes than the rate is."""
    errors: int
    steal: float = 0.0
    """Share of the CPU time that the hypervisor gave to other machines."""
    discarded: int = 0
    """Number of measurements discarded for their steal, besides this one."""

    @property
    def valid(self) -> bool:
        """Whether the steal is within its limit; if not, the last repetition exceeded it too."""
        return self.steal <= _MAX_STEAL


@dataclass(frozen=True)
class RoundResult:
    """Figures of one row in one round."""

    loads: list[LoadFigures]
    memory: int
    """Resident bytes."""
    paused: float = 0.0
    """Median milliseconds of a single text in the process, with a pause before each."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--headlines", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="seconds per measurement")
    parser.add_argument("--baseline", type=Path, help="another checkout, whose server is measured as well")
    parser.add_argument("--only", help="comma-separated prefixes of the rows to measure")
    parser.add_argument("--work", type=Path, help="folder to train the model in and reuse; temporary by default")
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache" / "textgate-bench")
    parser.add_argument("--json", type=Path, help="file to write the figures of every round to")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that started processes are stopped
    prefixes = arguments.only.split(",") if arguments.only else [""]
    configurations = {name: counts for name, counts in CONFIGURATIONS.items() if name.startswith(tuple(prefixes))}
    compared = (
        SERVERS if arguments.baseline is None else [*SERVERS[:1], baseline_server(arguments.baseline), *SERVERS[1:]]
    )
    servers = [server for server in compared if server.name.startswith(tuple(prefixes))]
    with tempfile.TemporaryDirectory() as temporary:
        model = prepare(arguments.work or Path(temporary), arguments.headlines)
        results: dict[str, list[RoundResult]] = {
            name: [] for name in [*configurations, *(server.name for server in servers)]
        }
        failed: dict[str, str] = {}
        try:
            for index in range(arguments.rounds):
                for name, configuration in configurations.items():
                    results[name].append(measure_in_process(model, configuration, arguments.seconds))
                    print_round(name, results[name][-1])
                for server in servers if index % 2 == 0 else reversed(servers):
                    if server.name in failed:
                        continue
                    try:
                        results[server.name].append(
                            measure_server(model, server, arguments.environments, arguments.seconds)
                        )
                        print_round(server.name, results[server.name][-1])
                    except UnavailableError as error:
                        failed[server.name] = str(error)
                        print(f"{server.name}: {error}", flush=True)
        finally:
            EmbeddedStore(model.workspace).stop()
    if arguments.json:
        rounds = {name: [dataclasses.asdict(result) for result in found] for name, found in results.items()}
        arguments.json.write_text(json.dumps({"rounds": rounds, "failed": failed}, indent=1))
    medians = {name: median_of(rounds) for name, rounds in results.items() if rounds and name not in failed}
    print_table(medians, failed)
    print_goals(medians)


def measure_in_process(model: HeadlineModel, configuration: tuple[int, int, int], seconds: float) -> RoundResult:
    """Measure one configuration without a server. Its loads are one process, so they are discarded together."""
    command = [sys.executable, str(Path(__file__).with_name("ceiling.py")), str(model.folder), *map(str, configuration)]
    memory = paused = 0.0

    def measure_loads() -> list[LoadFigures]:
        nonlocal memory, paused
        process = subprocess.run(
            [*command, str(seconds)], input=json.dumps(model.texts), stdout=subprocess.PIPE, check=True, text=True
        )
        output = json.loads(process.stdout)
        memory, paused = output["memory"], 1e3 * percentile(sorted(output["paused"]), 0.5)
        loads = []
        for load in output["loads"]:
            ordered = sorted(load["durations"])
            p50, p99 = (1e3 * percentile(ordered, share) for share in (0.5, 0.99))
            loads.append(LoadFigures(load["rate"], p50, p99, 1e3 * load["cpu"], 0))
        return loads

    return RoundResult(repeat_stolen(measure_loads), int(memory), paused)


def measure_server(model: HeadlineModel, server: Server, environments: Path, seconds: float) -> RoundResult:
    """Start, check, warm up, measure and stop one server."""
    expected = model.confident(_CHECKED)
    with tempfile.TemporaryDirectory() as scratch, running(server, model, environments, Path(scratch)) as started:
        started.wait(next(iter(expected)))
        started.check(expected, batch=32)
        loads = []
        for clients, size in CLIENTS:
            bodies = [model.texts[start : start + size] for start in range(0, len(model.texts), size)]
            requests = [post(server.path, json.dumps(server.body(body)).encode()) for body in bodies]
            measure(started.port, requests, clients, _WARM_SECONDS)

            def measure_load(
                requests: list[bytes] = requests, clients: int = clients, size: int = size
            ) -> list[LoadFigures]:
                wall_start, cpu_start = time.perf_counter(), started.cpu_seconds
                result = measure(started.port, requests, clients, seconds)
                cores = (started.cpu_seconds - cpu_start) / (time.perf_counter() - wall_start)
                if not result.latencies:
                    raise UnavailableError(f"did not respond to {clients} clients")
                p50, p99 = (1e3 * result.percentile(share) for share in (0.5, 0.99))
                rate = size * result.rate
                return [LoadFigures(rate, p50, p99, 1e3 * cores / rate, result.errors)]

            loads += repeat_stolen(measure_load)
        return RoundResult(loads, started.memory)


def repeat_stolen(measure_loads: Callable[[], list[LoadFigures]]) -> list[LoadFigures]:
    """Measure until the steal is within its limit, at most ``_MAX_REPEATS`` times more; return the last figures."""
    for discarded in range(_MAX_REPEATS + 1):
        before = psutil.cpu_times()
        loads = measure_loads()
        after = psutil.cpu_times()
        # Guest time is part of user time.
        total = sum(after[:8]) - sum(before[:8])
        steal = (after.steal - before.steal) / total
        loads = [dataclasses.replace(load, steal=steal, discarded=discarded) for load in loads]
        if loads[0].valid:
            break
    return loads


def median_of(rounds: list[RoundResult]) -> RoundResult:
    """Return the median of each figure over the valid measurements; the sum of errors and of discarded measurements."""
    loads = []
    for load in zip(*(result.loads for result in rounds), strict=True):
        valid = [figures for figures in load if figures.valid]

        def over(value: Callable[[LoadFigures], float], valid: list[LoadFigures] = valid) -> float:
            return median(map(value, valid)) if valid else float("nan")

        loads.append(
            LoadFigures(
                rate=over(lambda figures: figures.rate),
                p50=over(lambda figures: figures.p50),
                p99=over(lambda figures: figures.p99),
                cpu=over(lambda figures: figures.cpu),
                errors=sum(figures.errors for figures in load),
                steal=over(lambda figures: figures.steal),
                discarded=sum(figures.discarded + (not figures.valid) for figures in load),
            )
        )
    return RoundResult(
        loads, int(median(result.memory for result in rounds)), median(result.paused for result in rounds)
    )


def cell(figures: LoadFigures) -> str:
    errors = f" {figures.errors} errors" if figures.errors else ""
    return f"{figures.rate:,.0f} ({figures.p50:.1f}, {figures.p99:.1f}; {figures.cpu:.2f}){errors}"


def print_round(name: str, result: RoundResult) -> None:
    print(f"{name}: {' | '.join(row(result))}", flush=True)


def row(result: RoundResult) -> list[str]:
    """Return the cells of one row: loads, memory, steal of each load in percent, number of discarded measurements."""
    steal = "/".join(f"{100 * figures.steal:.1f}" for figures in result.loads)
    discarded = sum(figures.discarded for figures in result.loads)
    return [*map(cell, result.loads), f"{result.memory / 1e6:,.0f}", steal, str(discarded)]


def print_table(medians: dict[str, RoundResult], failed: dict[str, str]) -> None:
    print(
        "\nTexts per second (p50 and p99 latency of a request in ms; CPU ms per text). In process, the batch sizes are"
    )
    print(f"{', '.join(map(str, BATCH_SIZES))}; p50 and p99 are those of a batch.\n")
    heads = [f"{clients} client{'s' * (clients > 1)}{f', {size} texts each' * (size > 1)}" for clients, size in CLIENTS]
    print(f"| | {' | '.join(heads)} | resident MB | steal, % | discarded |")
    print("| --- |" + " --- |" * (len(heads) + 3))
    for name, result in medians.items():
        print(f"| {name} | {' | '.join(row(result))} |")
    for name, reason in failed.items():
        print(f"| {name} | {reason} |")


def print_goals(medians: dict[str, RoundResult]) -> None:
    """Print how textgate compares with the baseline, with inference in the process and with the other servers."""
    if TEXTGATE not in medians:
        return
    own = medians[TEXTGATE].loads
    one, _, single, batches = own
    in_process = [result for name, result in medians.items() if name in CONFIGURATIONS]
    peers = {
        name: result.loads
        for name, result in medians.items()
        if name not in (*CONFIGURATIONS, TEXTGATE, BASELINE, "echo")
    }
    print()
    if BASELINE in medians:
        for (clients, size), new, old in zip(CLIENTS, own, medians[BASELINE].loads, strict=True):
            print(
                f"{clients} x {size}, ratio to the baseline: rate {new.rate / old.rate:.3f} (goal: >= 1), "
                f"p50 {new.p50 / old.p50:.3f}, p99 {new.p99 / old.p99:.3f}, CPU {new.cpu / old.cpu:.3f}"
            )
    if in_process:
        ceiling = max(figures.rate for result in in_process for figures in result.loads)
        batch_rate = max(result.loads[2].rate for result in in_process)
        print(
            f"share of the in-process maximum of {ceiling:,.0f} texts/s: batches {batches.rate / ceiling:.0%}, "
            f"single headlines at 64 clients {single.rate / ceiling:.0%}; "
            f"in process with batches of 64 {batch_rate / ceiling:.0%}"
        )
        print(
            f"added to p50 at 1 client: {one.p50 - min(result.loads[0].p50 for result in in_process):.2f} ms, and "
            f"{one.p50 - min(result.paused for result in in_process):.2f} ms if the process pauses before each text"
        )
    if peers:
        best = max(peers, key=lambda name: peers[name][2].rate)
        ratio = single.rate / peers[best][2].rate
        print(f"single headlines at 64 clients: {ratio:.2f}x the best peer ({best}); goal: 2.2")
        for index, (clients, size) in enumerate(CLIENTS):
            lowest = min(peers, key=lambda name: peers[name][index].p99)
            p99 = peers[lowest][index].p99
            print(f"{clients} x {size}: p99 {own[index].p99:.1f} ms, lowest of the peers {p99:.1f} ms ({lowest})")
        if "KServe" in peers:
            print(f"single headlines at 64 clients: {single.rate / peers['KServe'][2].rate:.2f}x KServe")


if __name__ == "__main__":
    main()
