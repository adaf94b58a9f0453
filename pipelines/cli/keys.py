"""``textgate keys``: API keys of the server."""

import click

from textgate.pipelines.cli.help_text import example


@click.group(
    epilog=example(
        "textgate keys new films-app >> keys.txt",
        "textgate serve films --host 0.0.0.0 --keys keys.txt",
    )
)
def keys() -> None:
    """Create API keys for the server."""


@keys.command(epilog=example("textgate keys new films-app >> keys.txt", "textgate keys new operator --admin"))
@click.argument("name")
@click.option("--admin", is_flag=True, help="Allow the key to load and unload models.")
def new(name: str, admin: bool) -> None:
    """Create a key for NAME.

    The key is printed once, to standard error, and stored nowhere. The line for the keys file, which holds only a hash,
    goes to standard output.
    """
    from textgate.serving.keys import new_key

    key, line = new_key(name, "admin" if admin else "user")
    click.echo(f"{name}'s key, which is stored nowhere: {key}", err=True)
    click.echo(line)
