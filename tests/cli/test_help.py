"""The help of every command: a summary, options with a meaning and a default, and an example that parses."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from cli.command_line import command_words, parse
from click.testing import CliRunner

from textgate.pipelines import recipes
from textgate.pipelines.cli import main

Path_ = tuple[str, ...]


def commands(group: click.Group = main, path: Path_ = ()) -> Iterator[tuple[Path_, click.Command]]:
    """Yield every command with the words that call it."""
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())
NAMES = [" ".join(path) or "textgate" for path in COMMANDS]
every_command = pytest.mark.parametrize(("path", "command"), COMMANDS.items(), ids=NAMES)


def show_help(path: Path_) -> str:
    result = CliRunner().invoke(main, [*path, "--help"], prog_name="textgate", terminal_width=120)
    assert result.exit_code == 0, result.output
    return result.stdout


def examples(text: str) -> list[str]:
    """Return the commands of the example that a help text ends with."""
    _, separator, end = text.partition("\n  Example:\n")
    assert separator, "there is no example"
    lines = end.strip("\n").splitlines()
    assert all(line.startswith("    ") for line in lines), "the example is not the end"
    return [line.strip() for line in lines]


def test_the_walk_finds_the_commands() -> None:
    assert {(), ("run",), ("recipes", "keys"), ("init",), ("schedule", "pause"), ("keys", "new")} <= COMMANDS.keys()


@every_command
def test_help_ends_with_an_example_that_parses(
    path: Path_, command: click.Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys.txt").touch()
    called = []
    for line in examples(show_help(path)):
        words = shlex.split(line, posix=True)
        while "=" in words[0]:
            words = words[1:]
        if words[0] == "curl":
            continue
        assert words[0] == "textgate", line
        end = next((index for index, word in enumerate(words) if word in ("<", ">", ">>", "|")), len(words))
        called.append(command_words(parse(words[1:end])))
        if called[-1] in {("run",), ("compile",), ("submit",), ("schedule", "new")} and not words[2].endswith(".yaml"):
            assert (words[2] if words[2] != "new" else words[3]) in recipes.names(), line
    assert any(words[: len(path)] == path for words in called)


@every_command
def test_a_summary_is_a_short_sentence(path: Path_, command: click.Command) -> None:
    # In the list of commands, click cuts a longer summary.
    summary = command.get_short_help_str(limit=64 if path else 120)
    assert re.fullmatch(r"[A-Z].*\w", summary.rstrip(".")), summary
    assert not summary.endswith("..."), summary


@every_command
def test_an_option_says_what_it_is_and_its_default(path: Path_, command: click.Command) -> None:
    context = click.Context(main, info_name="textgate", show_default=True)
    context = click.Context(command, info_name=path[-1] if path else "textgate", parent=context)
    for option in command.params:
        if not isinstance(option, click.Option) or option.hidden:
            continue
        assert option.help, option.name
        assert option.help.endswith((".", "'")), option.name
        record = option.get_help_record(context)
        assert record is not None
        has_default = option.default not in (None, False, ()) and "UNSET" not in repr(option.default)
        if has_default and option.name not in ("help", "version"):
            assert "[default: " in record[1], option.name


def test_the_workspace_has_two_names_and_two_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, variable in (
        (["--workspace", "a"], None),
        (["--home", "a"], None),
        ([], "TEXTGATE_WORKSPACE"),
        ([], "TEXTGATE_HOME"),
    ):
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            if variable:
                patch.setenv(variable, "a")
            context = main.commands["run"].make_context("run", ["quickstart", *arguments])
            assert context.params["workspace"] == Path("a")


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(main, ["--version"], prog_name="textgate")
    assert re.fullmatch(r"textgate, version \d+\.\d+\.\d+\S*\n", result.stdout)
