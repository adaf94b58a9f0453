"""``textgate serve`` and ``textgate keys``: the endpoint, and who may ask it."""

from pathlib import Path

import click

from textgate.components.storage import ModelRef, Registry, Store, connect
from textgate.pipelines.cli.workspace import store_options

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SHARE = click.FloatRange(0, 100)


@click.command(
    epilog="""\b
Examples:
  textgate serve quickstart
  textgate serve films films-de@605127f62e6b --host 0.0.0.0 --keys keys.txt
  curl -s localhost:8080/v1/models/quickstart:classify -d '{"texts": ["a moving, beautifully acted film"]}'
"""
)
@click.argument("models", metavar="[MODEL[@CHANNEL|@VERSION]]...", nargs=-1)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; any but loopback needs --keys.")
@click.option("--port", default=8080, show_default=True, help="Of HTTP; 0 takes a free one.")
@click.option("--grpc-port", default=8081, show_default=True, help="Of gRPC; 0 takes a free one.")
@click.option(
    "--workers", default=0, help="Threads that predict, together on a lone request.  [default: one for each core]"
)
@click.option("--deadline-ms", default=5_000, show_default=True, help="A request is answered within it, or refused.")
@click.option("--max-body-mb", default=8, show_default=True, help="Size of a request.")
@click.option("--max-texts", default=1_024, show_default=True, help="Texts of a request.")
@click.option("--max-characters", default=100_000, show_default=True, help="Characters of a text.")
@click.option(
    "--on-long",
    type=click.Choice(["truncate", "refuse"]),
    default="truncate",
    show_default=True,
    help="What is done with a text longer than the model reads; a truncated one is marked in the answer.",
)
@click.option("--poll-seconds", default=5.0, show_default=True, help="How often channels are looked at.")
@click.option("--challenger-share", type=_SHARE, default=0.0, help="Percent of requests for the channel challenger.")
@click.option("--shadow-share", type=_SHARE, default=0.0, help="Percent of requests the channel shadow answers too.")
@click.option("--keys", type=_FILE, envvar="TEXTGATE_KEYS", help="File of API keys, made by: textgate keys new NAME.")
@click.option("--tls-cert", type=_FILE, help="Certificate chain, PEM.")
@click.option("--tls-key", type=_FILE, help="Its private key, PEM.")
@click.option("--log-predictions", type=_SHARE, default=0.0, help="Percent of requests kept in the store, with texts.")
@click.option("--drain-seconds", default=20, show_default=True, help="For what was asked before SIGTERM.")
@store_options
def serve(
    models: tuple[str, ...],
    host: str,
    port: int,
    grpc_port: int,
    workers: int,
    deadline_ms: int,
    max_body_mb: int,
    max_texts: int,
    max_characters: int,
    on_long: str,
    poll_seconds: float,
    challenger_share: float,
    shadow_share: float,
    keys: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    log_predictions: float,
    drain_seconds: int,
    home: Path,
    bucket: str,
) -> None:
    """Answer for each MODEL, or for every one that has a champion, over HTTP and gRPC.

    A model's champion is followed: another one takes its place without a pause, and without names a model that gets its
    first is taken in. The page to try a model is at /, the interface is described at /openapi.json and speaks the Open
    Inference Protocol v2.
    """
    from textgate.serving.endpoint import Limits
    from textgate.serving.server import Settings
    from textgate.serving.server import serve as serve_models

    settings = Settings(
        targets=[ModelRef.parse(model) for model in models],
        home=home,
        host=host,
        port=port,
        grpc_port=grpc_port,
        threads=workers,
        limits=Limits(deadline_ms / 1e3, max_body_mb * 2**20, max_texts, max_characters, on_long == "refuse"),
        poll_seconds=poll_seconds,
        challenger_share=challenger_share / 100,
        shadow_share=shadow_share / 100,
        keys=keys,
        certificate=tls_cert,
        private_key=tls_key,
        log_predictions=log_predictions / 100,
        drain_seconds=drain_seconds,
    )
    # The bucket is not looked for: what was served last is served again even if the store is away.
    connect(home)
    serve_models(settings, Registry(Store.from_environment(bucket)))


@click.group()
def keys() -> None:
    """Make API keys for the endpoint.

    \b
    Example:
      textgate keys new films-app >> keys.txt
      textgate serve films --host 0.0.0.0 --keys keys.txt
    """


@keys.command()
@click.argument("name")
@click.option("--admin", is_flag=True, help="May load and unload models too.")
def new(name: str, admin: bool) -> None:
    """Make a key for NAME: the key goes to standard error, once; its line for the file to standard output."""
    from textgate.serving.keys import new_key

    key, line = new_key(name, "admin" if admin else "user")
    click.echo(f"{name}'s key, which is kept nowhere: {key}", err=True)
    click.echo(line)
