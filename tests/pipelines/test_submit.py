"""``textgate submit`` against a server that speaks the API of Kubeflow Pipelines."""

import json
from pathlib import Path

import pytest
from pipelines.cluster_workspace import ClusterWorkspace, store_outputs, unreachable_address
from pipelines.kfp_server import Plan

from textgate.components.sources import content_version

SECRET = "a-secret-token"
STEPS = [
    *("ingest", "preprocess", "check-labels", "train", "evaluate", "gate-trained", "merge-quantize"),
    *("export-onnx", "evaluate-2"),
    *("gate-served", "promote", "record"),
]


def test_only_a_changed_recipe_is_uploaded_as_a_new_version(
    workspace: ClusterWorkspace,
) -> None:
    first = workspace.run_json("submit", "films.yaml")
    assert [one["display_name"] for one in workspace.server.pipelines.values()] == ["films"]
    assert first["page"] == f"{workspace.server.address}/#/runs/details/{first['run']}"
    second = workspace.run_json(
        "submit", "films.yaml", "--set", "train.C=2", "--run-name", "with C=2", "--experiment", "C"
    )
    again = workspace.run_json("submit", "films.yaml")
    assert second["pipeline_version"] != first["pipeline_version"] == again["pipeline_version"]
    assert len(workspace.server.pipelines) == 1
    assert len(workspace.server.versions) == 2

    runs = [workspace.server.runs[one["run"]] for one in (first, second, again)]
    used = [run["pipeline_version_reference"]["pipeline_version_id"] for run in runs]
    assert used[0] == used[2] != used[1]
    names = [workspace.server.experiments[run["experiment_id"]]["display_name"] for run in runs]
    assert names == ["films", "C", "films"]
    assert runs[1]["display_name"] == "with C=2"
    assert runs[0]["runtime_config"]["parameters"] == {
        "bucket": workspace.store.bucket,
        "source_version": content_version(f"s3://{workspace.store.bucket}/films.csv"),
        # KFP's page that clones a run shows only the values that the run was given.
        "source": f"s3://{workspace.store.bucket}/films.csv",
        "model": "films",
        "C": 10.0,
        "min_f1": 0.8,
        "margin": 0.01,
        "min_test_rows": 20,
    }
    assert runs[1]["runtime_config"]["parameters"]["C"] == 2
    # The uploaded file is the one that compile writes, with its platform part.
    pipeline, platform = workspace.server.files[used[1]]
    assert '"C":2' in str(pipeline)
    assert "kubernetes" in platform["platforms"]


def test_wait_follows_the_run_to_its_decision(workspace: ClusterWorkspace) -> None:
    workspace.server.plan = Plan(STEPS, before=store_outputs(workspace.store, promoted=True))
    result = workspace.run("submit", "films.yaml", "--wait", "--poll-seconds", "0")
    assert result.exit_code == 0, result.stderr
    shown = result.stderr.splitlines()
    for step in STEPS:
        assert f"{step}: started" in shown
        assert f"{step}: done in 1m00s" in shown
    assert "decision  promote: the served model has F1 0.9100 [0.8800, 0.9400]" in result.stdout
    assert "promoted  films 605127f62e6b" in result.stdout


def test_a_rejected_model_exits_with_3_if_fail_on_reject_is_given(workspace: ClusterWorkspace) -> None:
    workspace.server.plan = Plan(STEPS[:5], before=store_outputs(workspace.store, promoted=False))
    rejected = workspace.run("submit", "films.yaml", "--wait", "--fail-on-reject", "--poll-seconds", "0", "--json")
    assert rejected.exit_code == 3
    result = json.loads(rejected.stdout)
    assert (result["verdict"], result["version"], result["model"]) == ("reject", None, "films")
    assert [step["name"] for step in result["steps"]] == STEPS[:5]
    assert workspace.run("submit", "films.yaml", "--fail-on-reject").exit_code == 2


def test_a_failure_names_the_step_and_ends_with_its_last_lines(workspace: ClusterWorkspace) -> None:
    log = "\n".join([*(f"line {number}" for number in range(30)), "RuntimeError: CUDA out of memory", ""])
    workspace.server.plan = Plan(STEPS, fails_at="train", log=log)
    result = workspace.run("submit", "films.yaml", "--wait", "--poll-seconds", "0")
    assert result.exit_code == 1
    *_, first, last, champion = (line for line in result.stderr.splitlines() if not line.startswith("    line"))
    assert first.startswith("Error: step train failed; the run is at http://127.0.0.1:")
    assert first.endswith("; its last lines:")
    assert last == "    RuntimeError: CUDA out of memory"
    assert champion == "the champion of films did not move"
    assert "    line 29" in result.stderr.splitlines()
    assert "line 20" not in result.stderr
    assert "train: failed in 1m00s" in result.stderr
    assert "record: done" in result.stderr


def test_an_input_error_of_a_step_is_reported_in_one_sentence(workspace: ClusterWorkspace) -> None:
    log = "reading\ntextgate error: films.csv has no column label\ntextgate worked seconds: 0.1\nexit status 2\n"
    workspace.server.plan = Plan(STEPS, fails_at="ingest", log=log)
    result = workspace.run("submit", "films.yaml", "--wait", "--poll-seconds", "0")
    assert result.exit_code == 2
    assert "Error: step ingest: films.csv has no column label; the run is at " in result.stderr


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (Plan(STEPS, fails_at="train"), "Error: step train failed, and the cluster gives no log of it; the run is at "),
        (Plan(["ingest"], state="CANCELED"), "Error: the run ended CANCELED; the run is at "),
    ],
)
def test_a_failed_run_without_a_log_is_reported(workspace: ClusterWorkspace, plan: Plan, sentence: str) -> None:
    workspace.server.plan = plan
    result = workspace.run("submit", "films.yaml", "--wait", "--poll-seconds", "0")
    assert result.exit_code == 1
    assert sentence in result.stderr


