"""The version has one source; what repeats it (images, manifests, pages) says the same."""

import re
import tomllib
from importlib.metadata import version

import pytest
from docs.markdown import ROOT

from textgate.components.image import GPU_IMAGE, IMAGE
from textgate.components.version import __version__

TAG = re.compile(r"textgate/(?:pipeline|train-gpu|serving)\S*(?::|, newTag: )(\d[\w.+-]*)")


def test_the_installed_package_has_the_version() -> None:
    assert version("textgate") == __version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "textgate.components.version.__version__"}


@pytest.mark.parametrize("folder", ["k8s", "docs", "images"])
def test_every_image_tag_is_the_version(folder: str) -> None:
    suffixes = {".yaml", ".sh", ".md", ".Dockerfile"}
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    tags = {(path.name, tag) for path in files for tag in TAG.findall(path.read_text("utf-8"))}
    assert {tag for _, tag in tags} <= {__version__}, tags
    if folder == "k8s":
        assert {"serving.yaml", "retrain.yaml", "gc.yaml", "runtime.yaml", "kind.sh"} <= {name for name, _ in tags}


def test_the_default_images_have_the_version_as_tag() -> None:
    assert {image.rpartition(":")[2] for image in (IMAGE, GPU_IMAGE)} == {__version__}


@pytest.mark.parametrize("path", sorted((ROOT / "images").glob("*.Dockerfile")), ids=lambda path: path.name)
def test_an_image_is_built_with_the_version_by_default(path: object) -> None:
    text = (ROOT / str(path)).read_text("utf-8")
    assert re.findall(r"^ARG VERSION=(.+)$", text, re.MULTILINE) == [__version__]


def test_the_changelog_has_a_section_for_the_version() -> None:
    assert re.search(rf"^## {re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
