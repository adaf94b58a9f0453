"""The images in use: a run with containers as steps, and the server with the model that it promoted."""

import json
import os
import subprocess
import sysconfig
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from containers.engine import Images, docker

from textgate.components.version import __version__
from textgate.serving.keys import new_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

TEXTGATE = str(Path(sysconfig.get_path("scripts")) / "textgate")
READ_ONLY = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
ENDPOINT = "http://127.0.0.1:8080"

# Prints the user and the folders that it can write to.
WRITE = """
import json, os
from pathlib import Path
written = []
for folder in ("/", "/opt/venv", "/usr", "/tmp"):
    try:
        (Path(folder) / "probe").touch()
        written.append(folder)
    except OSError:
        pass
print(json.dumps([os.getuid(), os.getgid(), written]))
"""
ONLY_TMP = [10001, 10001, ["/tmp"]]

# Prints compilers, files that a build may leave behind, and which of the named packages exist.
LOOK = """
import importlib.util, json, shutil, sys
from pathlib import Path
homes = [Path("/root"), Path("/tmp"), *Path("/home").iterdir()]
print(json.dumps({
    "compilers": [name for name in ("gcc", "cc", "g++", "clang", "nvcc") if shutil.which(name)],
    "left": [str(path) for home in homes for path in home.iterdir() if not path.name.startswith((".bash", ".profile"))]
    + [path for path in ("/src", "/build", "/wheels") if Path(path).exists()],
    "found": [name for name in sys.argv[1:] if importlib.util.find_spec(name)],
}))
"""

# Loads the native libraries of the steps: 4-bit kernels, OpenMP, ONNX Runtime.
LOAD = """
import bitsandbytes, datasets, gensim, kfp, onnxruntime, onnxscript, peft, sklearn.linear_model, torch, transformers
quantized, state = bitsandbytes.functional.quantize_4bit(torch.ones(64, 64), quant_type="nf4")
assert bitsandbytes.functional.dequantize_4bit(quantized, state).sum() == 64 * 64
assert torch.version.cuda is None
"""

FILMS = """
name: films
description: made-up film reviews
model: films
source: {uri: /data/films.csv, labels: {"0": bad, "1": good}}
train: {family: linear, min_df: 1}
gate: {min_f1: 0.8}
"""


@pytest.fixture(scope="module")
def environment(store_environment: dict[str, str]) -> dict[str, str]:
    """Variables of the embedded store and of a bucket for this module."""
    return {**store_environment, "TEXTGATE_BUCKET": f"test-{uuid.uuid4().hex[:12]}"}


