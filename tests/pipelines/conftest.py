"""A Kubeflow Pipelines server, a store with data, and a champion."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pipelines.cluster_workspace import RECIPE, ClusterWorkspace, decision
from pipelines.kfp_server import KfpServer, serve

from textgate.components.record.record import record_run
from textgate.components.storage import Registry, Store
from textgate.components.storage.runs import save_decision


@pytest.fixture(scope="session")
def kfp_server() -> Iterator[KfpServer]:
    """One server for the session; every test resets its state."""
    state = KfpServer()
    server = serve(state)
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def workspace(kfp_server: KfpServer, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> ClusterWorkspace:
    address = kfp_server.address
    kfp_server.__init__(address=address)  # type: ignore[misc]
    monkeypatch.setenv("TEXTGATE_BUCKET", store.bucket)
    monkeypatch.chdir(tmp_path)
    store.put("films.csv", b"text,label\na fine film,good\na dull film,bad\n")
    (tmp_path / "films.yaml").write_text(RECIPE.replace("BUCKET", store.bucket))
    return ClusterWorkspace(tmp_path, store, kfp_server)


@pytest.fixture
def champion(store: Store, bundle_folder: Path) -> Callable[[str], str]:
    """Return a function that promotes the small bundle to champion of films, by a run on this version of the source."""

    def promote(source_version: str) -> str:
        run = f"run-{uuid.uuid4().hex[:6]}"
        registry = Registry(store)
        version = registry.publish("films", bundle_folder)
        registry.update_channel("films", version, run=run, reason="it passed", expected=None)
        save_decision(store, run, decision(True))
        record_run(store, run, {"model": "films"}, source_version, "SUCCEEDED", None)
        return version

    return promote
