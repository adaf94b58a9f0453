"""Runs that are killed at random moments, on a store that is killed, paused or faulty, and then run again.

    python tests/e2e/chaos.py --runs 300 --seed 7
    python tests/e2e/chaos.py --runs 200 --kills 200

A scenario has a store, a workspace and a bucket of its own. Its run is killed (SIGKILL) again and again at a seeded
random moment of a random step that it has not completed yet, in between ``textgate gc``, ``models move`` and ``models
repair`` are killed too, and in the end the run is left alone. After each kill every visible version must be complete
and intact, every channel must point at one, and no audit entry may be missing or changed. In the end the champion must
be that of an undisturbed run, and ``textgate gc`` must leave no more in store and workspace than after that one.

The moments depend on the seed, but what is going on at a moment depends on the machine too.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.s3_proxy import KINDS, FaultyStore

from textgate.components.contracts import InputError
from textgate.components.storage import EmbeddedStore, Registry, Store
from textgate.components.storage.deletion import incomplete_uploads

TEXTGATE = str(Path(sysconfig.get_path("scripts")) / "textgate")
STEPS = [
    *("ingest", "preprocess", "check-labels", "train", "evaluate", "gate-trained"),
    *("merge-quantize", "export-onnx", "evaluate-2", "gate-served", "promote", "record"),
]
CACHED = {*STEPS} - {"gate-trained", "gate-served", "promote", "record"}
MODES = ("sound", "killed", "paused", "faulty")
"""States of the store during a kill."""
RATES = dict.fromkeys(KINDS, 0.02)
_DISTURBANCES_AFTER = 2
"""Commands on the registry that are killed after the last run, when there is a champion for sure."""
_LONGEST_DELAY = 2.0
_LONGEST_RUN = 300.0
_RECORDS = ("record.json", "promotion.json", "evaluation.json", "README.md", "decisions")
RECIPE = """
name: films
description: made-up film reviews
model: films
source: {{uri: "{uri}", labels: {{"0": bad, "1": good}}}}
train: {{family: linear, min_df: 1}}
gate: {{min_f1: 0.8}}
"""


@dataclass
class Outcome:
    """Counts and failures of scenarios."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    champion: str = ""
    left: Counter[str] = field(default_factory=Counter)
    """Bytes and folders after ``textgate gc``."""

    def add(self, other: "Outcome") -> None:
        """Add the counts and failures of another outcome."""
        self.counts += other.counts
        self.failures += other.failures


