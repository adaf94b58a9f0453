"""The command line ``textgate``: one module per command, and modules of the options that commands share."""

import sys
from typing import Any

import click

from textgate.pipelines.cli.border import ended_by_signals, one_sentence, replace_streams
from textgate.pipelines.cli.cluster import retrain, submit
from textgate.pipelines.cli.compare import compare
from textgate.pipelines.cli.doctor import doctor
from textgate.pipelines.cli.garbage import gc
from textgate.pipelines.cli.help_text import EXIT_CODES, example
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


class _Group(click.Group):
    """Group whose commands end as ``border`` says."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        replace_streams()
        with ended_by_signals(), one_sentence():
            try:
                return super().main(*args, **kwargs)
            finally:
                sys.stdout.flush()

    # Here, because click turns KeyboardInterrupt, which ``Interrupted`` is, into exit code 1.

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with one_sentence():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> object:
        with one_sentence():
            return super().invoke(ctx)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog=EXIT_CODES
    + example(
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
