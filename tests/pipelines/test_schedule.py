"""``textgate schedule`` against a server that speaks the API of Kubeflow Pipelines, and what is a cron line."""

import pytest
from pipelines.cluster_workspace import ClusterWorkspace

from textgate.components.contracts import InputError
from textgate.pipelines.runners.cron import six_fields


def test_a_schedule_is_made_listed_paused_resumed_and_deleted(workspace: ClusterWorkspace) -> None:
    made = workspace.run_json("schedule", "films.yaml", "--cron", "0 3 * * 1")
    assert made == {"name": "films", "id": made["id"], "cron": "0 0 3 * * 1", "state": "running"}
    (kept,) = workspace.server.recurring.values()
    assert kept["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * 1"}}
    assert (kept["max_concurrency"], kept["no_catchup"], kept["mode"]) == ("1", True, "ENABLE")
    assert kept["runtime_config"]["parameters"] == {"bucket": workspace.store.bucket, "source_version": "[[RunUUID]]"}
    version = workspace.server.versions[kept["pipeline_version_reference"]["pipeline_version_id"]]
    assert version["display_name"] == workspace.run_json("submit", "films.yaml")["pipeline_version"]

    assert workspace.run_json("schedule", "list") == {"schedules": [made]}
    assert "films" in workspace.run("schedule", "list").stdout
    assert workspace.run_json("schedule", "pause", "films") == {**made, "state": "paused"}
    assert kept["mode"] == "DISABLE"
    assert workspace.run_json("schedule", "list") == {"schedules": [{**made, "state": "paused"}]}
    assert workspace.run_json("schedule", "resume", made["id"]) == made
    assert kept["mode"] == "ENABLE"
    assert workspace.run("schedule", "delete", "films").stdout == "films is deleted\n"
    assert workspace.server.recurring == {}
    assert workspace.run_json("schedule", "list") == {"schedules": []}


def test_names_are_told_apart_and_every_page_is_listed(workspace: ClusterWorkspace) -> None:
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


def test_a_wrong_cron_line_makes_no_schedule(workspace: ClusterWorkspace) -> None:
    result = workspace.run("schedule", "films.yaml", "--cron", "0 25 * * 1")
    assert result.exit_code == 2
    assert result.stderr == "Error: --cron '0 25 * * 1': the hour must be 0 to 23, not '25'\n"
    assert workspace.server.requests == []


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("0 3 * * 1", "0 0 3 * * 1"),
        ("  */15  0-6,20 1,15 jan-MAR ?  ", "0 */15 0-6,20 1,15 jan-MAR ?"),
        ("30 0 3 * * sun", "30 0 3 * * sun"),
        ("0 0 29 2 *", "0 0 0 29 2 *"),
        ("0 0 31 2 1", "0 0 0 31 2 1"),  # either field is enough for cron
        ("1-59/2 * * * *", "0 1-59/2 * * * *"),
    ],
)
def test_cron_lines(given: str, made: str) -> None:
    assert six_fields(given) == made


@pytest.mark.parametrize(
    ("given", "sentence"),
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
def test_what_is_no_cron_line_is_said_in_one_sentence(given: str, sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        six_fields(given)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