def run(images: Images, environment: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``textgate run`` with containers as steps."""
    return subprocess.run(
        [TEXTGATE, "run", *arguments, "--runner", "docker", "--image", images.pipeline, "--json"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def promoted(images: Images, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Result of a run of the quickstart."""
    done = run(images, environment, tmp_path_factory.mktemp("run"), "quickstart")
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def variables(environment: dict[str, str]) -> list[str]:
    return [argument for name, value in environment.items() for argument in ("--env", f"{name}={value}")]


def look(image: str, *packages: str) -> Any:
    """Run LOOK as root in a container of the image."""
    options = ["run", "--rm", "--user", "0", "--entrypoint", "python3", image]
    return json.loads(docker(*options, "-c", LOOK, *packages))


def test_the_quickstart_promotes_with_containers_as_steps(images: Images, promoted: dict[str, Any]) -> None:
    assert promoted["verdict"] == "promote"
    assert promoted["version"] is not None
    assert {step["outcome"] for step in promoted["steps"]} == {"done"}
    assert promoted["steps"][-1]["name"] == "record"
    assert len(promoted["steps"]) == 12
    log = (Path(promoted["folder"]) / "log.txt").read_text("utf-8")
    assert log.count(f" of image {images.pipeline} (sha256:") == 12


def test_a_step_that_fails_in_its_container_fails_the_run(
    images: Images, environment: dict[str, str], tmp_path: Path
) -> None:
    done = run(images, environment, tmp_path, "quickstart-tfidf", "--set", "source.text=nowhere")
    assert done.returncode == 2, done.stderr
    assert "nowhere" in done.stderr
    assert done.stderr.splitlines()[-1] == "the champion of quickstart did not move"


@pytest.fixture
def container(
    images: Images, environment: dict[str, str], promoted: dict[str, Any], tmp_path: Path
) -> Iterator[tuple[str, str]]:
    """Name of a healthy container of the server, and an API key."""
    key, line = new_key("test", "user")
    (tmp_path / "keys.txt").write_text(line + "\n")
    name = f"textgate-test-{uuid.uuid4().hex[:8]}"
    docker(
        *("run", "--detach", "--name", name, "--network", "host", *READ_ONLY, *variables(environment)),
        *("--volume", f"{tmp_path / 'keys.txt'}:/etc/textgate/keys.txt:ro"),
        *("--env", "TEXTGATE_KEYS=/etc/textgate/keys.txt", images.serving),
    )
    try:
        # Wait for the engine's first event of the health check.
        events = ["docker", "events", "--since", "1h", "--filter", f"container={name}", "--format", "{{.Action}}"]
        with subprocess.Popen(events, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            event = next(line.strip() for line in watching.stdout if line.startswith(("health_status:", "die")))
            watching.terminate()
        assert event == "health_status: healthy", docker("logs", name)
        yield name, key
    finally:
        docker("rm", "--force", name)


def test_the_serving_container_implements_the_open_inference_protocol(
    container: tuple[str, str], promoted: dict[str, Any]
) -> None:
    name, key = container
    texts = ["a moving, beautifully acted film", "dull and far too long"]
    body = {"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": texts}]}
    url = f"{ENDPOINT}/v2/models/quickstart/infer"
    assert requests.post(url, json=body, timeout=60).status_code == 401
    response = requests.post(url, json=body, timeout=60, headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert promoted["version"].startswith(answer["model_version"])
    (labels,) = (output["data"] for output in answer["outputs"] if output["name"] == "label")
    assert labels == ["positive", "negative"]

    assert json.loads(docker("exec", name, "python3", "-c", WRITE)) == ONLY_TMP
    assert docker("inspect", "--format", "{{.State.Health.Status}} {{.HostConfig.ReadonlyRootfs}}", name) == (
        "healthy true"
    )
    docker("stop", "--time", "30", name)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", name) == "0"


def test_the_serving_image_has_only_what_the_server_needs(images: Images) -> None:
    assert int(docker("image", "inspect", "--format", "{{.Size}}", images.serving)) < 600e6
    absent = ["torch", "transformers", "kfp", "sklearn", "onnx", "setuptools", "pip"]
    assert look(images.serving, "onnxruntime", *absent) == {"compilers": [], "left": [], "found": ["onnxruntime"]}


@pytest.mark.parametrize("name", ["pipeline", "serving"])
def test_an_image_has_labels_and_no_traces_of_the_build(name: str, images: Images, wheels: str) -> None:
    image = getattr(images, name)
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", image))
    assert labels["org.opencontainers.image.title"] == f"textgate {name}"
    assert labels["org.opencontainers.image.version"] == __version__
    assert len(labels["org.opencontainers.image.revision"]) == 40
    metadata = docker("image", "inspect", image) + docker("history", "--no-trunc", image)
    assert wheels not in metadata
    assert "PIP_" not in metadata


def test_steps_run_as_any_user_and_write_only_to_tmp(
    images: Images, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "films.yaml").write_text(FILMS)
    rows = [f"word{number % 7} {'good' if number % 2 else 'bad'} word{number},{number % 2}" for number in range(300)]
    (tmp_path / "films.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    tmp_path.chmod(0o755)
    options = ["run", "--rm", *READ_ONLY]
    assert json.loads(docker(*options, images.pipeline, "python3", "-c", WRITE)) == ONLY_TMP
    assert look(images.pipeline, "torch") == {"compilers": [], "left": [], "found": ["torch"]}
    docker(*options, images.pipeline, "python3", "-c", LOAD)
    mounted = ["--network", "host", "--volume", f"{tmp_path}:/data:ro", *variables(environment)]
    # Run the complete pipeline in one container; its steps are processes.
    result = json.loads(docker(*options, *mounted, images.pipeline, "textgate", "run", "/data/films.yaml", "--json"))
    assert result["verdict"] == "promote"
