"""Options of commands that talk to Kubeflow Pipelines: ``--endpoint``, ``--namespace`` and credentials."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from textgate.pipelines.cli.run_result import exit_on_failure

_OPTIONS = [
    click.option(
        "--endpoint",
        metavar="URL",
        envvar="KF_PIPELINES_ENDPOINT",
        required=True,
        help="Address of the Kubeflow Pipelines API, such as http://ml-pipeline.kubeflow:8888.",
    ),
    click.option("--namespace", help="Namespace, for a multi-user Kubeflow."),
    click.option(
        "--service-account",
        metavar="NAME",
        envvar="TEXTGATE_SERVICE_ACCOUNT",
        show_default="that of Kubeflow Pipelines",
        help="Service account of the steps' pods.",
    ),
    click.option("--token-env", metavar="NAME", help="Environment variable that holds a bearer token."),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        show_default="in a pod, the token of its service account",
        help="File that holds a bearer token.",
    ),
    click.option(
        "--cookies-env",
        metavar="NAME",
        help="Environment variable that holds cookies, such as authservice_session=….",
    ),
]
experiment_option = click.option(
    "--experiment", show_default="the recipe's model", help="Experiment of Kubeflow Pipelines that groups the runs."
)


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the cluster's address and credentials to a command, which receives a ``Cluster`` as ``cluster``.

    The command exits with code 1 if the cluster cannot be reached or the run fails.
    """

    @functools.wraps(command)
    def with_cluster(
        endpoint: str,
        namespace: str | None,
        service_account: str | None,
        token_env: str | None,
        token_file: Path | None,
        cookies_env: str | None,
        **others: Any,
    ) -> Any:
        from textgate.pipelines.runners.cluster import Cluster, Credentials, UnavailableError
        from textgate.pipelines.runners.run_log import RunFailedError

        cluster = Cluster(endpoint, namespace, Credentials.find(token_env, token_file, cookies_env), service_account)
        with exit_on_failure(UnavailableError, RunFailedError):
            return command(cluster=cluster, **others)

    decorated: Callable[..., Any] = with_cluster
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