class Scenario:
    """One store, one workspace and one model."""

    def __init__(self, seed: int, uri: str, stack: ExitStack) -> None:
        self.seed, self.rng, self.outcome = seed, random.Random(seed), Outcome()
        self.folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True))
        )
        self.embedded = EmbeddedStore(self.folder / "embedded")
        endpoint = self.embedded.start().endpoint
        stack.callback(self.embedded.stop)
        self.proxy = stack.enter_context(FaultyStore(endpoint, seed=seed, hang_seconds=2))
        for name in [name for name in os.environ if name.startswith(("AWS_", "TEXTGATE_"))]:
            del os.environ[name]
        os.environ.update(self.embedded.environment())
        self.registry = Registry(Store.from_environment("chaos"))
        self.store.ensure_bucket()
        self.environment = {
            **os.environ,
            "AWS_ENDPOINT_URL_S3": self.proxy.endpoint,
            "TEXTGATE_BUCKET": "chaos",
            "TEXTGATE_WORKSPACE": str(self.folder / "workspace"),
            "TEXTGATE_DOWNLOADS": str(self.folder / "downloads"),
            "TMPDIR": str(self.folder / "tmp"),
            "OMP_NUM_THREADS": "1",
        }
        (self.folder / "tmp").mkdir()
        (self.folder / "films.yaml").write_text(RECIPE.format(uri=uri))
        self.audit: dict[str, bytes] = {}
        self.done: set[str] = set()

    @property
    def store(self) -> Store:
        """The store, without the proxy."""
        return self.registry.store

    def fail(self, message: str) -> None:
        """Record a failure."""
        self.outcome.failures.append(f"seed {self.seed}: {message}")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``textgate`` in a process group of its own."""
        return subprocess.Popen(
            [TEXTGATE, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, *arguments: str) -> str:
        """Run ``textgate`` undisturbed, which must succeed; return its output."""
        process = self.start(*arguments)
        try:
            output, _ = process.communicate(timeout=_LONGEST_RUN)
        except subprocess.TimeoutExpired:
            kill(process)
            output = f"no end within {_LONGEST_RUN:.0f} s"
        if process.returncode != 0:
            last = output.strip().splitlines()[-1:] or [""]
            self.fail(f"undisturbed textgate {' '.join(arguments)} ended with {process.returncode}: {last[0]}")
        return output

    def kill_run(self, kills: int) -> None:
        """Start a run, and kill it in one of the next steps that it has not completed.

        Args:
            kills: Number of kills, this one included, over which the remaining steps are spread.
        """
        remaining = [step for step in STEPS if step not in self.done]
        # The promotion twice, because it is short.
        target = self.rng.choice(["start", *remaining[: len(remaining) // kills + 1], *["promote"] * (kills < 3)])
        mode, delay = self.rng.choice(MODES), self.rng.uniform(0, _LONGEST_DELAY)
        process, current = self.start("run", "films.yaml"), "start"
        killer = Thread(target=self.disturb, args=(process, mode, delay))
        if target == "start":
            killer.start()
        for line in process.stdout or ():
            step, _, event = line.strip().partition(": ")
            if step in STEPS and event == "started":
                current = step
                if step == target:
                    killer.start()
            elif step in CACHED and event.startswith(("done", "cached")):
                self.done.add(step)
        process.wait()
        if killer.ident:
            killer.join()
        self.count(process, f"run, {current}", mode)

    def kill_command(self, *arguments: str) -> None:
        """Start a command and kill it at a random moment."""
        mode = self.rng.choice(MODES)
        process = self.start(*arguments)
        self.disturb(process, mode, self.rng.uniform(0, _LONGEST_DELAY))
        process.communicate()
        self.count(process, " ".join(arguments[:2]) if arguments[0] == "models" else arguments[0], mode)

    def count(self, process: subprocess.Popen[str], what: str, mode: str) -> None:
        """Count a process that was killed, or that ended before."""
        if process.returncode == -signal.SIGKILL:
            self.outcome.counts.update(["killed", f"killed in {what}", f"killed with the store {mode}"])
        else:
            self.outcome.counts[f"ended before its kill with {process.returncode}"] += 1

    def disturb(self, process: subprocess.Popen[str], mode: str, delay: float) -> None:
        """Disturb the store, kill a process group a moment later, and mend the store."""
        address = self.embedded.status()
        pid = address.pid if address else 0
        if mode in ("killed", "paused"):
            os.kill(pid, signal.SIGKILL if mode == "killed" else signal.SIGSTOP)
        elif mode == "faulty":
            self.proxy.rates = RATES
        time.sleep(delay)
        kill(process)
        self.proxy.rates = {}
        if mode == "killed":
            self.proxy.upstream = self.embedded.start().endpoint
        elif mode == "paused":
            os.kill(pid, signal.SIGCONT)

    def check(self) -> None:
        """Check that every visible version is intact, every channel points at one, and no audit entry is lost."""
        try:
            if "films" not in self.registry.model_names():
                return
            for version in self.registry.versions("films"):
                self.outcome.counts["versions checked"] += 1
                with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
                    self.registry.download("films", version, Path(scratch) / "bundle")
            for channel, version in self.registry.models()["films"].items():
                self.registry.bundle("films", version)
                self.outcome.counts[f"{channel} checked"] += 1
            history = self.registry.history("films")
        except InputError as error:
            self.fail(f"what readers see is damaged: {error}")
            return
        for key, content in self.audit.items():
            stored = self.store.get(key)
            self.outcome.counts["audit entries checked"] += 1
            if stored is None or stored.data != content:
                self.fail(f"{key} is {'lost' if stored is None else 'changed'}")
        for item in self.store.objects("models/films/audit/"):
            stored = self.store.get(item.key)
            self.audit[item.key] = stored.data if stored else b""
        champions = [update for update in history if update.channel == "champion"]
        for later, earlier in pairwise(champions):
            if later.after != earlier.audit_key:
                self.fail(f"the audit has a gap: {later.audit_key} came after {later.after}, not {earlier.audit_key}")

    def disturb_registry(self) -> None:
        """Kill a command on the registry, or damage a pointer and kill its repair."""
        champion = self.registry.channel("films") if "films" in self.registry.model_names() else None
        commands: list[Callable[[], None]] = [partial(self.kill_command, "gc", "--grace", "0s")]
        if champion:
            commands.append(partial(self.kill_command, "models", "move", "films", "challenger", champion.version))
            if has_repair():
                commands.append(self.kill_repair)
        self.rng.choice(commands)()

    def kill_repair(self) -> None:
        """Damage the champion's pointer, kill its repair, repair it, and compare."""
        key = "models/films/channels/champion.json"
        before = self.registry.channel("films")
        stored = self.store.get(key)
        self.store.put(key, (stored.data if stored else b"")[:-20])
        self.kill_command("models", "repair", "films")
        self.finish("models", "repair", "films")
        after = self.registry.channel("films")
        if (before and before.version) != (after and after.version):
            self.fail(f"the champion was {before}, and is {after} after its repair")

    def measure(self) -> None:
        """Measure what is left after ``textgate gc``: bytes of artifacts and models, and folders by kind."""
        # The claim of a version that was removed in part waits for the end of another process's lease.
        self.finish("gc", "--older-than", "0", "--grace", "0", "--keep-champions", "0", "--downloads")
        left: Counter[str] = Counter()
        versions, runs = set[str](), set[str]()
        for item in self.store.objects(""):
            top, name, *rest = item.key.split("/")
            if top == "models" and rest[0] == "versions":
                versions.add(rest[1])
                left["bytes"] += item.size
            elif top == "runs" and rest[0] not in _RECORDS:
                runs.add(name)
            elif top in ("checkpoints", "nodes", "removing"):
                left[f"objects of {top}"] += 1
        left.update({"versions": len(versions), "runs in the store": len(runs)})
        left["uploads"] = len(list(incomplete_uploads(self.store)))
        workspace = self.folder / "workspace"
        left["runs in the workspace"] = sum(path.is_dir() for path in (workspace / "runs").iterdir())
        left["files in the workspace"] = sum(path.is_file() for path in workspace.rglob("*"))
        for root in (workspace, self.folder / "downloads"):
            left["temporary names"] += sum(
                path.name.startswith(".") for path in root.rglob("*") if path.suffix != ".lock"
            )
        left["in TMPDIR"] = len(list((self.folder / "tmp").iterdir()))
        self.outcome.left = left

    def run(self, kills: int) -> Outcome:
        """Kill runs, let the last one finish, and check the result."""
        for left in range(kills, 0, -1):
            self.kill_run(left)
            self.check()
            if self.rng.random() < 0.4:
                self.disturb_registry()
                self.check()
        self.finish("run", "films.yaml")
        self.check()
        for _ in range(_DISTURBANCES_AFTER if kills else 0):
            self.disturb_registry()
            self.check()
        champion = self.registry.channel("films")
        self.outcome.champion = champion.version if champion else ""
        self.measure()
        self.check()
        self.outcome.counts.update({f"injected {kind}": count for kind, count in self.proxy.injected.items()})
        return self.outcome


