"""A cluster's API server, a store with data in it, and a champion."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pipelines.desk import RECIPE, Desk, decision
from pipelines.kfp_server import KfpServer, serve

from textgate.components.record.record import record_run
from textgate.components.storage import Registry, Store
from textgate.components.storage.runs import save_decision


@pytest.fixture(scope="session")
def running() -> Iterator[KfpServer]:
    """One server for the session; every test empties it."""
    state = KfpServer()
    server = serve(state)
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def desk(running: KfpServer, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Desk:
    address = running.address
    running.__init__(address=address)  # type: ignore[misc]
    monkeypatch.setenv("TEXTGATE_BUCKET", store.bucket)
    monkeypatch.chdir(tmp_path)
    store.put("films.csv", b"text,label\na fine film,good\na dull film,bad\n")
    (tmp_path / "films.yaml").write_text(RECIPE.replace("BUCKET", store.bucket))
    return Desk(tmp_path, store, running)


@pytest.fixture
def champion(store: Store, bundle_folder: Path) -> Callable[[str], str]:
    """Makes the small bundle champion of films, by a run that was made of the given version of the source."""

    def make(source_version: str) -> str:
        run = f"run-{uuid.uuid4().hex[:6]}"
        registry = Registry(store)
        version = registry.publish("films", bundle_folder)
        registry.update_channel("films", version, run=run, reason="it passed", expected=None)
        save_decision(store, run, decision(True))
        record_run(store, run, {"model": "films"}, source_version, "SUCCEEDED", None)
        return version

    return make
