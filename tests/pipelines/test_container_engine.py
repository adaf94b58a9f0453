"""A Docker engine that does not answer: one sentence, and nothing that needs no containers depends on it."""

import re
import socket
from pathlib import Path

import pytest
from cli.in_process import run_json

from textgate.components.contracts import MachineError
from textgate.components.storage import Store
from textgate.pipelines import container_engine
from textgate.pipelines.container_engine import local_image
from textgate.pipelines.runners.step_containers import _print_output


@pytest.fixture
def engine_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the engine's socket, which does not exist."""
    path = tmp_path / "engine.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    return path


def refused() -> str:
    """Ask the engine for an image, and return why that is impossible."""
    with pytest.raises(MachineError) as raised:
        local_image("textgate/pipeline")
    match = re.fullmatch(r"the Docker engine does not answer \((.*)\): start it or see .*", str(raised.value))
    assert match is not None, raised.value
    return match[1]


def test_an_engine_that_does_not_answer_is_named_with_the_reason(
    engine_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused() == "No such file or directory"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(engine_socket))
        assert refused() == "Connection refused"
        server.listen()
        monkeypatch.setattr(container_engine, "_ANSWER_SECONDS", 0.1)
        assert refused() == "no answer in 0.1 s"


def test_gc_needs_no_engine(engine_socket: Path, store: Store) -> None:
    workspace = engine_socket.with_name("workspace")
    (workspace / "cache" / "docker-0123456789ab").mkdir(parents=True)
    (workspace / "runs").mkdir()
    assert run_json("gc", "--workspace", str(workspace), "--bucket", store.bucket)["removed"] == []


def test_output_that_is_cut_within_a_character_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    output = "größer ✓\n".encode()

    class Container:
        """Container whose output comes byte by byte."""

        def logs(self, stream: bool) -> list[bytes]:
            return [bytes([byte]) for byte in output] + [b"\xff\n"]

    _print_output(Container())
    assert capsys.readouterr().out == "größer ✓\n\ufffd\n\n"
