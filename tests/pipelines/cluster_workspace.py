"""The command line with a store and a Kubeflow Pipelines server, and the outputs of a run in the store."""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from pipelines.kfp_server import KfpServer

from textgate.components.contracts import Estimate, GateDecision, Promotion, Rule
from textgate.components.record.record import record_run
from textgate.components.storage import Store
from textgate.components.storage.runs import save_decision, save_promotion
from textgate.pipelines.cli import main

RECIPE = """
name: films
description: made-up film reviews
model: films
source: {uri: "s3://BUCKET/films.csv"}
train: {family: linear, min_df: 1}
gate: {min_f1: 0.8}
"""


@dataclass(frozen=True)
class ClusterWorkspace:
    """A folder with a recipe, a store and a Kubeflow Pipelines server."""

    folder: Path
    store: Store
    server: KfpServer

    def run(self, *arguments: str) -> Result:
        """Run ``textgate`` with these arguments, by default against the server."""
        endpoint = [] if "--endpoint" in arguments else ["--endpoint", self.server.address]
        return CliRunner().invoke(main, [*arguments, *endpoint])

    def run_json(self, *arguments: str) -> Any:
        """Run a command that must succeed with ``--json``; return the parsed output."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)


def decision(passed: bool, gate: str = "served") -> GateDecision:
    """Return a decision of a gate by the rule ``min_f1``."""
    f1 = Estimate(value=0.91, low=0.88, high=0.94) if passed else Estimate(value=0.51, low=0.45, high=0.57)
    words = f"the served model has F1 {f1}"
    rule = Rule(name="min_f1", threshold=0.8, value=f1, passed=passed, message=words)
    return GateDecision.model_validate({"gate": gate, "bundle": "b" * 64, "dataset": "d" * 64, "rules": [rule]})


def store_outputs(store: Store, *, promoted: bool) -> Callable[[str, dict[str, Any]], None]:
    """Return a function that writes what the steps of a run write to the store."""

    def write(run: str, parameters: dict[str, Any]) -> None:
        assert parameters["bucket"] == store.bucket
        save_decision(store, run, decision(promoted))
        if promoted:
            save_promotion(store, run, Promotion(model="films", version="605127f62e6b", previous=None))
        record_run(store, run, {"model": "films"}, parameters["source_version"], "SUCCEEDED", None)

    return write


@contextlib.contextmanager
def unreachable_address() -> Iterator[str]:
    """Reserve an address at which no server listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"
