"""The script for kind stops at the first thing that is missing, and says in one sentence which."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from k8s.conftest import ROOT

SCRIPT = ROOT / "k8s/kind/kind.sh"


def _run(command: str, tmp_path: Path, programs: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run with a PATH on which there are only ``programs``, by what a shell does in them."""
    shell = shutil.which("bash")
    assert shell
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!{shell}\n{body}\n")
        (tmp_path / name).chmod(0o755)
    return subprocess.run(
        [shell, SCRIPT, command], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("command", "programs", "sentence"),
    [
        *((command, {}, "it needs docker, which is not on the PATH") for command in ("up", "test", "down")),
        ("up", {"docker": ""}, "it needs kind, which is not on the PATH"),
        ("up", {"docker": "exit 1", "kind": ""}, "docker is installed, but its engine does not answer: start it"),
        ("up", {"docker": "", "kind": ""}, "it needs kubectl, which is not on the PATH"),
        ("up", {"docker": "", "kind": "", "kubectl": ""}, "it needs git, which is not on the PATH"),
        (
            "up",
            {"docker": "[ $1 = info ]", "kind": "", "kubectl": "", "git": ""},
            "there is no image textgate/pipeline:0.2.0: make image-pipeline",
        ),
        ("test", {"docker": "", "kind": "", "kubectl": ""}, "it needs curl, which is not on the PATH"),
        (
            "test",
            {"docker": "", "kind": "echo textgate-too", "kubectl": "", "curl": ""},
            "there is no cluster textgate: make kind-up",
        ),
    ],
)
def test_what_is_missing_is_said(command: str, programs: dict[str, str], sentence: str, tmp_path: Path) -> None:
    ended = _run(command, tmp_path, programs)
    assert ended.returncode == 1
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"make kind-{command}: {sentence}")


def test_an_unknown_command_is_told_the_known_ones(tmp_path: Path) -> None:
    ended = _run("sideways", tmp_path, {})
    assert (ended.returncode, ended.stderr) == (2, "usage: kind.sh up | test | down\n")


def test_make_calls_the_script() -> None:
    for command in ("up", "test", "down"):
        told = subprocess.run(
            ["make", "-n", "--no-print-directory", f"kind-{command}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.split() == ["k8s/kind/kind.sh", command]


def test_the_script_is_clean() -> None:
    shellcheck = Path(sysconfig.get_path("scripts")) / "shellcheck"
    found = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
