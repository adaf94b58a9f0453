"""The images as they are used: a run whose steps are containers, the endpoint that answers from what it promoted."""

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

# What the container's own user can write.
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

# What a build may leave behind, and which of the named packages are there.
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

# The libraries that a step loads beside Python code: kernels for 4-bit numbers, OpenMP, ONNX Runtime's.
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
    """The embedded store, and a bucket nobody else uses."""
    return {**store_environment, "TEXTGATE_BUCKET": f"test-{uuid.uuid4().hex[:12]}"}


def run(images: Images, environment: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``textgate run`` with containers for steps."""
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
    """What the quickstart came to."""
    done = run(images, environment, tmp_path_factory.mktemp("run"), "quickstart")
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def variables(environment: dict[str, str]) -> list[str]:
    return [argument for name, value in environment.items() for argument in ("--env", f"{name}={value}")]


def look(image: str, *packages: str) -> Any:
    """What root sees in a container of the image."""
    started = ["run", "--rm", "--user", "0", "--entrypoint", "python3", image]
    return json.loads(docker(*started, "-c", LOOK, *packages))


def test_the_quickstart_promotes_with_containers_for_steps(images: Images, promoted: dict[str, Any]) -> None:
    assert promoted["verdict"] == "promote"
    assert promoted["version"] is not None
    assert {step["outcome"] for step in promoted["steps"]} == {"done"}
    assert promoted["steps"][-1]["name"] == "record"
    assert len(promoted["steps"]) == 11
    log = (Path(promoted["folder"]) / "log.txt").read_text("utf-8")
    assert log.count(f"Found image '{images.pipeline}'") == 11


def test_a_step_that_ends_badly_in_its_container_ends_the_run(
    images: Images, environment: dict[str, str], tmp_path: Path
) -> None:
    done = run(images, environment, tmp_path, "quickstart-tfidf", "--set", "source.text=nowhere")
    assert done.returncode == 2, done.stderr
    assert "nowhere" in done.stderr.splitlines()[-1]


@pytest.fixture
def container(
    images: Images, environment: dict[str, str], promoted: dict[str, Any], tmp_path: Path
) -> Iterator[tuple[str, str]]:
    """The endpoint's container, found healthy, and a key."""
    key, line = new_key("test", "user")
    (tmp_path / "keys.txt").write_text(line + "\n")
    name = f"textgate-test-{uuid.uuid4().hex[:8]}"
    docker(
        *("run", "--detach", "--name", name, "--network", "host", *READ_ONLY, *variables(environment)),
        *("--volume", f"{tmp_path / 'keys.txt'}:/etc/textgate/keys.txt:ro"),
        *("--env", "TEXTGATE_KEYS=/etc/textgate/keys.txt", images.serving),
    )
    try:
        # The engine's own events: the first that the health check brings.
        events = ["docker", "events", "--since", "1h", "--filter", f"container={name}", "--format", "{{.Action}}"]
        with subprocess.Popen(events, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            found = next(line.strip() for line in watching.stdout if line.startswith(("health_status:", "die")))
            watching.terminate()
        assert found == "health_status: healthy", docker("logs", name)
        yield name, key
    finally:
        docker("rm", "--force", name)


def test_the_serving_container_answers_the_open_inference_protocol(
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


def test_the_serving_image_holds_what_answers_and_no_more(images: Images) -> None:
    assert int(docker("image", "inspect", "--format", "{{.Size}}", images.serving)) < 600e6
    absent = ["torch", "transformers", "kfp", "sklearn", "onnx", "setuptools", "pip"]
    assert look(images.serving, "onnxruntime", *absent) == {"compilers": [], "left": [], "found": ["onnxruntime"]}


@pytest.mark.parametrize("name", ["pipeline", "serving"])
def test_an_image_says_what_it_is_and_not_how_it_was_built(name: str, images: Images, wheels: str) -> None:
    image = getattr(images, name)
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", image))
    assert labels["org.opencontainers.image.title"] == f"textgate {name}"
    assert labels["org.opencontainers.image.version"] == __version__
    assert len(labels["org.opencontainers.image.revision"]) == 40
    told = docker("image", "inspect", image) + docker("history", "--no-trunc", image)
    assert wheels not in told
    assert "PIP_" not in told


def test_steps_run_as_anybody_with_nothing_to_write_but_tmp(
    images: Images, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "films.yaml").write_text(FILMS)
    rows = [f"word{number % 7} {'good' if number % 2 else 'bad'} word{number},{number % 2}" for number in range(300)]
    (tmp_path / "films.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    tmp_path.chmod(0o755)
    started = ["run", "--rm", *READ_ONLY]
    assert json.loads(docker(*started, images.pipeline, "python3", "-c", WRITE)) == ONLY_TMP
    assert look(images.pipeline, "torch") == {"compilers": [], "left": [], "found": ["torch"]}
    docker(*started, images.pipeline, "python3", "-c", LOAD)
    mounted = ["--network", "host", "--volume", f"{tmp_path}:/data:ro", *variables(environment)]
    # The whole pipeline in one container, which has no engine: its steps are processes.
    result = json.loads(docker(*started, *mounted, images.pipeline, "textgate", "run", "/data/films.yaml", "--json"))
    assert result["verdict"] == "promote"
