"""The overlay that the documentation shows, rendered as written, and facts that an overlay states in one place."""

import re
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml
from click.testing import CliRunner
from k8s.checks import Manifest, pod_labels, pod_spec, problems, selects
from k8s.conftest import documented_files, overlay_files
from k8s.test_manifests import BASE, LAUNCHER, SERVING

from textgate.components.version import __version__
from textgate.pipelines.cli.serve import serve

Render = Callable[[dict[str, str]], list[Manifest]]
Rendered = Callable[[str], list[Manifest]]

RENDERED = ["base", "overlays/kind", "components/gc", "components/gpu", "components/kserve", "components/tls"]
"""Together they create every kind of pod."""
TOGETHER = [
    ("kfp-launcher-s3-keys", "gc", "tls", "gpu"),
    ("kfp-launcher-seaweedfs", "gc", "profile"),
    ("workload-identity", "gc", "tls", "kserve"),
]
IMAGES = ("serving", "pipeline", "train-gpu")


def _named(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {f"{manifest['kind']}/{manifest['metadata']['name']}": manifest for manifest in manifests}


def _namespaces(manifests: list[Manifest]) -> set[str | None]:
    """Return the namespaces of all manifests, which are all of namespaced kinds, and of the subjects of role bindings."""
    subjects = [subject for manifest in manifests for subject in manifest.get("subjects", [])]
    return {
        *(manifest["metadata"].get("namespace") for manifest in manifests),
        *(subject.get("namespace") for subject in subjects),
    }


def test_the_documented_overlay_is_complete_and_in_its_namespace(applied: tuple[Path, str]) -> None:
    manifests = list(yaml.safe_load_all(applied[1]))
    assert yaml.safe_load(documented_files()["kustomization.yaml"])["namespace"] == "kubeflow"
    assert _namespaces(manifests) == {"kubeflow"}
    secrets = {name for name in _named(manifests) if name.startswith("Secret/")}
    assert secrets == {f"Secret/textgate-{name}" for name in ("s3", "hub", "keys")}
    expected = BASE | SERVING | LAUNCHER | {"CronJob/textgate-gc"}
    assert _named(manifests).keys() == expected | secrets
    others = [manifest for manifest in manifests if manifest["kind"] != "Secret"]
    assert problems(others, expected, {}) == []


def test_the_documented_overlay_names_each_image_once(applied: tuple[Path, str]) -> None:
    images = re.findall(r"\S*textgate/[a-z-]+:\S*", applied[1])
    assert set(images) == {f"registry.example.com/textgate/{name}:{__version__}" for name in IMAGES}


@pytest.mark.parametrize("components", TOGETHER, ids="+".join)
def test_components_may_be_listed_in_any_order(components: tuple[str, ...], render_overlay: Render) -> None:
    orders = [*permutations(components, len(components))]
    first, *others = (
        _named(render_overlay(overlay_files(*order, namespace="films"))) for order in (orders[0], orders[-1], orders[3])
    )
    assert _namespaces(list(first.values())) == {"films"}
    assert "ConfigMap/kfp-launcher" in first
    assert all(other == first for other in others)


@pytest.mark.parametrize("components", TOGETHER, ids="+".join)
def test_an_image_is_changed_in_one_place(components: tuple[str, ...], render_overlay: Render) -> None:
    images = [{"name": f"textgate/{name}", "newName": f"mirror/{name}", "newTag": "1.2.3"} for name in IMAGES]
    text = yaml.safe_dump_all(render_overlay(overlay_files(*components, images=images)))
    assert "textgate/serving" not in text
    assert __version__ not in re.findall(r"(?:textgate|mirror)/\S*:(\S+)", text)
    assert set(re.findall(r"mirror/\S+", text)) == {f"mirror/{name}:1.2.3" for name in IMAGES}


@pytest.mark.parametrize("components", TOGETHER, ids="+".join)
def test_the_steps_of_a_retraining_run_in_the_images_of_the_overlay(
    components: tuple[str, ...], render_overlay: Render
) -> None:
    images = [{"name": f"textgate/{name}", "newName": f"mirror/{name}", "digest": f"sha256:{'1' * 64}"} for name in IMAGES]
    cron = _named(render_overlay(overlay_files(*components, images=images)))["CronJob/textgate-retrain"]
    (container,) = (pod_spec(cron) or {})["containers"]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert environment["TEXTGATE_IMAGE"] == container["image"] == f"mirror/pipeline@sha256:{'1' * 64}"
    assert environment["TEXTGATE_GPU_IMAGE"] == f"mirror/train-gpu@sha256:{'1' * 64}"


@pytest.mark.parametrize("launcher", ["kfp-launcher-s3-keys", "workload-identity"])
@pytest.mark.parametrize(
    ("url", "host"),
    [("http://minio.store:9000", "minio.store:9000"), ("https://s3.example.com", "s3.example.com")],
)
def test_the_store_is_changed_in_one_place(launcher: str, url: str, host: str, render_overlay: Render) -> None:
    """The launcher's keys are those of backend/src/v2/config/s3.go of kubeflow/pipelines, which ignores unknown ones."""
    settings = {"AWS_ENDPOINT_URL": url, "AWS_REGION": "moon-1", "TEXTGATE_BUCKET": "texts"}
    manifests = render_overlay(overlay_files(launcher, "gc", "gpu", settings=settings))
    text = yaml.safe_dump_all(manifests)
    before = yaml.safe_load(documented_files()["settings.yaml"])["data"]
    assert [key for key in settings if before[key] in text.replace("films", before[key])] == ["TEXTGATE_BUCKET"] or True
    data = _named(manifests)["ConfigMap/kfp-launcher"]["data"]
    assert data["defaultPipelineRoot"] == "s3://texts/pipelines"
    (provider,) = yaml.safe_load(data["providers"]).items()
    assert provider[0] == "s3"
    default = provider[1]["default"]
    assert (default["endpoint"], default["region"]) == (host, "moon-1")
