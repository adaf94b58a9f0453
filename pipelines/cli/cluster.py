"""``textgate submit`` and ``textgate retrain``: run recipes on a cluster."""

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from textgate.components.contracts import duration
from textgate.components.storage import Store
from textgate.pipelines.cli.cluster_options import cluster_options, experiment_option
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.recipe_options import RecipeSelection, recipe_options
from textgate.pipelines.cli.run_end import reported_end
from textgate.pipelines.cli.run_result import exit_on_reject, print_lines, print_steps, run_json, run_lines
from textgate.pipelines.cli.store_options import bucket_option, json_option
from textgate.pipelines.recipes import with_feedback_of
from textgate.pipelines.terminal import Console

if TYPE_CHECKING:
    from textgate.pipelines.runners.cluster import Cluster
    from textgate.pipelines.runners.follow import ClusterRun

_UNDECIDED = ("FAILED", "CANCELED")
_RUNNING = ("PENDING", "RUNNING", "CANCELING", "PAUSED")


@click.command(
    epilog=example(
        "textgate submit imdb-tfidf --endpoint http://localhost:8888 --source s3://textgate/data/imdb.csv",
        "textgate submit imdb-tfidf --endpoint http://localhost:8888 --wait --fail-on-reject",
    )
)
@recipe_options
@cluster_options
@bucket_option
@json_option
@experiment_option
@click.option("--run-name", show_default="the recipe and the time", help="Name of the run in Kubeflow Pipelines.")
@click.option("--wait", is_flag=True, help="Follow the run to its end and print its result.")
@click.option("--fail-on-reject", is_flag=True, help="With --wait: exit with code 3 if a gate rejects the model.")
@click.option("--poll-seconds", default=5.0, help="With --wait: interval between status requests, in seconds.")
def submit(
    selection: RecipeSelection,
    cluster: "Cluster",
    bucket: str,
    as_json: bool,
    experiment: str | None,
    run_name: str | None,
    wait: bool,
    fail_on_reject: bool,
    poll_seconds: float,
) -> None:
    """Run RECIPE on a cluster.

    Upload its pipeline, or a new version of it, and start a run.

    The S3 store is configured by the environment (AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID, …), here and in the cluster.

    Exit codes: 0 the run was started or, with --wait, completed; 1 it failed or the cluster cannot be reached; 2 the
    recipe, an argument, the source or the token is wrong; 3 a gate rejected the model and --fail-on-reject is given;
    for others see textgate --help.
    """
    if fail_on_reject and not wait:
        raise click.UsageError("--fail-on-reject goes with --wait")

    from textgate.pipelines.runners.display import Display
    from textgate.pipelines.runners.follow import follow
    from textgate.pipelines.runners.submit import start, upload

    store = Store.from_environment(bucket)
    if wait:
        store.prefixes("models/")  # Fail now, not after the run, if the store cannot be read.
    recipe = with_feedback_of(selection.recipe, bucket)
    uploaded = upload(cluster, recipe, selection.images, selection.sweep)
    run = start(cluster, recipe, uploaded, bucket, experiment, run_name)
    page = cluster.page(run)
    started = {
        "run": run,
        "page": page,
        "pipeline": selection.recipe.name,
        "pipeline_version": uploaded.version_name,
    }
    if not wait:
        click.echo(json.dumps(started) if as_json else f"started {run}, version {uploaded.version_name}: {page}")
        return
    click.echo(f"started {run}: {page}", err=True)
    resume = f"the run goes on on the cluster: {page}"
    with reported_end(store, recipe.model, as_json, resume):
        result = follow(cluster, run, uploaded.steps, store, Display(sys.stderr), poll_seconds)
        if as_json:
            steps = [{"name": step.name, "outcome": step.outcome, "seconds": step.seconds} for step in result.steps]
            output = {**started, **run_json(result.record), "steps": steps, "seconds": result.seconds}
            click.echo(json.dumps(output, ensure_ascii=False))
        else:
            _print_result(result, page)
    exit_on_reject(result.record, fail_on_reject)


def _print_result(result: "ClusterRun", page: str) -> None:
    console = Console(soft_wrap=True)
    print_steps(console, result.steps)
    print_lines(console, [*run_lines(result.record), ("took", duration(result.seconds)), ("page", page)])


@click.command(
    epilog=example("textgate retrain films.yaml --endpoint http://ml-pipeline.kubeflow:8888 --days 30 --dry-run")
)
@recipe_options
@cluster_options
@bucket_option
@json_option
@experiment_option
@click.option("--days", default=7, help="Age limit of the predictions and feedback that are checked, in days.")
@click.option("--min-answers", default=500, help="Minimum number of different logged texts for a drift check.")
@click.option("--min-feedback", default=100, help="Minimum number of feedback labels for a check of the score.")
@click.option(
    "--min-psi",
    "--max-psi",
    "min_psi",
    default=0.05,
    help="Population stability index from which on a significant change of the predicted labels is drift.",
)
@click.option("--dry-run", is_flag=True, help="Print the reasons without submitting a run.")
def retrain(
    selection: RecipeSelection,
    cluster: "Cluster",
    bucket: str,
    as_json: bool,
    experiment: str | None,
    days: int,
    min_answers: int,
    min_feedback: int,
    min_psi: float,
    dry_run: bool,
) -> None:
    """Submit RECIPE if its model should be retrained.

    Made for a CronJob. Reasons: the content of the source has changed since the champion was trained; the labels that
    the champion predicts (textgate serve --log-predictions), the lengths of the texts or the texts themselves have
    drifted from those of its test split; its gate.metric on the labels sent to /v1/feedback is below the
    threshold of the gate.
    Nothing is submitted while the last retraining is running, or for a cause that an earlier retraining has dealt with.

    The drift tests together raise a false alarm in at most 5 % of the checks, and print the smallest change that they
    would have found.

    Exit code 0 whether or not a run was submitted.
    """
    from textgate.pipelines.runners.retrain import DriftLimits, check_for_reasons
    from textgate.pipelines.runners.retraining import last_retraining, record_retraining
    from textgate.pipelines.runners.submit import start, upload

    recipe = with_feedback_of(selection.recipe, bucket)
    store = Store.from_environment(bucket)
    now = datetime.now(UTC)
    last = last_retraining(store, recipe.model)
    state = cluster.state(last.run) if last else None
    limits = DriftLimits(days, min_answers, min_feedback, min_psi)
    check = check_for_reasons(recipe, store, limits, now, None if state in _UNDECIDED else last)
    run = None
    if not check.reasons:
        action = "nothing to do"
    elif last and state in _RUNNING:
        action = f"nothing to do: the run {last.run} is under way"
    elif dry_run:
        action = "a run would be submitted"
    else:
        uploaded = upload(cluster, recipe, selection.images, selection.sweep)
        run = start(cluster, recipe, uploaded, bucket, experiment, None)
        record_retraining(store, recipe.model, run, check.source_version, check.reasons, now, check.alarm, check.window)
        action = f"submitted {run}: {cluster.page(run)}"
    if as_json:
        click.echo(json.dumps({"run": run, "done": action, **check.as_json()}, ensure_ascii=False))
        return
    for title, sentences in (("checked", check.findings), ("reason", check.reasons)):
        for sentence in sentences:
            click.echo(f"{title}: {sentence}")
    click.echo(action)
