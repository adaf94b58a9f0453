"""Many processes on one cold cache, on a source that changes, and killed in the middle of a download."""

import itertools
import multiprocessing
import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sources.cold_cache import fetch_all, fetch_in, ingest_all, set_environment
from sources.web_server import Page, web_server
from sources.wheel_index import serve_wheel

from textgate.components.contracts import Source
from textgate.components.sources import content_version
from textgate.components.sources.digest import digest_of
from textgate.components.storage import Store

PROCESSES = 16
KILLS = 60
ROUNDS = 1
SENTENCE = "changed while the run started: run again"


def table(rows: int) -> bytes:
    return b"text,label\n" + b"".join(b"%d%s,%d\n" % (index, b" word" * 400, index % 2) for index in range(rows))


CONTENT, OTHER = table(500), table(800)


@pytest.fixture(scope="module")
def forks() -> "multiprocessing.context.ForkServerContext":
    """Context of processes that have the modules loaded already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["textgate.components.ingest.ingest", "boto3.s3.transfer"])
    return context


@pytest.fixture
def uris(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """URIs of every scheme that downloads, each of the content ``CONTENT``."""
    wheel = serve_wheel(tmp_path / "index", {"some_data/films.csv": CONTENT}, monkeypatch)
    store.put("films.csv", CONTENT)
    store.put("folder/films.csv", CONTENT)
    with web_server() as web:
        web.pages["/films.csv"] = Page(CONTENT, {"ETag": '"1"'})
        web.pages["/no-etag/films.csv"] = Page(CONTENT)
        yield [
            f"{web.address}/films.csv",
            f"{web.address}/no-etag/films.csv",
            store.uri("films.csv"),
            store.uri("folder/"),
            f"pypi://some-data/1.0/some_data/films.csv#sha256={wheel}",
        ]


@contextmanager
def pool(context: "multiprocessing.context.ForkServerContext") -> Iterator[Executor]:
    with ProcessPoolExecutor(PROCESSES, context, set_environment, (dict(os.environ),)) as workers:
        yield workers


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Rewrite a file in place, and replace it, again and again."""
    stop, contents = threading.Event(), itertools.cycle([OTHER, CONTENT])

    def change() -> None:
        while not stop.wait(0.5):
            content = next(contents)
            if content is OTHER:
                path.write_bytes(content)
            else:
                new = path.with_name(".new")
                new.write_bytes(content)
                new.replace(path)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.slow
def test_concurrent_processes_on_a_cold_cache_do_not_fail(
    uris: list[str], forks: "multiprocessing.context.ForkServerContext", tmp_path: Path
) -> None:
    expected = [digest_of(tmp_path / name) for name in write_expected(tmp_path, uris)]
    with pool(forks) as workers:
        for cache in range(3):
            downloads = tmp_path / f"downloads-{cache}"
            results = list(workers.map(fetch_all, [uris] * PROCESSES, [downloads] * PROCESSES))
            assert results == [expected] * PROCESSES
            names = [path for path in downloads.rglob(".*") if path.suffix != ".lock" and path.name != ".digest"]
            assert names == []


def write_expected(folder: Path, uris: list[str]) -> list[str]:
    """Write what each URI should give; return the names."""
    (folder / "as-file").write_bytes(CONTENT)
    (folder / "as-folder").mkdir()
    (folder / "as-folder" / "films.csv").write_bytes(CONTENT)
    return ["as-folder" if uri.endswith("/") else "as-file" for uri in uris]


@pytest.mark.slow
def test_concurrent_ingests_account_for_every_row_while_one_source_changes(
    uris: list[str], forks: "multiprocessing.context.ForkServerContext", tmp_path: Path
) -> None:
    path = tmp_path / "local" / "films.csv"
    path.parent.mkdir()
    rows_of = {}
    for content, rows in ((OTHER, 800), (CONTENT, 500)):
        path.write_bytes(content)
        rows_of[content_version(str(path))] = rows
        rows_of[content_version(str(path.parent))] = rows
    sources = {str(number): Source(uri=uri) for number, uri in enumerate([*uris, str(path), str(path.parent)])}
    found: Counter[str] = Counter()
    with pool(forks) as workers, changing(path):
        for cache in range(ROUNDS):
            downloads = tmp_path / f"downloads-{cache}"
            outputs = [tmp_path / f"out-{cache}-{number}" for number in range(PROCESSES)]
            for outcome in workers.map(ingest_all, [sources] * PROCESSES, outputs, [downloads] * PROCESSES):
                for name, result in outcome.items():
                    if isinstance(result, str):
                        assert result == f"{sources[name].uri} {SENTENCE}"
                        assert int(name) >= len(uris)
                        found["conflict"] += 1
                    else:
                        version, rows = result
                        assert rows == rows_of.get(version, 500)
                        assert int(name) < len(uris) or version in rows_of
                        found[f"{rows} rows"] += 1
    print(dict(found))
    assert found.total() == ROUNDS * PROCESSES * len(sources)
    assert found["500 rows"] >= ROUNDS * PROCESSES * len(uris)


@pytest.mark.slow
def test_killed_downloads_leave_nothing_that_counts_as_whole(
    uris: list[str], forks: "multiprocessing.context.ForkServerContext", tmp_path: Path
) -> None:
    expected = [digest_of(tmp_path / name) for name in write_expected(tmp_path, uris)]
    dice, environment = random.Random(18), dict(os.environ)
    removed = whole = 0
    for number in range(KILLS):
        uri, wanted = uris[number % len(uris)], expected[number % len(uris)]
        cache = tmp_path / f"downloads-{number}"
        process = forks.Process(target=fetch_in, args=(environment, uri, cache))
        process.start()
        while not temporary_names(cache) and process.is_alive():
            process.join(0.001)
        process.join(dice.uniform(0, 1.0 if uri.startswith("pypi") else 0.02))
        process.kill()
        process.join()
        left = temporary_names(cache)
        for path in cache.rglob(wanted_name(uri)):
            if not any(part.startswith(".") for part in path.relative_to(cache).parts):
                assert digest_of(path) == wanted
                whole += 1
        for leftover in left:
            for path in [leftover, *leftover.rglob("*")]:
                os.utime(path, (0, 0))
        assert fetch_all([uri], cache) == [wanted]
        # pip outlives the process that started it, and writes to its folder.
        assert uri.startswith("pypi") or temporary_names(cache) == []
        removed += len(left)
    print(f"{KILLS} killed fetches: {whole} whole, {removed} leftovers removed")
    assert removed > KILLS / 4


def temporary_names(cache: Path) -> list[Path]:
    return [path for path in cache.rglob(".*-????????") if not path.parent.name.startswith(".")]


def wanted_name(uri: str) -> str:
    return "folder" if uri.endswith("/") else "films.csv"
