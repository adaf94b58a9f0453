"""Parsing of ``textgate`` command lines as click does, without running them."""

import click

from textgate.pipelines.cli import main


def parse(arguments: list[str]) -> click.Context:
    """Parse the arguments of ``textgate`` and return the context of the command that they call."""
    command: click.Command = main
    context = main.make_context("textgate", arguments)
    while isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
        context = command.make_context(name, rest, parent=context)
    return context


def command_words(context: click.Context) -> tuple[str, ...]:
    """Return the words that call the command, such as ``("recipes", "show")``."""
    return tuple(context.command_path.split()[1:])
