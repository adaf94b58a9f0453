"""The script for kind stops at the first missing requirement and names it in one sentence."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from k8s.conftest import ROOT

SCRIPT = ROOT / "k8s/kind/kind.sh"


def _run(command: str, tmp_path: Path, programs: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the script with a PATH that holds only ``programs``, shell scripts by name."""
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
def test_a_missing_requirement_is_named(command: str, programs: dict[str, str], sentence: str, tmp_path: Path) -> None:
    process = _run(command, tmp_path, programs)
    assert process.returncode == 1
    assert process.stdout == ""
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"make kind-{command}: {sentence}")


def test_an_unknown_command_prints_the_usage(tmp_path: Path) -> None:
    process = _run("sideways", tmp_path, {})
    assert (process.returncode, process.stderr) == (2, "usage: kind.sh up | test | down\n")


def test_make_calls_the_script() -> None:
    for command in ("up", "test", "down"):
        process = subprocess.run(
            ["make", "-n", "--no-print-directory", f"kind-{command}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert process.stdout.split() == ["k8s/kind/kind.sh", command]


def test_the_script_is_clean() -> None:
    shellcheck = Path(sysconfig.get_path("scripts")) / "shellcheck"
    process = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout
