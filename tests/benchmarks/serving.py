"""The endpoint beside other servers, the same weights in all of them: requests per second, latency, memory.

    python tests/benchmarks/serving.py --headlines clickbait_headlines.jsonl.gz [--rounds 3] [--seconds 5]
        [--only textgate,KServe] [--work DIR] [--environments DIR] [--json FILE]

Trains a model, or takes the one that lies in --work. Every server gets what it can take of it: the int8 graph on ONNX
Runtime, or the checkpoint on torch. In turns, each is started, asked to answer right, warmed, measured and stopped;
printed are medians of the rounds. Each client holds a connection and sends its next headline when it has the answer to
the last; one process on this machine plays them all, for about 15 us of a core a request. Servers write their logs to a
file: textgate a line a request, as it does by default, its peers none. Peers live in environments of their own, made
when they are missing (3 GB). A round of all takes about 8 minutes.
"""

import argparse
import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ceiling import AT_HAND
from headline_model import HeadlineModel, prepare
from load import measure, percentile, post
from running import UnavailableError, running
from servers import SERVERS, Server

from textgate.components.storage import EmbeddedStore

CLIENTS = [(1, 1), (16, 1), (64, 1), (16, 32)]
"""Clients, and texts in each request."""
ARRANGEMENTS = {
    "in process: 1 session of 2 threads": (1, 2, 1),
    "in process: 2 sessions of 1 thread": (2, 1, 2),
    "in process: 1 session of 1 thread for 2": (1, 1, 2),
}
"""Sessions, threads of each, and Python threads that ask."""
_CHECKED = 64
_WARM_SECONDS = 3.0


@dataclass(frozen=True)
class Seen:
    """One row under one load."""

    rate: float
    """Texts per second."""
    p50: float
    """Milliseconds."""
    p99: float
    cpu: float
    """Milliseconds of all cores that a text took, where the machine is busy with other things the better measure."""
    errors: int


@dataclass(frozen=True)
class Turn:
    """One row in one round."""

    loads: list[Seen]
    memory: int
    """Resident bytes."""
    paused: float = 0.0
    """Milliseconds at p50 of a lone text in process with a pause before it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--headlines", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--only", help="rows, by the beginnings of their names, with commas between them")
    parser.add_argument("--work", type=Path, help="where the model is made and kept; a temporary folder without it")
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache" / "textgate-bench")
    parser.add_argument("--json", type=Path, help="write every turn to this file")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is stopped
    wanted = arguments.only.split(",") if arguments.only else [""]
    arrangements = {name: found for name, found in ARRANGEMENTS.items() if name.startswith(tuple(wanted))}
    servers = [server for server in SERVERS if server.name.startswith(tuple(wanted))]
    with tempfile.TemporaryDirectory() as temporary:
        model = prepare(arguments.work or Path(temporary), arguments.headlines)
        turns: dict[str, list[Turn]] = {name: [] for name in [*arrangements, *(server.name for server in servers)]}
        failed: dict[str, str] = {}
        try:
            for _ in range(arguments.rounds):
                for name, arrangement in arrangements.items():
                    turns[name].append(in_process(model, arrangement, arguments.seconds))
                    print_turn(name, turns[name][-1])
                for server in servers:
                    if server.name in failed:
                        continue
                    try:
                        turns[server.name].append(served(model, server, arguments.environments, arguments.seconds))
                        print_turn(server.name, turns[server.name][-1])
                    except UnavailableError as error:
                        failed[server.name] = str(error)
                        print(f"{server.name}: {error}", flush=True)
        finally:
            EmbeddedStore(model.workspace).stop()
    if arguments.json:
        written = {name: [dataclasses.asdict(turn) for turn in found] for name, found in turns.items()}
        arguments.json.write_text(json.dumps({"turns": written, "failed": failed}, indent=1))
    medians = {name: median_of(found) for name, found in turns.items() if found and name not in failed}
    print_table(medians, failed)
    print_goals(medians)


def in_process(model: HeadlineModel, arrangement: tuple[int, int, int], seconds: float) -> Turn:
    """One arrangement of the engine, without a server."""
    command = [sys.executable, str(Path(__file__).with_name("ceiling.py")), str(model.folder), *map(str, arrangement)]
    done = subprocess.run(
        [*command, str(seconds)], input=json.dumps(model.texts), stdout=subprocess.PIPE, check=True, text=True
    )
    answer = json.loads(done.stdout)
    loads = []
    for found in answer["loads"]:
        ordered = sorted(found["durations"])
        p50, p99 = (1e3 * percentile(ordered, share) for share in (0.5, 0.99))
        loads.append(Seen(found["rate"], p50, p99, 1e3 * found["cpu"], 0))
    return Turn(loads, answer["memory"], 1e3 * percentile(sorted(answer["paused"]), 0.5))


def served(model: HeadlineModel, server: Server, environments: Path, seconds: float) -> Turn:
    """One server, started, checked, warmed, measured and stopped."""
    expected = model.sure(_CHECKED)
    with tempfile.TemporaryDirectory() as scratch, running(server, model, environments, Path(scratch)) as started:
        started.wait(next(iter(expected)))
        started.check(expected, batch=32)
        loads = []
        for clients, size in CLIENTS:
            bodies = [model.texts[start : start + size] for start in range(0, len(model.texts), size)]
            requests = [post(server.path, json.dumps(server.body(body)).encode()) for body in bodies]
            measure(started.port, requests, clients, _WARM_SECONDS)
            began, computed = time.perf_counter(), started.cpu_seconds
            seen = measure(started.port, requests, clients, seconds)
            cores = (started.cpu_seconds - computed) / (time.perf_counter() - began)
            if not seen.latencies:
                raise UnavailableError(f"gave {clients} clients no answer")
            p50, p99 = (1e3 * seen.percentile(share) for share in (0.5, 0.99))
            loads.append(Seen(size * seen.rate, p50, p99, 1e3 * cores / (size * seen.rate), seen.errors))
        return Turn(loads, started.memory)


def median_of(turns: list[Turn]) -> Turn:
    """Each figure's median; errors are added up."""
    loads = [
        Seen(
            rate=median(seen.rate for seen in seens),
            p50=median(seen.p50 for seen in seens),
            p99=median(seen.p99 for seen in seens),
            cpu=median(seen.cpu for seen in seens),
            errors=sum(seen.errors for seen in seens),
        )
        for seens in zip(*(turn.loads for turn in turns), strict=True)
    ]
    return Turn(loads, int(median(turn.memory for turn in turns)), median(turn.paused for turn in turns))


