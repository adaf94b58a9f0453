"""Every command line in the documentation parses: its command, options, recipes, recipe keys and make targets exist."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from cli.command_line import command_words, parse
from docs.markdown import PAGES, ROOT, Code, code_blocks, inline_code

from textgate.components.contracts.recipe.reference import recipe_keys
from textgate.pipelines import recipes
from textgate.pipelines.cli import main
from textgate.serving.routes import all_routes
from textgate.serving.routing import parse_json

BLOCKS = [block for page in PAGES for block in code_blocks(page)]


def commands(*programs: str) -> list[Any]:
    """Return the command lines of all pages that begin with one of the programs, as parameters of a test."""
    return [
        pytest.param(block, line, id=f"{block.location} {line}")
        for block in BLOCKS
        for line in block.commands(*programs)
    ]


def test_the_pages_hold_commands() -> None:
    assert len(commands("textgate")) > 20
    assert len(commands("make")) > 4


@pytest.mark.parametrize(("block", "line"), commands("textgate"))
def test_a_command_line_parses(block: Code, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://localhost:8888")  # the pages say to export it
    (tmp_path / "keys.txt").touch()
    words = shlex.split(line)
    end = next((index for index, word in enumerate(words) if word in ("<", ">", ">>", "|", "&")), len(words))
    context = parse(words[1:end])
    assert not isinstance(context.command, click.Group) or context.command.invoke_without_command, line
    check_recipes(context)


def check_recipes(context: click.Context) -> None:
    """Load the recipes that a command line names, with its overrides, and look up its recipe keys."""
    words, parameters = command_words(context), context.params
    names = parameters["names"] if words == ("compare",) else filter(None, [parameters.get("recipe")])
    overrides = [*parameters.get("overrides", ())]
    overrides += [value.partition(",")[0] for value in parameters.get("sweeps", ())]
    for name in names:
        if name.endswith(".yaml"):
            for override in overrides:
                recipe_keys(override.partition("=")[0])
        else:
            recipes.load(name, overrides)
    if words == ("recipes", "show"):
        recipes.read(parameters["name"])
    if words == ("recipes", "keys") and parameters["section"]:
        recipe_keys(parameters["section"])


def all_commands(group: click.Group = main, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    """Return every command by the words that call it."""
    found: dict[tuple[str, ...], click.Command] = {words: group}
    for name, command in group.commands.items():
        found |= all_commands(command, (*words, name)) if isinstance(command, click.Group) else {}
        found[*words, name] = command
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_in_the_text_exist(page: Path) -> None:
    every = all_commands()
    options = {"--help", "--version"}
    options |= {option for command in every.values() for parameter in command.params for option in parameter.opts}
    for code in inline_code(page):
        words = re.split(r"[ =]", code)
        if words[0] == "textgate" and len(words) > 1:
            called = every.get((words[1],))
            assert called, code
            # A word after a group is one of its commands, unless the group takes a recipe itself.
            if isinstance(called, click.Group) and re.match("[a-z]", "".join(words[2:3])):
                assert words[2] in called.commands, code
        if words[0].startswith("--"):
            assert words[0] in options, code


MAKE_TARGETS = set(re.findall(r"^([\w%-]+):(?!=)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def is_make_target(name: str) -> bool:
    files = {f"image-{path.stem}": path.read_text("utf-8") for path in (ROOT / "images").glob("*.Dockerfile")}
    tracking = {f"{image}-tracking" for image, text in files.items() if "ARG TRACKING=" in text}
    patterns = {"image-%": files.keys(), "image-%-tracking": tracking}
    return name in MAKE_TARGETS - patterns.keys() or any(
        pattern in MAKE_TARGETS and name in names for pattern, names in patterns.items()
    )


@pytest.mark.parametrize(("block", "line"), commands("make"))
def test_a_make_command_names_a_target(block: Code, line: str) -> None:
    targets = [word for word in line.split()[1:] if "=" not in word]
    assert targets
    assert all(map(is_make_target, targets))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_in_the_text_exist(page: Path) -> None:
    for code in inline_code(page):
        if re.match(r"make\s", code):
            assert all(is_make_target(word) for word in code.split()[1:] if "=" not in word), code


@pytest.mark.parametrize(("block", "line"), commands("cp"))
def test_a_file_to_copy_exists(block: Code, line: str) -> None:
    source, target = shlex.split(line)[1:]
    assert (ROOT / source).is_file()
    assert (ROOT / target).parent.is_dir()


@pytest.mark.parametrize(("block", "line"), commands("curl"))
def test_a_request_matches_a_route_and_its_body(block: Code, line: str) -> None:
    words = shlex.split(line)
    url = next(word for word in words if word.startswith("localhost"))
    endpoint: Any = SimpleNamespace(batcher=SimpleNamespace(check_capacity=lambda: None))
    (route,) = [
        route
        for route in all_routes(endpoint)
        if route.method == "POST" and re.fullmatch(re.sub(r"\{\w+\}", "[^/:]+", route.path), url[url.index("/") :])
    ]
    assert route.request_model is not None
    parse_json(route.request_model, words[words.index("-d") + 1].encode("utf-8"))
