"""The variant of the pipeline image with the clients of experiment tracking, in a run that W&B and MLflow log."""

import json
import os
import subprocess
import sysconfig
import uuid
from pathlib import Path
from typing import Any

import pytest
from containers.conftest import REGISTRY, ROOT
from containers.engine import Images, build_images, docker
from e2e.conftest import RECIPE, write_films
from e2e.trackers import OfflineRun, mlflow_server
from mlflow import MlflowClient

from textgate.components.version import __version__

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TEXTGATE = str(Path(sysconfig.get_path("scripts")) / "textgate")
IMAGE = f"{REGISTRY}/pipeline-tracking:{__version__}"


@pytest.fixture(scope="module")
def image(images: Images, base: str, wheels: str) -> str:
    """Build the variant; its layers up to the clients are those of the pipeline image."""
    build_images("image-pipeline-tracking", root=ROOT, registry=REGISTRY, base=base, wheels=wheels)
    return IMAGE


def test_a_run_in_containers_is_in_wandb_and_mlflow_as_in_its_record(
    image: str, store_environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "films.yaml").write_text(RECIPE)
    write_films(tmp_path / "films.csv", wrong=24)
    bucket = {"TEXTGATE_BUCKET": f"test-{uuid.uuid4().hex[:12]}"}
    with mlflow_server(tmp_path) as address:
        trackers = {"WANDB_MODE": "offline", "MLFLOW_TRACKING_URI": address}
        done = subprocess.run(
            [TEXTGATE, "run", "films.yaml", "--runner", "docker", "--image", image, "--json"],
            cwd=tmp_path,
            env={**os.environ, **store_environment, **bucket, **trackers},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        client = MlflowClient(address)
        experiment = client.get_experiment_by_name("textgate")
        (logged,) = client.search_runs([experiment.experiment_id])
    assert "is not completely in" not in done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    folder = Path(result["folder"])
    offline = OfflineRun(folder / "wandb")
    assert offline.ids == {folder.name}
    assert offline.summary["verdict"] == result["verdict"] == "promote"
    assert offline.summary["version"] == result["version"]
    for name, value in result["metrics"].items():
        assert offline.summary[f"gate_served/{name}/value"] == pytest.approx(value["value"])
        assert logged.data.metrics[f"gate_served/{name}/value"] == pytest.approx(value["value"])
    assert offline.config["train.family"] == logged.data.params["train.family"] == "linear"
    assert logged.data.tags["textgate.version"] == result["version"]
    assert logged.info.status == "FINISHED"
    assert (folder / "report.html").read_bytes() in [
        path.read_bytes() for path in offline.files if path.suffix == ".html"
    ]


def test_only_the_variant_has_the_clients(image: str, images: Images) -> None:
    clients = ["wandb", "mlflow", "model_registry"]
    look = f"from importlib.util import find_spec as find; print([name for name in {clients} if find(name)])"
    assert docker("run", "--rm", image, "python3", "-c", look) == str(clients)
    assert docker("run", "--rm", images.pipeline, "python3", "-c", look) == "[]"
