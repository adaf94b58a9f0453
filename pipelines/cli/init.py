"""``textgate init``: write a recipe for a data file."""

import click


@click.command()
def init() -> None:
    """Write a recipe for a data file."""
