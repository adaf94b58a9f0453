"""What the tests of any cluster run in pods, here as processes: training, clients, and the step of a TrainJob."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from cluster.conftest import IN_PODS, LABEL, TEXT, films_csv
from serving.server_process import TEXTGATE, start_server
from train.cluster import Cluster, serving

from textgate.components.storage import Registry, Store

pytestmark = pytest.mark.slow


@pytest.fixture
def trained(store: Store, environment: dict[str, str], tmp_path: Path) -> str:
    """Run the recipe of the tests in the store's bucket; return the output."""
    (tmp_path / "films.csv").write_text(films_csv())
    recipe = (IN_PODS / "films.yaml").read_text().replace("/test/", f"{tmp_path}/")
    (tmp_path / "films.yaml").write_text(recipe)
    command = [TEXTGATE, "run", "films.yaml", "--workspace", "workspace", "--fail-on-reject"]
    settings = {**os.environ, **environment, "TEXTGATE_BUCKET": store.bucket}
    process = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def test_clients_count_answers_and_failures(
    trained: str, store: Store, environment: Mapping[str, str], tmp_path: Path
) -> None:
    assert Registry(store).channel("films", "champion") is not None, trained
    with start_server(environment, store.bucket, tmp_path / "server", tmp_path, model="films") as server:
        addresses = [address.removeprefix("http://") for address in (server.http, server.grpc)]
        clients = subprocess.Popen(
            [sys.executable, IN_PODS / "load.py", *addresses, "films", TEXT, LABEL], stdout=subprocess.PIPE, text=True
        )
        assert clients.stdout
        first, second = (json.loads(clients.stdout.readline()) for _ in range(2))
        server.process.terminate()
        server.process.wait(60)
        while (last := json.loads(clients.stdout.readline()))["failed"] < 5:
            pass
        clients.kill()
        clients.stdout.close()
        clients.wait()
    for protocol in ("http", "grpc"):
        assert 0 < first[protocol] < second[protocol]
    assert first["failed"] == second["failed"] == 0, second
    assert any(failure.startswith("http: ") for failure in last["failures"])


def test_the_step_of_a_train_job_is_followed_to_its_end(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.script = ([["node 0"], ["node 1"]], [{"type": "Complete", "status": "True"}])
    cluster.pod = {
        "metadata": {"name": "follow-1", "uid": "a-uid", "namespace": "team"},
        "spec": {"containers": [{"name": "main", "image": "textgate/pipeline:0"}]},
    }
    with serving(cluster) as kubeconfig:
        settings = {**os.environ, "KUBECONFIG": str(kubeconfig), "KFP_POD_NAME": "follow-1"}
        command = [sys.executable, IN_PODS / "follow.py", "train-on-two"]
        process = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert {"node 0", "node 1: node 1", "the TrainJob has ended"} <= set(process.stdout.splitlines())
    assert cluster.deleted == ["train-on-two"]
