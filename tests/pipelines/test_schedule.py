"""``textgate schedule`` against a Kubeflow Pipelines server, and the validation of cron expressions."""

import pytest
from pipelines.cluster_workspace import ClusterWorkspace

from textgate.components.contracts import InputError
from textgate.pipelines.runners.cron import six_fields


def test_a_schedule_is_created_listed_paused_resumed_and_deleted(workspace: ClusterWorkspace) -> None:
    created = workspace.run_json("schedule", "films.yaml", "--cron", "0 3 * * 1")
    assert created == {"name": "films", "id": created["id"], "cron": "0 0 3 * * 1", "state": "running"}
    (recurring,) = workspace.server.recurring.values()
    assert recurring["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * 1"}}
    assert (recurring["max_concurrency"], recurring["no_catchup"], recurring["mode"]) == ("1", True, "ENABLE")
    parameters = recurring["runtime_config"]["parameters"]
    assert {name: parameters[name] for name in ("bucket", "source_version", "min_f1")} == {
        "bucket": workspace.store.bucket,
        "source_version": "[[RunUUID]]",
        "min_f1": 0.8,
    }
    version = workspace.server.versions[recurring["pipeline_version_reference"]["pipeline_version_id"]]
    assert version["display_name"] == workspace.run_json("submit", "films.yaml")["pipeline_version"]

    assert workspace.run_json("schedule", "list") == {"schedules": [created]}
    assert "films" in workspace.run("schedule", "list").stdout
    assert workspace.run_json("schedule", "pause", "films") == {**created, "state": "paused"}
    assert recurring["mode"] == "DISABLE"
    assert workspace.run_json("schedule", "list") == {"schedules": [{**created, "state": "paused"}]}
    assert workspace.run_json("schedule", "resume", created["id"]) == created
    assert recurring["mode"] == "ENABLE"
    assert workspace.run("schedule", "delete", "films").stdout == "films is deleted\n"
    assert workspace.server.recurring == {}
    assert workspace.run_json("schedule", "list") == {"schedules": []}


def test_every_page_is_listed_and_names_are_unique(workspace: ClusterWorkspace) -> None:
    names = ["nightly", "weekly", "monthly"]
    for name in names:
        workspace.server.recurring[name] = {"display_name": name, "recurring_run_id": name, "status": "ENABLED"}
    assert [one["name"] for one in workspace.run_json("schedule", "list")["schedules"]] == names
    twice = workspace.run("schedule", "films.yaml", "--cron", "0 4 * * *", "--name", "weekly")
    assert twice.exit_code == 2
    assert "there is a schedule weekly already: delete it first (textgate schedule delete weekly)" in twice.stderr
    unknown = workspace.run("schedule", "pause", "yearly")
    assert unknown.exit_code == 2
    assert "there is no schedule yearly; there are monthly, nightly, weekly" in unknown.stderr
    assert len(workspace.server.recurring) == 3


def test_an_invalid_cron_expression_creates_no_schedule(workspace: ClusterWorkspace) -> None:
    result = workspace.run("schedule", "films.yaml", "--cron", "0 25 * * 1")
    assert result.exit_code == 2
    assert result.stderr == "Error: --cron '0 25 * * 1': the hour must be 0 to 23, not '25'\n"
    assert workspace.server.requests == []


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 3 * * 1", "0 0 3 * * 1"),
        ("  */15  0-6,20 1,15 jan-MAR ?  ", "0 */15 0-6,20 1,15 jan-MAR ?"),
        ("30 0 3 * * sun", "30 0 3 * * sun"),
        ("0 0 29 2 *", "0 0 0 29 2 *"),
        ("0 0 31 2 1", "0 0 0 31 2 1"),  # cron matches if either day field does
        ("1-59/2 * * * *", "0 1-59/2 * * * *"),
    ],
)
def test_a_cron_expression_gets_six_fields(cron: str, expected: str) -> None:
    assert six_fields(cron) == expected


@pytest.mark.parametrize(
    ("cron", "sentence"),
    [
        ("@daily", "has 1 fields, not the five of cron"),
        ("", "has 0 fields"),
        ("* * * * * * *", "has 7 fields"),
        ("60 * * * *", "the minute must be 0 to 59, not '60'"),
        ("* * 0 * *", "the day of the month must be 1 to 31, not '0'"),
        ("* * * 13 *", "the month must be 1 to 12, not '13'"),
        ("* * * * 7", "the day of the week must be 0 to 6, not '7'"),
        ("* * * * funday", "the day of the week must be 0 to 6, not 'funday'"),
        ("*/0 * * * *", "'*/0' matches no minute"),
        ("5-1 * * * *", "'5-1' matches no minute"),
        ("1,,2 * * * *", "'' is not a valid minute"),
        ("-1 * * * *", "'-1' is not a valid minute"),
        ("61 0 3 * * 1", "the second must be 0 to 59"),
        ("0 0 31 2,4 *", "matches no date: none of its months has that day"),
    ],
)
def test_an_invalid_cron_expression_is_reported_in_one_sentence(cron: str, sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        six_fields(cron)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
