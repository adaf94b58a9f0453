"""The pods of the manifests hold the key of their role, and the Secrets of all roles can be created."""

import base64
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from textgate.components.storage.access import ROLES, SourceFolder, policy
from textgate.pipelines.cli import main

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
Container = dict[str, Any]


def containers(value: Any) -> list[Container]:
    """Return the containers in manifests, at any depth."""
    if isinstance(value, list):
        return [found for item in value for found in containers(item)]
    if not isinstance(value, dict):
        return []
    own = [*value.get("initContainers", []), *value.get("containers", [])]
    return [*own, *(found for item in value.values() for found in containers(item))]


HOLDERS = {"serving": "endpoint", "kserve-container": "endpoint", "fetch": "endpoint", "retrain": "retrain", "gc": "gc"}


def test_a_container_holds_the_key_of_its_role_or_none() -> None:
    """Also where the Secret for everything exists: of two Secrets with one variable the last counts."""
    found = {}
    for path in K8S.rglob("*.yaml"):
        for container in containers(list(yaml.safe_load_all(path.read_text("utf-8")))):
            names = [source["secretRef"] for source in container.get("envFrom", []) if "secretRef" in source]
            if container.get("image", "").startswith("textgate/"):
                found[container["name"]] = names
            else:
                assert names == [], container["name"]
    assert found == {
        name: [{"name": secret, "optional": True} for secret in ("textgate-s3", f"textgate-s3-{role}")]
        for name, role in HOLDERS.items()
    }


def test_the_command_writes_what_the_secrets_are_made_of(tmp_path: Path) -> None:
    folder = tmp_path / "access"
    arguments = ["store", "access", str(folder), "--bucket", "films", "--data", "s3://corpora/reviews/"]
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 0, first.output
    assert [line.split()[0] for line in first.stdout.splitlines()] == list(ROLES)
    keys = {path.name: path.read_text() for path in folder.glob("*.env")}
    again = CliRunner().invoke(main, arguments)
    assert again.stdout == first.stdout
    assert {path.name: path.read_text() for path in folder.glob("*.env")} == keys
    assert len(set(keys.values())) == len(ROLES)
    for name in (*keys, "seaweedfs.json"):
        assert (folder / name).stat().st_mode & 0o077 == 0

    shutil.copy(K8S / "access/kustomization.yaml", folder)
    kubectl = Path(sysconfig.get_path("scripts")) / "kubectl"
    rendered = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=True)
    secrets = {one["metadata"]["name"]: one["data"] for one in yaml.safe_load_all(rendered.stdout)}
    assert secrets.keys() == {f"textgate-s3-{role}" for role in ROLES}
    config = yaml.safe_load((folder / "seaweedfs.json").read_text())
    for role, identity, document in zip(ROLES, config["identities"], config["policies"], strict=True):
        expected = policy(role, "films", [SourceFolder("corpora", "reviews/")])
        assert yaml.safe_load((folder / f"{role}.json").read_text()) == expected
        assert yaml.safe_load(document["content"]) == expected
        (credential,) = identity["credentials"]
        names = {"AWS_ACCESS_KEY_ID": "accessKey", "AWS_SECRET_ACCESS_KEY": "secretKey"}
        assert {name: base64.b64decode(value).decode() for name, value in secrets[f"textgate-s3-{role}"].items()} == {
            name: credential[key] for name, key in names.items()
        }


def test_git_ignores_keys_and_policies() -> None:
    files = [f"k8s/access/{name}" for name in ("promote.env", "promote.json", "seaweedfs.json")]
    ignored = subprocess.run(["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ignored.stdout.split() == files


@pytest.mark.parametrize("uri", ["data/", "https://bucket/", "s3://", "s3://bucket/data"])
def test_a_folder_of_sources_is_an_s3_uri_with_a_final_slash(uri: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["store", "access", str(tmp_path), "--data", uri])
    assert result.exit_code == 2
    assert f"--data {uri} is not of the form s3://bucket/ or s3://bucket/folder/" in result.stderr
    assert list(tmp_path.iterdir()) == []
