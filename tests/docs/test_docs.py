"""README, CONTRIBUTING, CHANGELOG and the pages of docs/ say nothing that does not hold."""

import ast
import inspect
import ipaddress
import os
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeGuard, get_args
from urllib.parse import urlsplit

import pytest
import yaml
from docs.markdown import GENERATED, PAGES, ROOT, code_blocks, headings, inline_code, links, tables
from test_architecture import RULES, STEPS

import textgate
from textgate.components.contracts import Recipe, Training
from textgate.components.contracts.recipe.reference import recipe_keys
from textgate.components.contracts.recipe.yaml_reader import read_yaml
from textgate.pipelines import recipes
from textgate.serving.routes import all_routes

DOCS = ROOT / "docs"
README = ROOT / "README.md"
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.mark.timeout(120)
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "docs", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (tmp_path / "index.html").exists()


@every_page
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in links(page):
        parts = urlsplit(target)
        if parts.scheme:
            continue
        path = (page.parent / parts.path).resolve() if parts.path else page
        # The site generates one page; the test above checks links to it.
        assert path.exists() or path == GENERATED, target
        if parts.fragment:
            assert parts.fragment in headings(path), target


@every_page
def test_a_page_has_no_placeholder_left(page: Path) -> None:
    assert re.findall(r"TODO|FIXME|XXX|\w*PLACEHOLDER\w*", page.read_text("utf-8")) == []


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) < 150


def test_the_readme_names_every_page_of_the_site() -> None:
    pages = {f"docs/{path.name}" for path in DOCS.glob("*.md")} - {"docs/index.md"}
    assert pages <= set(links(README))


@every_page
def test_a_page_names_no_path_or_host_of_this_machine(page: Path) -> None:
    text = page.read_text("utf-8")
    assert [path for path in (str(ROOT), str(Path.home()), "/work/") if path in text] == []
    for url in re.findall(r"https?://[^\s)>`'\"]+", text):
        host = urlsplit(url).hostname or ""
        assert host not in _package_index_hosts() - {"pypi.org", "download.pytorch.org"}, url
        with pytest.raises(ValueError, match="does not appear to be"):
            ipaddress.ip_address(host)


