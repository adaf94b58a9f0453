"""The command line ``textgate``: one module per command, and modules of the options that commands share."""

import sys
from typing import Any

import click

from textgate.components.contracts import InputError
from textgate.pipelines.cli.cluster import retrain, submit
from textgate.pipelines.cli.compare import compare
from textgate.pipelines.cli.doctor import doctor
from textgate.pipelines.cli.garbage import gc
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.init import init
from textgate.pipelines.cli.inspect_source import inspect
from textgate.pipelines.cli.keys import keys
from textgate.pipelines.cli.models import models
from textgate.pipelines.cli.predict import explain, predict
from textgate.pipelines.cli.publish import publish
from textgate.pipelines.cli.recipes import recipes
from textgate.pipelines.cli.run import compile_, run
from textgate.pipelines.cli.schedule import schedule
from textgate.pipelines.cli.serve import serve
from textgate.pipelines.cli.store import store
from textgate.pipelines.terminal import PrintableStream


class _Group(click.Group):
    """Group that turns an ``InputError`` into one sentence and its exit code, by default 2 as for wrong arguments.

    Its output cannot control the terminal.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        # They stay replaced: Python prints the traceback of a bug after this method.
        sys.stdout, sys.stderr = PrintableStream(sys.stdout), PrintableStream(sys.stderr)
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog=example(
        "textgate run quickstart",
        'textgate predict quickstart "a moving, beautifully acted film"',
        "textgate serve quickstart",
    ),
)
@click.version_option(package_name="textgate")
def main() -> None:
    """Fine-tune text classifiers, evaluate exactly what will be served, and promote only what passes the gates."""


_COMMANDS = (
    inspect,
    init,
    recipes,
    run,
    compare,
    compile_,
    submit,
    schedule,
    retrain,
    models,
    predict,
    explain,
    publish,
    serve,
    keys,
    store,
    gc,
    doctor,
)
for command in _COMMANDS:
    main.add_command(command)