def kill(process: subprocess.Popen[Any]) -> None:
    """Kill a process and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def has_repair() -> bool:
    """Return whether this version of textgate has ``models repair``."""
    from textgate.pipelines.cli.models import models

    return "repair" in models.commands


def scenario(seed: int, kills: int, uri: str) -> Outcome:
    """Play one scenario in this process."""
    with ExitStack() as stack:
        return Scenario(seed, uri, stack).run(kills)


def play(runs: int, seed: int, jobs: int, kills_per_scenario: int = 6) -> Outcome:
    """Play scenarios with at least ``runs`` killed runs, after an undisturbed one to compare with.

    Args:
        runs: Number of runs to kill.
        seed: Seed of the first scenario; each further one has the next number.
        jobs: Number of scenarios at the same time.
        kills_per_scenario: Number of runs that are killed in one workspace before one is left alone.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_films(folder / "films.csv")
        handler = type("Handler", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        stack.callback(server.shutdown)
        Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_port}/films.csv"
        kills = [min(kills_per_scenario, runs - done) for done in range(0, runs, kills_per_scenario)]
        pool = stack.enter_context(ProcessPoolExecutor(jobs, get_context("spawn")))
        futures = [pool.submit(scenario, seed + index, count, uri) for index, count in enumerate([0, *kills])]
        undisturbed, *others = [future.result() for future in futures]
    result = Outcome(champion=undisturbed.champion, failures=undisturbed.failures, left=undisturbed.left)
    for index, other in enumerate(others, start=1):
        result.add(other)
        result.counts["scenarios"] += 1
        if other.champion != undisturbed.champion:
            result.failures.append(f"seed {seed + index}: the champion is {other.champion}, not {undisturbed.champion}")
        for name in other.left | undisturbed.left:
            result.counts[f"left of {name}"] = max(result.counts[f"left of {name}"], other.left[name])
            if other.left[name] > undisturbed.left[name]:
                result.failures.append(
                    f"seed {seed + index}: {other.left[name]:,} {name} after gc, not {undisturbed.left[name]:,}"
                )
    return result


def write_films(path: Path) -> None:
    """Write reviews that a bag of words separates, but for a few."""
    rng, lines = random.Random(13), ["text,label"]
    for index in range(300):
        words = " ".join(rng.sample([f"word{number}" for number in range(150)], 6))
        good = index % 2 if index >= 24 else 1 - index % 2
        lines.append(f"{words} {'good' if good else 'bad'},{index % 2}")
    path.write_text("\n".join(lines) + "\n")


def main() -> int:
    """Print the counts and the failures; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300, help="runs to kill")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="scenarios at the same time")
    parser.add_argument("--kills", type=int, default=6, help="runs to kill in one workspace before one is left alone")
    options = parser.parse_args()
    started = time.monotonic()
    result = play(options.runs, options.seed, options.jobs, options.kills)
    for name, count in sorted(result.counts.items()):
        print(f"{count:>8,}  {name}")
    print(f"undisturbed: champion {result.champion}, left {dict(result.left)}")
    print(f"{len(result.failures)} failures in {time.monotonic() - started:.0f} s")
    for failure in result.failures:
        print(f"FAILED {failure}")
    return bool(result.failures)


if __name__ == "__main__":
    sys.exit(main())
