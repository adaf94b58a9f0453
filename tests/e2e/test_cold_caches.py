"""Whole runs and servers that start at once on cold caches, while one of the runs' sources changes."""

import itertools
import json
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from serving.server_process import TEXTGATE, ServerProcess, start_server
from sources.web_server import Page, web_server

from textgate.components.contracts import Dataset
from textgate.components.storage import EmbeddedStore

EDITIONS = 3
"""Number of contents that the changing source has, one after the other."""
SKIPPED = ("baseline_texts", "label_check_texts", "map_texts", "top_word_texts", "explained_errors")
"""Analyses that take time and say nothing about rows."""
CHANGED = "changed while the run started: run again"


@dataclass(frozen=True)
class Content:
    """Content of a source: rows that name it, and rows that ingest rejects."""

    name: str
    rows: int
    empty: int
    unknown: int

    @property
    def rejected(self) -> Counter[str]:
        """Number of rejected rows by reason."""
        return Counter({"empty text": self.empty, "unknown label": self.unknown})

    @property
    def accepted(self) -> set[tuple[str, str]]:
        """Text and label of each row that is not rejected; the texts are long, so that a download takes a while."""
        return {
            (
                f"{self.name}x{index} {('bad', 'good')[index % 2]} {f'w{index} ' * 300}".strip(),
                ("bad", "good")[index % 2],
            )
            for index in range(self.rows)
        }

    @property
    def csv(self) -> bytes:
        """The file."""
        lines = [f"{text},{label}" for text, label in sorted(self.accepted)]
        lines += [",good"] * self.empty + [f"{self.name} {index},7" for index in range(self.unknown)]
        return ("\n".join(["text,label", *lines]) + "\n").encode()


VALIDATED, BARE = Content("validated", 120, 2, 1), Content("bare", 120, 1, 3)
CHANGING = [Content(f"edition{number}", 80 + 10 * number, number, number + 1) for number in range(EDITIONS)]


class Pages(dict[str, Page]):
    """Pages by path; ``/changing.csv`` gets its next edition after every few requests, until it has the last one."""

    def __init__(self, requests_per_edition: int) -> None:
        super().__init__({"/validated.csv": Page(VALIDATED.csv, {"ETag": '"1"'}), "/bare.csv": Page(BARE.csv)})
        editions = [Page(content.csv, {"ETag": f'"{content.name}"'}) for content in CHANGING]
        repeated = (itertools.repeat(page, requests_per_edition) for page in editions)
        self._next = itertools.chain(*repeated, itertools.repeat(editions[-1]))
        self._lock = threading.Lock()

    def get(self, path: str, default: Any = None) -> Any:
        """Return the present page at a path."""
        with self._lock:
            return next(self._next) if path == "/changing.csv" else super().get(path, default)


@dataclass
class Run:
    """A whole ``textgate run`` as a process, started again for as long as its source changes while it starts."""

    name: str
    workspace: Path
    environment: Mapping[str, str]
    sources: Mapping[str, str]
    """URI by name; the first is that of the section ``source``."""
    conflicts: int = 0
    result: dict[str, Any] = field(default_factory=dict)

    def __call__(self) -> None:
        """Write the recipe and run it."""
        labels = {"bad": "bad", "good": "good"}
        (_, uri), *others = self.sources.items()
        recipe = {
            "name": self.name,
            "description": "made-up film reviews",
            "model": self.name,
            "source": {
                "uri": uri,
                "labels": labels,
                "also": {name: {"uri": other, "labels": labels} for name, other in others},
            },
            "train": {"family": "linear", "min_df": 1},
            "evaluate": {"robustness": [], **dict.fromkeys(SKIPPED, 0)},
            "gate": {"min_f1": 0.8},
        }
        path = self.workspace.with_name(f"{self.name}.yaml")
        path.write_text(json.dumps(recipe))  # JSON is YAML
        command = [TEXTGATE, "run", str(path), "--workspace", str(self.workspace), "--json"]
        for _ in range(EDITIONS):
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
            if done.returncode != 5:
                break
            assert f"{uri} {CHANGED}" in done.stderr
            self.conflicts += 1
        assert done.returncode == 0, done.stderr
        self.result = json.loads(done.stdout)


def read_contents(folder: Path) -> list[Content]:
    """Return the published contents that the rows of an ingested dataset are exactly the rows of."""
    dataset = Dataset.open(folder)
    rows = {(row.text, row.label) for row in dataset.rows("all")}
    found = [content for content in (VALIDATED, BARE, *CHANGING) if content.accepted <= rows]
    assert rows == set().union(*(content.accepted for content in found))
    assert (dataset.manifest.rows_in, dataset.manifest.rejected) == account(found)
    return found