def test_a_run_without_a_record_is_reported(workspace: ClusterWorkspace) -> None:
    workspace.server.plan = Plan(STEPS)
    result = workspace.run("submit", "films.yaml", "--wait", "--poll-seconds", "0")
    assert result.exit_code == 2
    assert "has left no record in s3://" in result.stderr


def test_a_short_outage_of_the_server_does_not_stop_following_a_run(workspace: ClusterWorkspace) -> None:
    workspace.server.plan = Plan(STEPS, before=store_outputs(workspace.store, promoted=True))
    write_outputs = workspace.server.plan.before

    def fail_for_a_while(run: str, parameters: dict[str, str]) -> None:
        write_outputs(run, parameters)
        workspace.server.dropped_requests = 6  # more than the client's own retries

    workspace.server.plan.before = fail_for_a_while
    result = workspace.run_json("submit", "films.yaml", "--wait", "--poll-seconds", "0")
    assert (result["verdict"], result["version"]) == ("promote", "605127f62e6b")


def test_an_unreadable_store_is_reported_before_anything_runs(
    workspace: ClusterWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    result = workspace.run("submit", "films.yaml", "--wait")
    assert result.exit_code == 4
    assert "refuses these credentials" in result.stderr
    assert workspace.server.runs == {}


def test_an_expired_token_is_reported_in_one_sentence_without_the_secret(
    workspace: ClusterWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("COOKIES", f"authservice_session={SECRET}")
    workspace.server.token = "another"
    for given in (["--token-env", "TOKEN"], ["--token-file", str(file)], ["--cookies-env", "COOKIES"], []):
        result = workspace.run("submit", "films.yaml", *given)
        assert result.exit_code == 2
        assert result.stderr.startswith("Error: Kubeflow Pipelines at http://127.0.0.1:")
        assert "refuses these credentials (401 Unauthorized): the token or cookie has expired" in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert SECRET not in result.output

    # A valid token is accepted from every option, and a pod finds its own.
    workspace.server.token = SECRET
    assert workspace.run("schedule", "list", "--token-env", "TOKEN").exit_code == 0
    assert workspace.run("schedule", "list", "--token-file", str(file)).exit_code == 0
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(file))
    assert workspace.run("schedule", "list").exit_code == 0
    workspace.server.token, workspace.server.cookie = None, f"authservice_session={SECRET}"
    assert workspace.run("schedule", "list", "--cookies-env", "COOKIES").exit_code == 0


def test_a_token_file_is_read_again_for_each_request(workspace: ClusterWorkspace, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    workspace.server.token = "first"

    def replace(look: int) -> None:
        if look == 1:
            workspace.server.token = "second"
            file.write_text("second")

    workspace.server.plan = Plan(
        ["ingest", "record"], before=store_outputs(workspace.store, promoted=True), meanwhile=replace
    )
    result = workspace.run("submit", "films.yaml", "--wait", "--poll-seconds", "0", "--token-file", str(file))
    assert result.exit_code == 0, result.stderr
    assert workspace.server.token == "second"


def test_a_wrong_address_or_argument_is_reported_in_one_sentence(workspace: ClusterWorkspace) -> None:
    with unreachable_address() as address:
        away = workspace.run("submit", "films.yaml", "--endpoint", address)
    assert away.exit_code == 1
    assert away.stderr == f"Error: Kubeflow Pipelines at {address} cannot be reached: [Errno 111] Connection refused\n"

    workspace.server.login_page = True
    page = workspace.run("submit", "films.yaml")
    workspace.server.login_page = False
    assert page.exit_code == 2
    assert "returned an HTML page instead of JSON: sign in again, or correct --endpoint" in page.stderr

    (workspace.folder / "films.csv").write_text("text,label\n")
    for arguments, sentence in {
        ("--source", "films.csv"): "is on this machine, where the steps of a cluster cannot read it",
        ("--source", f"s3://{workspace.store.bucket}/none.csv"): "there is nothing at s3://",
        (
            *("--set", "train={family: ensemble, members: [{bundle: films}, {bundle: ./dull}]}"),
        ): f"the bundle {workspace.folder}/dull is on this machine, where the steps of a cluster cannot read it",
        ("--token-env", "NOT_THERE"): "--token-env NOT_THERE: there is no such variable in the environment",
        ("--token-file", "not-there"): "the token file not-there cannot be read",
    }.items():
        result = workspace.run("submit", "films.yaml", *arguments)
        assert result.exit_code == 2, result.output
        assert sentence in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert workspace.server.runs == {}


def test_an_error_message_of_the_server_is_reported(workspace: ClusterWorkspace) -> None:
    workspace.server.broken = True
    failed = workspace.run("schedule", "list")
    assert failed.exit_code == 1
    assert failed.stderr.endswith(" failed: 500 Internal error: Failed to list recurring runs\n")
    workspace.server.broken = False
    unknown = workspace.run("schedule", "list", "--endpoint", f"{workspace.server.address}/wrong")
    assert unknown.exit_code == 2
    assert "has no such resource: Not Found" in unknown.stderr
