"""Every kustomization, rendered once by the locked kubectl, and the schemas of custom resources."""

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from k8s.checks import Manifest

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"


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
def render() -> Callable[[Path], list[Manifest]]:
    """Return a function that renders a folder with a kustomization."""

    def rendered(folder: Path) -> list[Manifest]:
        kubectl = Path(sysconfig.get_path("scripts")) / "kubectl"
        process = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stderr
        return list(yaml.safe_load_all(process.stdout))

    return rendered


@pytest.fixture(scope="session")
def rendered(
    render: Callable[[Path], list[Manifest]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[Manifest]]:
    """Return a function that renders a folder of k8s/; a component is added to the base, secrets use the examples."""
    cache: dict[str, list[Manifest]] = {}

    def by_name(name: str) -> list[Manifest]:
        if name not in cache:
            folder = K8S / name
            if name.startswith("components/"):
                folder = tmp_path_factory.mktemp("component")
                lists = {
                    "resources": [os.path.relpath(K8S / "base", folder)],
                    "components": [os.path.relpath(K8S / name, folder)],
                }
                (folder / "kustomization.yaml").write_text(yaml.safe_dump(lists))
            elif name == "secrets":
                folder = tmp_path_factory.mktemp("secrets")
                shutil.copy(K8S / name / "kustomization.yaml", folder)
                for example in (K8S / name).glob("*.example"):
                    shutil.copy(example, folder / example.stem)
                (folder / "keys.txt").write_text("films user " + "0" * 64 + "\n")
            cache[name] = render(folder)
        return cache[name]

    return by_name
