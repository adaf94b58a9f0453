"""``textgate submit`` and ``textgate retrain``: run recipes on a cluster."""

import functools
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from textgate.components.contracts import duration
from textgate.components.storage import Store
from textgate.pipelines.cli.recipe import Chosen, recipe_options
from textgate.pipelines.cli.run import EXIT_FAILED, EXIT_REJECTED, decided, decided_in_words, show_steps
from textgate.pipelines.cli.workspace import bucket_option, json_option

if TYPE_CHECKING:
    from textgate.pipelines.runners.cluster import Cluster

_UNDECIDED = ("FAILED", "CANCELED")
_RUNNING = ("PENDING", "RUNNING", "CANCELING", "PAUSED")
_OPTIONS = [
    click.option(
        "--endpoint",
        metavar="URL",
        envvar="KF_PIPELINES_ENDPOINT",
        required=True,
        help="Of Kubeflow Pipelines, such as http://ml-pipeline.kubeflow:8888.",
    ),
    click.option("--namespace", help="Of a Kubeflow with several users."),
    click.option("--token-env", metavar="NAME", help="Variable with a token."),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File with a token.  [default: in a pod, its service account's]",
    ),
    click.option("--cookies-env", metavar="NAME", help="Variable with cookies, such as authservice_session=…"),
]


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add where the cluster is and who asks, which the command gets as ``cluster``; it exits 1 when that fails."""

    @functools.wraps(command)
    def with_cluster(
        endpoint: str,
        namespace: str | None,
        token_env: str | None,
        token_file: Path | None,
        cookies_env: str | None,
        **others: Any,
    ) -> Any:
        from textgate.pipelines.runners.cluster import Cluster, Credentials, UnavailableError
        from textgate.pipelines.runners.run_log import RunFailedError

        cluster = Cluster(endpoint, namespace, Credentials.find(token_env, token_file, cookies_env))
        try:
            return command(cluster=cluster, **others)
        except (UnavailableError, RunFailedError) as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(EXIT_FAILED)

    decorated: Callable[..., Any] = with_cluster
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


experiment_option = click.option("--experiment", help="Of Kubeflow Pipelines.  [default: the recipe's model]")


@click.command(
    epilog="Example: textgate submit imdb-tfidf --endpoint http://localhost:8888 --source s3://textgate/imdb.csv --wait"
)
@recipe_options
@cluster_options
@bucket_option
@json_option
@experiment_option
@click.option("--run-name", help="Shown in the list of runs.  [default: the recipe and the time]")
@click.option("--wait", is_flag=True, help="Follow the run to what its gates decide, which is read from the store.")
@click.option("--fail-on-reject", is_flag=True, help="With --wait: exit 3 when a gate rejects.")
@click.option("--poll-seconds", default=5.0, show_default=True, help="With --wait: how often the run is looked at.")
def submit(
    chosen: Chosen,
    cluster: "Cluster",
    bucket: str,
    as_json: bool,
    experiment: str | None,
    run_name: str | None,
    wait: bool,
    fail_on_reject: bool,
    poll_seconds: float,
) -> None:
    """Run RECIPE on a cluster: upload its pipeline, or a new version of it, and start a run.

    The store is the one that the environment names (AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID, …), here as in the cluster.

    Exits 0 when the run was started, or with --wait when it completed, 1 when it failed or the cluster does not answer,
    2 when the recipe, an argument, the source or the token is wrong, and 3 when a gate rejected and --fail-on-reject is
    given.
    """
    if fail_on_reject and not wait:
        raise click.UsageError("--fail-on-reject goes with --wait")

    from textgate.pipelines.runners.display import Display
    from textgate.pipelines.runners.submit import follow, start, upload

    store = Store.from_environment(bucket)
    if wait:
        store.prefixes("models/")  # what could not be read at the end is said at the beginning
    uploaded = upload(cluster, chosen.recipe, chosen.images, chosen.sweep)
    run = start(cluster, chosen.recipe, uploaded, bucket, experiment, run_name)
    page = cluster.page(run)
    started = {"run": run, "page": page, "pipeline": chosen.recipe.name, "pipeline_version": uploaded.version_name}
    if not wait:
        click.echo(json.dumps(started) if as_json else f"started {run}, version {uploaded.version_name}: {page}")
        return
    click.echo(f"started {run}: {page}", err=True)
    result = follow(cluster, run, uploaded.steps, store, Display(sys.stderr), poll_seconds)
    if as_json:
        steps = [{"name": step.name, "outcome": step.outcome, "seconds": step.seconds} for step in result.steps]
        decision = {**started, **decided(result.record), "steps": steps, "seconds": result.seconds}
        click.echo(json.dumps(decision, ensure_ascii=False))
    else:
        show_steps(Console(highlight=False, soft_wrap=True), result.steps)
        click.echo()
        for name, text in [*decided_in_words(result.record), ("took", duration(result.seconds)), ("page", page)]:
            click.echo(f"{name:<9} {text}")
    if fail_on_reject and result.record.promotion is None:
        sys.exit(EXIT_REJECTED)


@click.command(epilog="Example: textgate retrain films.yaml --endpoint http://ml-pipeline.kubeflow:8888 --dry-run")
@recipe_options
@cluster_options
@bucket_option
@json_option
@experiment_option
@click.option("--days", default=7, show_default=True, help="How far back answers and feedback are looked at.")
@click.option("--min-answers", default=500, show_default=True, help="Fewer answers of the endpoint say nothing.")
@click.option("--min-feedback", default=100, show_default=True, help="Fewer right labels say nothing.")
@click.option("--max-psi", default=0.25, show_default=True, help="Population stability index that is drift.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
def retrain(
    chosen: Chosen,
    cluster: "Cluster",
    bucket: str,
    as_json: bool,
    experiment: str | None,
    days: int,
    min_answers: int,
    min_feedback: int,
    max_psi: float,
    dry_run: bool,
) -> None:
    """Submit RECIPE if there is a reason to train its model again, for a CronJob.

    A reason is another content behind the source than the champion was made of; a champion that answers with other
    shares of labels than on its test split (what textgate serve --log-predictions keeps); or one whose F1 on what
    /v1/feedback was told lies below gate.min_f1. While the last retraining runs, and for a reason that one has decided
    on, nothing is done.

    Exits 0 whether or not a run was submitted.
    """
    from textgate.pipelines.runners.retrain import DriftLimits, check_for_reasons, last_retraining, record_retraining
    from textgate.pipelines.runners.submit import start, upload

    store = Store.from_environment(bucket)
    now = datetime.now(UTC)
    last = last_retraining(store, chosen.recipe.model)
    state = cluster.state(last.run) if last else None
    limits = DriftLimits(days, min_answers, min_feedback, max_psi)
    found = check_for_reasons(chosen.recipe, store, limits, now, None if state in _UNDECIDED else last)
    run = None
    if not found.reasons:
        done = "nothing to do"
    elif last and state in _RUNNING:
        done = f"nothing to do: the run {last.run} is under way"
    elif dry_run:
        done = "a run would be submitted"
    else:
        uploaded = upload(cluster, chosen.recipe, chosen.images, chosen.sweep)
        run = start(cluster, chosen.recipe, uploaded, bucket, experiment, None)
        record_retraining(store, chosen.recipe, run, found, now)
        done = f"submitted {run}: {cluster.page(run)}"
    if as_json:
        checked = asdict(found)
        if found.feedback_f1:
            checked["feedback_f1"] = found.feedback_f1.model_dump()
        click.echo(json.dumps({"run": run, "done": done, **checked}, ensure_ascii=False))
        return
    for reason in found.reasons:
        click.echo(f"reason: {reason}")
    click.echo(done)