def _package_index_hosts() -> set[str]:
    """Return the hosts that pip is set to install from."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    settings = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settings += "\n".join(value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_")))
    return {urlsplit(url).hostname or "" for url in re.findall(r"https?://[^\s'\"]+", settings)}


@every_page
def test_every_path_of_the_repository_exists(page: Path) -> None:
    folders = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
    for code in inline_code(page):
        for path in re.findall(rf"^(?:\.\./)?((?:{folders})/[\w./*-]*)$", code):
            # An image is named without its suffix, a kustomize component relative to k8s/; mine.py is an example.
            places = [ROOT / path, ROOT / f"{path}.Dockerfile", ROOT / "k8s" / path]
            assert any(place.exists() for place in places) or path.endswith("/mine.py"), path


@every_page
def test_every_environment_variable_of_textgate_is_read_somewhere(page: Path) -> None:
    sources = [path for folder in ("components", "pipelines", "serving") for path in (ROOT / folder).rglob("*.py")]
    code = "\n".join(path.read_text("utf-8") for path in sources)
    for name in set(re.findall(r"TEXTGATE_[A-Z_]+", page.read_text("utf-8"))):
        assert f'"{name}"' in code, name


@every_page
def test_every_extra_is_one_of_the_package(page: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    named = re.findall(r"(?:textgate|'\.)\[([a-z,]+)\]", page.read_text("utf-8"))
    assert {extra for group in named for extra in group.split(",")} <= extras.keys()


# The changelog names keys of earlier versions too.
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_recipe_key_in_the_text_exists(page: Path) -> None:
    keys = recipe_keys()
    sections = "|".join(key.path for key in keys if "." not in key.path)
    for code in inline_code(page):
        match = re.match(rf"(?:--(?:set|sweep) )?((?:{sections})(?:\.[A-Za-z_0-9]+)+)(?=[:= ]|$)", code)
        if match and match[1].rpartition(".")[2] not in ("csv", "json", "jsonl", "py", "yaml"):
            recipe_keys(match[1])


@every_page
def test_every_recipe_snippet_is_valid(page: Path) -> None:
    for block in code_blocks(page, "yaml"):
        snippet = read_yaml(block.text.replace("<40-hex commit>", "0" * 40))
        if snippet.keys() & {"components", "apiVersion"}:  # a kustomization or a manifest, tested in tests/k8s
            continue
        recipe: dict[str, Any] = {
            "name": "films",
            "description": "a system",
            "model": "films",
            "source": {"uri": "films.csv"},
            "train": {"family": "linear"},
            "gate": {"min_f1": 0.5},
            **snippet,
        }
        Recipe.parse(yaml.safe_dump(recipe), block.location)


def test_the_recipe_table_lists_every_shipped_recipe_once() -> None:
    (table,) = [table for table in tables(DOCS / "recipes.md") if table[0][0] == "recipe"]
    assert sorted(row[0].strip("`") for row in table[1:]) == recipes.names()


def test_the_family_table_lists_every_model_family_once() -> None:
    (table,) = [table for table in tables(DOCS / "recipes.md") if table[0][0] == "family"]
    sections = get_args(get_args(Training)[0])
    families = [get_args(section.model_fields["family"].annotation)[0] for section in sections]
    assert sorted(row[0].strip("`") for row in table[1:]) == sorted(families)


def test_the_route_table_names_routes_of_the_server() -> None:
    endpoint: Any = SimpleNamespace(batcher=SimpleNamespace(check_capacity=lambda: None))
    routes = {f"{route.method} {route.path}" for route in all_routes(endpoint)}
    (table,) = [table for table in tables(DOCS / "serving.md") if table[0][0] == "route"]
    named = {code for row in table[1:] for code in re.findall(r"`([^`]+)`", row[0])}
    assert len(named) >= 8
    for route in named - {"/v2/…"}:
        assert re.sub(r"\bM\b", "{model}", route) in routes, route
    assert any(" /v2/" in route for route in routes)


def test_the_benchmark_table_names_scripts() -> None:
    (table,) = [table for table in tables(DOCS / "benchmarks.md") if table[0][0] == "script"]
    scripts = {name for row in table[1:] for name in re.findall(r"`([^`]+)`", row[0])}
    runnable = {
        path.name
        for path in (ROOT / "tests" / "benchmarks").glob("*.py")
        if "    python tests/benchmarks/" in path.read_text("utf-8")
    }
    assert scripts == runnable


def test_the_package_table_names_every_package() -> None:
    (table,) = [table for table in tables(DOCS / "architecture.md") if table[0][0] == "package"]
    named = {name.rstrip("/") for row in table[1:] for name in re.findall(r"`([^`]+)`", row[0])}
    steps = {f"components/{step}" for step in STEPS}
    assert named == {*RULES.keys() - steps, "components/<step>"}


NODES = {
    "contracts": {"components/contracts"},
    "metrics": {"components/metrics"},
    "storage": {"components/storage"},
    "sources": {"components/sources"},
    "inference": {"components/inference"},
    "families": {"components/families"},
    "report": {"components/report", "components/card"},
    "steps": {f"components/{step}" for step in STEPS},
    "serving": {"serving"},
    "pipelines": {"pipelines"},
}
"""Packages of each node of the architecture picture."""


def test_the_architecture_picture_shows_the_imports_that_are_allowed() -> None:
    dot = (DOCS / "images" / "architecture.dot").read_text("utf-8")
    arrows = set(re.findall(r"^ *(\w+) -> (\w+)$", dot, re.MULTILINE))
    assert {node for arrow in arrows for node in arrow} == NODES.keys()
    reached = _transitive(arrows)
    for start, packages in NODES.items():
        for package in packages:
            allowed = {end for end in NODES.keys() - {start} if _may_import(package, NODES[end])}
            assert {end for first, end in arrows if first == start} <= allowed, package
            assert allowed <= {end for first, end in reached if first == start}, package


def _may_import(package: str, imported: set[str]) -> bool:
    allowed, _ = RULES[package]
    names = {f"textgate.{name.replace('/', '.')}" for name in imported}
    return all(any(f"{name}.".startswith(f"{prefix}.") for prefix in allowed) for name in names)


def _transitive(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the pairs of nodes that a path of arrows connects."""
    reached = set(arrows)
    while longer := {(a, d) for a, b in reached for c, d in reached if b == c} - reached:
        reached |= longer
    return reached


def test_the_picture_names_every_step_and_family() -> None:
    dot = (DOCS / "images" / "architecture.dot").read_text("utf-8")
    labels = {name: set(re.findall(r"\w+", label.replace("\\n", " "))) for name, label in _labels(dot)}
    assert labels["steps"] >= STEPS
    assert labels["families"] >= {"linear", "word2vec", "embedding", "transformer", "ensemble"}


@pytest.mark.parametrize("name", ["architecture", "pipeline"])
def test_a_picture_is_drawn_from_its_source(name: str) -> None:
    dot = (DOCS / "images" / f"{name}.dot").read_text("utf-8")
    svg = (DOCS / "images" / f"{name}.svg").read_text("utf-8")
    drawn = {tuple(title.split("&#45;&gt;")) for title in re.findall(r"<title>(\w+&#45;&gt;\w+)</title>", svg)}
    arrows = {(first, end) for line in dot.splitlines() for first, end in _arrows(line)}
    assert arrows
    assert drawn == arrows
    for _, label in _labels(dot):
        for line in label.split("\\n"):
            assert f">{line.replace('&', '&amp;')}</text>" in svg.replace("&#45;", "-"), line


def _arrows(line: str) -> list[tuple[str, str]]:
    nodes = re.findall(r"\w+", line.partition("[")[0])
    return list(pairwise(nodes)) if "->" in line and not line.startswith("//") else []


def _labels(dot: str) -> list[tuple[str, str]]:
    return re.findall(r'^ *(\w+) \[label="([^"]*)"', dot, re.MULTILINE)


@every_page
def test_python_examples_call_the_api_as_it_is(page: Path) -> None:
    for block in code_blocks(page, "python"):
        for node in ast.walk(ast.parse(block.text)):
            if _is_of_textgate(node):
                assert node.attr in textgate.__all__, block.location
            if isinstance(node, ast.Call) and _is_of_textgate(node.func):
                keywords = {str(keyword.arg): keyword.value for keyword in node.keywords}
                inspect.signature(getattr(textgate, node.func.attr)).bind(*node.args, **keywords)


def _is_of_textgate(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "textgate"