def cell(seen: Seen) -> str:
    return f"{seen.rate:,.0f} ({seen.p50:.1f}, {seen.p99:.1f})" + (f" {seen.errors} errors" if seen.errors else "")


def print_turn(name: str, turn: Turn) -> None:
    print(f"{name}: {' | '.join(row(turn))}", flush=True)


def row(turn: Turn) -> list[str]:
    return [*map(cell, turn.loads), f"{turn.loads[2].cpu:.2f}", f"{turn.memory / 1e6:,.0f}"]


def print_table(medians: dict[str, Turn], failed: dict[str, str]) -> None:
    print(
        "\nTexts per second (p50 and p99 of a request in milliseconds). In process, so many texts are at hand at once:"
    )
    print(f"{', '.join(map(str, AT_HAND))}; p50 and p99 are of a prediction.\n")
    heads = [f"{clients} client{'s' * (clients > 1)}{f', {size} texts each' * (size > 1)}" for clients, size in CLIENTS]
    print(f"| | {' | '.join(heads)} | CPU ms a text at {CLIENTS[2][0]} | resident MB |")
    print("| --- |" + " --- |" * (len(heads) + 2))
    for name, turn in medians.items():
        print(f"| {name} | {' | '.join(row(turn))} |")
    for name, reason in failed.items():
        print(f"| {name} | {reason} |")


def print_goals(medians: dict[str, Turn]) -> None:
    """Where textgate stands against the engine alone and against its peers."""
    if "textgate" not in medians:
        return
    one, _, single, batches = medians["textgate"].loads
    within = [turn for name, turn in medians.items() if name in ARRANGEMENTS]
    inside = [turn.loads for turn in within]
    peers = {name: turn.loads for name, turn in medians.items() if name not in (*ARRANGEMENTS, "textgate", "echo")}
    print()
    if inside:
        ceiling = max(seen.rate for loads in inside for seen in loads)
        at_hand = max(loads[2].rate for loads in inside)
        print(
            f"of the ceiling of {ceiling:,.0f} texts/s: batches {batches.rate / ceiling:.0%}, "
            f"single headlines at 64 clients {single.rate / ceiling:.0%}; "
            f"in process with 64 at hand {at_hand / ceiling:.0%}"
        )
        print(
            f"added at 1 client: {one.p50 - min(loads[0].p50 for loads in inside):.2f} ms at p50, and "
            f"{one.p50 - min(turn.paused for turn in within):.2f} to the process with a pause before each text"
        )
    if peers:
        best = max(peers, key=lambda name: peers[name][2].rate)
        quickest = min(peers, key=lambda name: peers[name][2].p99)
        print(f"single headlines at 64 clients: {single.rate / peers[best][2].rate:.2f}x the best peer ({best})")
        print(f"p99 there: {single.p99:.1f} ms, of the quickest peer {peers[quickest][2].p99:.1f} ms ({quickest})")
        if "KServe" in peers:
            print(f"single headlines at 64 clients: {single.rate / peers['KServe'][2].rate:.2f}x KServe")


if __name__ == "__main__":
    main()
