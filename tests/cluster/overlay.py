"""The overlay that docs/cluster.md shows, for a namespace of its own, with MinIO as its store."""

import secrets
import shutil
from pathlib import Path

import yaml
from docs.markdown import ROOT, code_blocks

from textgate.serving.keys import new_key

_HEAD = "# my-overlay/"
_REGISTRY = "registry.example.com/textgate"
STORE = "http://textgate-minio:9000"


def write_overlay(folder: Path, namespace: str, registry: str) -> str:
    """Write the documented overlay, changed in namespace, registry and store, to ``folder / "test"``.

    Args:
        folder: Empty folder; it gets a copy of ``k8s/``, whose secrets are new.
        namespace: Namespace of everything.
        registry: Registry and folder of the images.

    Returns:
        An API key of the server.
    """
    shutil.copytree(ROOT / "k8s", folder / "k8s", ignore=shutil.ignore_patterns("*.env", "keys.txt"))
    key, line = new_key("cluster-test", "user")
    store_keys = {"AWS_ACCESS_KEY_ID": secrets.token_hex(10), "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20)}
    for name, text in {
        "s3.env": "\n".join(f"{name}={value}" for name, value in store_keys.items()),
        "hub.env": "",
        "keys.txt": f"{line}\n",
    }.items():
        (folder / "k8s/secrets" / name).write_text(text)

    blocks = [block.text for block in code_blocks(ROOT / "docs/cluster.md", "yaml") if block.text.startswith(_HEAD)]
    files = {text.splitlines()[0].removeprefix(_HEAD): text for text in blocks}
    kustomization = yaml.safe_load(files["kustomization.yaml"].replace(_REGISTRY, registry))
    settings = yaml.safe_load(files["settings.yaml"])
    settings["data"].update(AWS_ENDPOINT_URL=STORE, AWS_REGION="us-east-1")
    _write(folder / "my-overlay", {"kustomization.yaml": kustomization | {"namespace": namespace}})
    _write(folder / "my-overlay", {"settings.yaml": settings})

    shutil.copy(ROOT / "k8s/overlays/kind/minio.yaml", _folder(folder / "test"))
    outer = {"namespace": namespace, "resources": ["../my-overlay", "minio.yaml"], "patches": [{"patch": _NO_VOLUME}]}
    _write(folder / "test", {"kustomization.yaml": outer})
    return key


_NO_VOLUME = """
$patch: delete
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: textgate-minio}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: textgate-minio}
spec:
  template:
    spec:
      volumes:
        - {name: data, persistentVolumeClaim: null, emptyDir: {sizeLimit: 1Gi}}
"""
"""The store of a test needs no disk of the cluster."""


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def _write(folder: Path, files: dict[str, object]) -> None:
    for name, content in files.items():
        (_folder(folder) / name).write_text(yaml.safe_dump(content))
