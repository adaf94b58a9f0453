"""Kustomizations, each rendered once by the locked kubectl, and the schemas of custom resources."""

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs.markdown import ROOT, code_blocks
from k8s.checks import Manifest

K8S = ROOT / "k8s"
SCRIPTS = Path(sysconfig.get_path("scripts"))
PAGE = ROOT / "docs/cluster.md"
_HEAD = "# my-overlay/"


def documented_files() -> dict[str, str]:
    """Return the files of the overlay that the page shows, by name; each block begins with its path."""
    blocks = [block.text for block in code_blocks(PAGE, "yaml") if block.text.startswith(_HEAD)]
    return {text.splitlines()[0].removeprefix(_HEAD): text for text in blocks}


def documented_commands() -> str:
    """Return the shell commands that create the secrets and apply the overlay."""
    (commands,) = [block.text for block in code_blocks(PAGE, "shell") if "kubectl apply -k my-overlay" in block.text]
    return commands


@pytest.fixture(scope="session")
def custom() -> dict[str, Any]:
    """JSON Schema of each custom resource by "API KIND"."""
    process = subprocess.run(
        [ROOT / ".venv/clients/bin/python", ROOT / "tests/clients/custom_resources.py"],
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(process.stdout))


@pytest.fixture(scope="session")
def applied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Follow the page in a copy of k8s/ with a kubectl that prints what it would apply; return the folder and the output.

    The overlay's files and the commands are those of the page, byte for byte.
    """
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(K8S, folder / "k8s", ignore=lambda _, names: {name for name in names if name in _SECRET_FILES})
    overlay = folder / "my-overlay"
    overlay.mkdir()
    for name in ("kustomization.yaml", "settings.yaml"):
        (overlay / name).write_text(documented_files()[name])
    programs = folder / "bin"
    programs.mkdir()
    (programs / "kubectl").write_text(f'#!/bin/sh\n[ "$1 $2" = "apply -k" ] && exec {SCRIPTS}/kubectl kustomize "$3"\n')
    (programs / "kubectl").chmod(0o755)
    process = subprocess.run(
        ["bash", "-euc", documented_commands()],
        cwd=folder,
        env={**os.environ, "PATH": f"{programs}:{SCRIPTS}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return folder, process.stdout


_SECRET_FILES = {"s3.env", "hub.env", "keys.txt"}


@pytest.fixture(scope="session")
def render_overlay(
    applied: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[dict[str, str]], list[Manifest]]:
    """Return a function that renders an overlay beside k8s/, given the text of its files by name."""
    number = iter(range(1_000_000))

    def rendered(files: dict[str, str]) -> list[Manifest]:
        folder = applied[0] / f"overlay-{next(number)}"
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        return render(folder)

    return rendered


def overlay_files(
    *components: str,
    namespace: str = "kubeflow",
    resources: Sequence[str] = (),
    settings: dict[str, str] | None = None,
    **others: Any,
) -> dict[str, str]:
    """Return the files of an overlay with these components, and the documented settings changed by ``settings``."""
    manifest = yaml.safe_load(documented_files()["settings.yaml"])
    manifest["data"].update(settings or {})
    kustomization = {
        "namespace": namespace,
        "resources": ["../k8s/base", "settings.yaml", *resources],
        "components": [f"../k8s/components/{name}" for name in components],
        **others,
    }
    return {"kustomization.yaml": yaml.safe_dump(kustomization), "settings.yaml": yaml.safe_dump(manifest)}


def render(folder: Path) -> list[Manifest]:
    """Return the manifests of a folder with a kustomization."""
    process = subprocess.run([SCRIPTS / "kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return list(yaml.safe_load_all(process.stdout))


@pytest.fixture(scope="session")
def rendered(
    applied: tuple[Path, str], render_overlay: Callable[[dict[str, str]], list[Manifest]]
) -> Callable[[str], list[Manifest]]:
    """Return a function that renders a folder of k8s/; base and components are rendered in an overlay with settings."""
    cache: dict[str, list[Manifest]] = {}

    def by_name(name: str) -> list[Manifest]:
        if name not in cache:
            if name == "base":
                cache[name] = render_overlay(overlay_files())
            elif name.startswith("components/"):
                cache[name] = render_overlay(overlay_files(name.removeprefix("components/")))
            else:
                cache[name] = render(applied[0] / "k8s" / name)
        return cache[name]

    return by_name