def account(contents: list[Content]) -> tuple[int, Counter[str]]:
    """Return the number of rows of contents, and the number of rejected ones by reason."""
    rejected = sum((content.rejected for content in contents), Counter[str]())
    return sum(content.rows for content in contents) + rejected.total(), rejected


def hidden_names(folder: Path) -> Iterator[Path]:
    """Yield the temporary names below a folder."""
    return (path for path in folder.rglob(".*-????????") if "store" not in path.relative_to(folder).parts)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("run_count", "server_count"),
    [pytest.param(4, 3, marks=pytest.mark.slow), pytest.param(16, 8, marks=pytest.mark.long)],
)
def test_runs_and_servers_on_cold_caches_do_not_fail_and_account_for_every_row(
    run_count: int, server_count: int, workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the runs share a workspace, whose embedded store they start; the others share the session's store.

    All share the folder of downloads. Then the servers start at once in the shared workspace, without its store.
    """
    shared, downloads, scratch = tmp_path / "shared", tmp_path / "downloads", tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("serving.server_process.START_SECONDS", 300.0)
    bucket = workspace.environment["TEXTGATE_BUCKET"]
    own_store = workspace.environment | {"TEXTGATE_DOWNLOADS": str(downloads), "TMPDIR": str(scratch)}
    no_store = {key: value for key, value in own_store.items() if not key.startswith("AWS_")}
    with ExitStack() as stack:
        web = stack.enter_context(web_server())
        # As many as runs that read the changing source, or fewer: it changes before the last of them has read it.
        web.pages = Pages(requests_per_edition=(run_count + 4) // 4)
        stack.callback(EmbeddedStore(shared).stop)
        stable = {"validated": f"{web.address}/validated.csv", "bare": f"{web.address}/bare.csv"}
        changing = {"changing": f"{web.address}/changing.csv"} | stable
        runs = [
            Run(
                f"films-{number}",
                shared if number % 2 else tmp_path / f"workspace-{number}",
                no_store if number % 2 else own_store,
                changing if number % 4 < 2 else stable,
            )
            for number in range(run_count)
        ]
        with ThreadPoolExecutor(run_count) as pool:
            for outcome in [pool.submit(run) for run in runs]:
                outcome.result()
        editions, conflicts = check_rows(runs), sum(run.conflicts for run in runs)
        assert conflicts or editions > 1
        assert [*hidden_names(downloads), *scratch.iterdir()] == []
        for folder in {run.workspace for run in runs}:
            assert [*hidden_names(folder)] == []
        published = {content.csv for content in (VALIDATED, BARE, *CHANGING)}
        assert {path.read_bytes() for path in downloads.rglob("*.csv")} <= published

        models = {run.name: run.result["version"] for run in runs if run.workspace == shared}
        assert EmbeddedStore(shared).stop()
        with ThreadPoolExecutor(server_count) as pool:
            options: Any = {"wait_until_ready": False}
            starts = [
                pool.submit(stack.enter_context, start_server(no_store, bucket, shared, shared, **options))
                for _ in range(server_count)
            ]
            servers = [start.result() for start in starts]
        for server in servers:
            check_server(server, models)
    print(
        f"{run_count} runs on {editions} editions: 0 failed, {conflicts} begun again; {server_count} servers: 0 failed"
    )


def check_rows(runs: list[Run]) -> int:
    """Check that each run and each ingested dataset has all rows of one content of each source.

    Returns:
        Number of editions of the changing source that were read.
    """
    folders = {run.workspace for run in runs}
    manifests = [path for folder in folders for path in folder.glob("runs/*/ingest/*/dataset.json")]
    ingested = [read_contents(path.parent) for path in manifests]
    assert {len(contents) for contents in ingested} == {2, 3}
    for run in runs:
        data = run.result["data"]
        assert data["rows_in"] == data["rows_kept"] + sum(data["rejected"].values())
        accounts = [account(contents) for contents in ingested if len(contents) == len(run.sources)]
        assert (data["rows_in"], data["rejected"]) in accounts
        assert run.result["verdict"] == "promote"
    return len({content.name for contents in ingested for content in contents} - {VALIDATED.name, BARE.name})


def check_server(server: ServerProcess, models: dict[str, str]) -> None:
    """Check that a server becomes ready and answers for all models with the champion."""
    server.wait_for("ready")
    for model, version in models.items():
        answer = server.post(f"/v1/models/{model}:classify", {"texts": ["good good"]})
        assert answer.status_code == 200, answer.text
        assert answer.json()["version"] == version
        assert answer.json()["predictions"][0]["label"] == "good"
    refused = [line for line in server.log_lines if line["event"] in ("version refused", "downloaded again")]
    assert refused == []
