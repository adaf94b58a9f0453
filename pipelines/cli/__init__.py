"""The command ``textgate``."""

import sys

import click

from textgate.components.contracts import InputError
from textgate.pipelines.cli.cluster import retrain, submit
from textgate.pipelines.cli.compare import compare
from textgate.pipelines.cli.doctor import doctor
from textgate.pipelines.cli.models import models
from textgate.pipelines.cli.predict import explain, predict
from textgate.pipelines.cli.publish import publish
from textgate.pipelines.cli.run import compile_, recipes, run
from textgate.pipelines.cli.schedule import schedule
from textgate.pipelines.cli.serve import keys, serve
from textgate.pipelines.cli.store import store


class _Group(click.Group):
    """Ends on InputError as on a wrong argument: one sentence, exit code 2."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="textgate")
def main() -> None:
    """Fine-tune text classifiers, judge exactly what will be served, promote only what passes.

    \b
    Example:
      textgate run quickstart
      textgate predict quickstart "a moving, beautifully acted film"
      textgate serve quickstart
    """


_COMMANDS = (
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
    doctor,
)
for command in _COMMANDS:
    main.add_command(command)
