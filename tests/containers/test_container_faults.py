"""``textgate run --runner docker`` under faults: damaged artifacts, signals, kills, and an engine that fails."""

import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sysconfig
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from containers.engine import Images, docker
from containers.engine_proxy import EngineProxy
from e2e.conftest import RECIPE

from textgate.components.contracts import InputError
from textgate.pipelines.container_engine import local_image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TEXTGATE = str(Path(sysconfig.get_path("scripts")) / "textgate")
SECONDS = 1.5
"""A command ends within a second of a signal; on a busy machine it is noticed later."""
UNMOVED = "the champion of films did not move"
CACHED = "run the same command again; completed steps come from the cache"
Ended = tuple[int, list[str]]
"""Exit code, and lines of standard error."""


@dataclass
class Workspace:
    """A folder with a recipe and its data, and the environment of its commands."""

    folder: Path
    environment: dict[str, str]
    image: str

    def run(self, *arguments: str, engine: str = "", image: str = "") -> subprocess.Popen[str]:
        """Start ``textgate run films.yaml --runner docker``.

        Args:
            arguments: More arguments.
            engine: Value of DOCKER_HOST.
            image: Image other than the one under test.
        """
        runner = ("--runner", "docker", "--image", image or self.image)
        return subprocess.Popen(
            [TEXTGATE, "run", "films.yaml", *runner, *arguments],
            cwd=self.folder,
            env={**self.environment, **({"DOCKER_HOST": engine} if engine else {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, command: subprocess.Popen[str]) -> Ended:
        """Wait for a command and return its exit code and the lines of its standard error."""
        _, stderr = command.communicate()
        assert "Traceback" not in stderr
        return command.returncode, stderr.splitlines()

    def run_with(self, request: str, act: Callable[[], None], *arguments: str, number: int = 1) -> Ended:
        """Run the recipe, and act before one of the requests of a kind (see ``EngineProxy``)."""
        with EngineProxy(self.socket(), request, act, number) as proxy:
            ended = self.end(self.run(*arguments, engine=proxy.host))
            assert proxy.requests_left <= 0
        return ended

    def socket(self) -> Path:
        """Return the path of a new socket."""
        return self.folder / f"{uuid.uuid4().hex[:8]}.sock"

    def containers(self) -> list[str]:
        """Return the names of the containers of all runs in this workspace."""
        status = (self.folder / ".textgate" / "runs").stat()
        label = f"label=textgate.workspace={status.st_dev:x}-{status.st_ino:x}"
        return docker("ps", "--all", "--filter", label, "--format", "{{.Names}}").split()

    def are_removed(self) -> bool:
        """Return whether there soon are no containers; the engine removes them after an interrupted command."""
        deadline = time.monotonic() + 10
        while self.containers():
            if time.monotonic() > deadline:
                return False
        return True


@pytest.fixture
def workspace(images: Images, store_environment: dict[str, str], tmp_path: Path) -> Any:
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    volumes = docker("volume", "ls", "--quiet").split()
    (tmp_path / ".textgate" / "runs").mkdir(parents=True)
    (tmp_path / "films.yaml").write_text(RECIPE)
    rows = [f"word{number % 7} {'good' if number % 2 else 'bad'} word{number},{number % 2}" for number in range(300)]
    (tmp_path / "films.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    workspace = Workspace(tmp_path, {**os.environ, **store_environment, "TEXTGATE_BUCKET": bucket}, images.pipeline)
    yield workspace
    for name in workspace.containers():
        docker("rm", "--force", "--volumes", name)
    assert docker("volume", "ls", "--quiet").split() == volumes


def one_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def exchanged(content: bytes) -> bytes:
    return content.replace(b'"bad": 150', b'"bad": 140')


def test_a_step_refuses_an_artifact_that_was_damaged_since_its_step_wrote_it(workspace: Workspace) -> None:
    damaged: list[Path] = []

    def damage(way: Callable[[bytes], bytes]) -> None:
        file = max(workspace.folder.glob(".textgate/runs/films-*/ingest/dataset/dataset.json"))
        content = file.read_bytes()
        assert way(content) != content
        file.write_bytes(way(content))
        damaged.append(file)

    for way in (one_bit, truncated, exchanged):
        # The second container is that of preprocess.
        code, lines = workspace.run_with("start", functools.partial(damage, way), number=2)
        assert code == 4, lines
        assert lines[-1] == UNMOVED
        assert lines[-2].startswith(f"Error: an artifact is not as its step wrote it: {damaged[-1]} was changed; ")
        # The damaged artifact is in the cache of the next run.
        warnings = [line for line in lines if "it runs again" in line]
        cached = [f"ingest: warning: it runs again, because the cached {file} was changed" for file in damaged[-2:-1]]
        assert warnings == cached
    assert len(damaged) == 3
    assert workspace.containers() == []


TWO_AT_ONCE = ("--sweep", "preprocess.normalizer.lowercase=true,false")


@pytest.mark.parametrize(
    ("sign", "request_", "number", "arguments"),
    [
        (signal.SIGHUP, "create", 1, ()),
        (signal.SIGINT, "start", 1, ()),
        (signal.SIGTERM, "logs", 3, TWO_AT_ONCE),
    ],
    ids=["before a container", "before its start", "in two containers"],
)
def test_a_signal_ends_the_run_and_its_containers(
    workspace: Workspace, sign: signal.Signals, request_: str, number: int, arguments: tuple[str, ...]
) -> None:
    command, sent = None, 0.0

    def send() -> None:
        nonlocal sent
        assert command is not None
        sent = time.monotonic()
        command.send_signal(sign)

    with EngineProxy(workspace.socket(), request_, send, number) as engine:
        command = workspace.run(*arguments, engine=engine.host)
        code, lines = workspace.end(command)
        seconds = time.monotonic() - sent
    assert code == 128 + sign, lines
    assert lines[-2:] == [f"interrupted by {sign.name}: {CACHED}", UNMOVED]
    assert seconds < SECONDS
    assert workspace.are_removed()


def killed_run(workspace: Workspace) -> str:
    """Kill a run with SIGKILL, and return the name of the container that it has left."""
    command = None

    def kill() -> None:
        assert command is not None
        command.kill()

    with EngineProxy(workspace.socket(), "logs", kill) as engine:
        command = workspace.run(engine=engine.host)
        code, _ = workspace.end(command)
    assert code == -signal.SIGKILL
    (name,) = workspace.containers()
    return name


def test_gc_and_the_next_run_remove_the_container_of_a_killed_run_only(workspace: Workspace) -> None:
    name = killed_run(workspace)
    gc = [TEXTGATE, "gc", "--json"]
    done = subprocess.run(gc, cwd=workspace.folder, env=workspace.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    removed = [(item["kind"], item["name"]) for item in json.loads(done.stdout)["removed"]]
    assert removed == [("container", name)]
    assert workspace.containers() == []

    def run_other() -> None:
        # The run that is under way has removed the container of the killed one, and its own stays.
        before = workspace.containers()
        other = workspace.end(workspace.run("--set", "name=other", "--set", "source.text=nowhere"))
        containers.extend([before, workspace.containers()])
        assert other[0] == 2, other[1]

    name, containers = killed_run(workspace), list[list[str]]()
    code, lines = workspace.run_with("start", run_other, "--set", "source.label=nowhere")
    assert code == 2, lines
    assert (len(containers[0]), containers[1]) == (1, containers[0])
    assert name not in containers[0]
    assert workspace.containers() == []


def test_secrets_are_in_the_environment_of_a_container_only(workspace: Workspace) -> None:
    secrets = {"AWS_SECRET_ACCESS_KEY": workspace.environment["AWS_SECRET_ACCESS_KEY"], "HF_TOKEN": "hf_abcdefgh"}
    workspace.environment |= secrets | {"TEXTGATE_SOURCE_URLS": "https://films.example/a.csv?token=s3cr3t"}
    inspected: list[Any] = []

    def inspect() -> None:
        (name,) = workspace.containers()
        inspected.extend(json.loads(docker("inspect", name)))

    code, lines = workspace.run_with("start", inspect, "--set", "source.text=nowhere")
    assert code == 2, lines
    (container,) = inspected
    variables = container["Config"].pop("Env")
    for secret in (*secrets.values(), "s3cr3t"):
        assert any(secret in variable for variable in variables)
        assert secret not in json.dumps(container)
        for file in workspace.folder.rglob("*"):
            assert not file.is_file() or secret.encode() not in file.read_bytes(), file
        assert secret not in "\n".join(lines)
    labels = {name: text for name, text in container["Config"]["Labels"].items() if name.startswith("textgate.")}
    (run,) = (folder.name for folder in workspace.folder.glob(".textgate/runs/films-*"))
    assert labels == {
        "textgate.workspace": labels["textgate.workspace"],
        "textgate.pipeline": "films",
        "textgate.run": run,
    }


def fails(ended: Ended, code: int, sentence: str) -> None:
    """Check that a run ended with an exit code and a sentence, and that the champion did not move."""
    assert ended[0] == code, ended[1]
    assert re.fullmatch(f"Error: {sentence}", ended[1][-2]), ended[1]
    assert ended[1][-1] == UNMOVED


def test_an_engine_that_dies_during_a_step_is_no_fault_of_the_recipe(workspace: Workspace) -> None:
    proxies: list[EngineProxy] = []
    with EngineProxy(workspace.socket(), "logs", lambda: proxies[0].cut()) as proxy:
        proxies.append(proxy)
        ended = workspace.end(workspace.run(engine=proxy.host))
    fails(ended, 6, r"the Docker engine does not answer \(.+\): start it or see `docker info`, and run again")


def test_an_image_that_there_is_not_is_one_sentence(workspace: Workspace) -> None:
    absent = "localhost:1/textgate/absent:1"
    fails(
        workspace.end(workspace.run(image=absent)),
        2,
        rf"there is no image {absent} on this machine, and it cannot be pulled \(.*refused\): build it .*",
    )
    with pytest.raises(InputError, match=r"the Docker engine refuses a request: .*invalid reference") as raised:
        local_image("A B")
    assert raised.value.exit_code == 2


def test_a_container_that_another_process_ends_is_one_sentence(workspace: Workspace) -> None:
    def kill() -> None:
        docker("kill", *workspace.containers())

    def remove() -> None:
        docker("rm", "--force", "--volumes", *workspace.containers())

    killed = workspace.run_with("logs", kill)
    fails(killed, 6, r"step ingest was killed \(SIGKILL\), as Linux does when memory runs out: .*")
    fails(workspace.run_with("logs", remove), 5, r"the container textgate-\w+ was removed while it ran: run again")
    assert workspace.containers() == []


def test_a_full_disk_in_a_container_is_one_sentence(workspace: Workspace) -> None:
    runs = workspace.folder / ".textgate" / "runs"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", runs], check=True)
    try:
        ended = workspace.run_with("start", lambda: fill(runs / "zeros"))
        fails(ended, 6, rf"the disk of {runs}/\S+ is full: free space there, .*")
        (runs / "zeros").unlink()
        assert workspace.containers() == []
    finally:
        subprocess.run(["umount", runs], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
