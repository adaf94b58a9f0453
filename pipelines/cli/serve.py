"""``textgate serve``: the prediction server."""

from pathlib import Path
from typing import Literal

import click

from textgate.components.storage import ModelRef, Registry, Store, connect_if_possible
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.store_options import store_options

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_PERCENT = click.FloatRange(0, 100)


@click.command(
    epilog=example(
        "textgate serve quickstart",
        "textgate serve films films-de@605127f62e6b --host 0.0.0.0 --keys keys.txt",
        "curl -s localhost:8080/v1/models/quickstart:classify -H 'Content-Type: application/json' "
        '-d \'{"texts": ["a moving film"]}\'',
    )
)
@click.argument("models", metavar="[MODEL[@CHANNEL|@VERSION]]...", nargs=-1)
@click.option("--host", default="127.0.0.1", help="Address to listen on; all but loopback addresses require --keys.")
@click.option("--port", default=8080, help="HTTP port (0 picks a free one).")
@click.option("--grpc-port", default=8081, help="gRPC port (0 picks a free one).")
@click.option("--workers", default=0, show_default="one per CPU core", help="Number of prediction threads.")
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Device that runs ONNX models; cuda needs the image serving-gpu and fp16 or fp32 models.",
)
@click.option("--deadline-ms", default=5_000, help="Request timeout in milliseconds.")
@click.option("--max-body-mb", default=8, help="Maximum size of a request body in MiB.")
@click.option("--max-texts", default=1_024, help="Maximum number of texts per request.")
@click.option("--max-characters", default=100_000, help="Maximum length of a text in characters.")
@click.option(
    "--on-long",
    type=click.Choice(["truncate", "refuse"]),
    default="truncate",
    help="Handling of texts longer than the model's input; the response marks truncated ones.",
)
@click.option("--poll-seconds", default=5.0, help="Interval between checks of the registry channels, in seconds.")
@click.option(
    "--challenger-share", type=_PERCENT, default=0.0, help="Percentage of requests that the challenger answers."
)
@click.option(
    "--shadow-share", type=_PERCENT, default=0.0, help="Percentage of requests that the shadow predicts as well."
)
@click.option("--keys", type=_FILE, envvar="TEXTGATE_KEYS", help="File of API keys; see textgate keys.")
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    help="Host name, besides localhost, that requests may name while there are no API keys (repeatable).",
)
@click.option("--tls-cert", type=_FILE, envvar="TEXTGATE_TLS_CERT", help="TLS certificate chain (PEM).")
@click.option("--tls-key", type=_FILE, envvar="TEXTGATE_TLS_KEY", help="TLS private key (PEM).")
@click.option(
    "--log-predictions", type=_PERCENT, default=0.0, help="Percentage of requests logged to the store, with texts."
)
@click.option(
    "--max-feedback-mb",
    default=256,
    help="Maximum size in MiB of feedback that waits on disk for the store; more is refused with status 507.",
)
@click.option(
    "--linger-seconds",
    default=5.0,
    help="Seconds after SIGTERM in which requests are still answered, with `connection: close`.",
)
@click.option("--drain-seconds", default=20, help="Seconds to finish in-flight requests after that.")
@store_options
def serve(
    models: tuple[str, ...],
    host: str,
    port: int,
    grpc_port: int,
    workers: int,
    device: Literal["cpu", "cuda"],
    deadline_ms: int,
    max_body_mb: int,
    max_texts: int,
    max_characters: int,
    on_long: str,
    poll_seconds: float,
    challenger_share: float,
    shadow_share: float,
    keys: Path | None,
    allowed_hosts: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    log_predictions: float,
    max_feedback_mb: int,
    linger_seconds: float,
    drain_seconds: int,
    workspace: Path,
    bucket: str,
) -> None:
    """Serve models over HTTP and gRPC.

    Without MODEL, every model that has a champion is served. The server follows the registry: it replaces a model
    without downtime when its channel moves. Without MODEL, it also adds models that get their first champion. Before
    the first model it is live but not ready, and a model that cannot be served does not affect the others.

    The page / is for trying a model. /openapi.json describes the HTTP API, which includes the Open Inference Protocol
    v2.
    """
    from textgate.serving.endpoint import RequestLimits
    from textgate.serving.served_model import TrafficSplit
    from textgate.serving.server import ServerSettings
    from textgate.serving.server import serve as serve_models

    settings = ServerSettings(
        targets=[ModelRef.parse(model) for model in models],
        workspace=workspace,
        host=host,
        port=port,
        grpc_port=grpc_port,
        threads=workers,
        device=device,
        limits=RequestLimits(
            deadline_seconds=deadline_ms / 1e3,
            max_body_bytes=max_body_mb * 2**20,
            max_texts=max_texts,
            max_characters=max_characters,
            reject_long_texts=on_long == "refuse",
        ),
        poll_seconds=poll_seconds,
        traffic=TrafficSplit(challenger_share / 100, shadow_share / 100),
        keys=keys,
        allowed_hosts=allowed_hosts,
        certificate=tls_cert,
        private_key=tls_key,
        log_predictions=log_predictions / 100,
        max_feedback_bytes=max_feedback_mb * 2**20,
        linger_seconds=linger_seconds,
        drain_seconds=drain_seconds,
    )
    # Not open_store, which needs a reachable store: without one, the versions served last are served again.
    if problem := connect_if_possible(workspace):
        if not any(workspace.glob("models/*/*")):
            raise problem
        click.echo(f"Warning: {problem}; until it runs, the versions served last are served", err=True)
    # While the store is away, one request must not take much longer than the interval of the polls.
    serve_models(settings, Registry(Store.from_environment(bucket, patience=min(max(poll_seconds, 1.0), 5.0))))
