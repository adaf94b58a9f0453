"""``textgate retrain``: nothing is trained without a reason, and nothing twice for the same one."""

import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelines.cluster_workspace import ClusterWorkspace
from pipelines.kfp_server import Plan

from textgate.components.contracts import Estimate, EvaluationManifest
from textgate.components.sources import content_version
from textgate.components.storage import Registry, Store
from textgate.pipelines.runners.retrain import population_stability_index
from textgate.serving.feedback import FeedbackLog

Champion = Callable[[str], str]


def source_version(workspace: ClusterWorkspace) -> str:
    return content_version(f"s3://{workspace.store.bucket}/films.csv")


def judged(store: Store, no: int, yes: int) -> None:
    """The champion answered so often with each label on the test split."""
    f1 = Estimate(value=0.9, low=0.85, high=0.95)
    move = Registry(store).channel("films")
    assert move
    manifest = EvaluationManifest(
        bundle="b" * 64,
        runtime="linear",
        dataset="d" * 64,
        split="test",
        labels=["no", "yes"],
        metrics={"f1": f1, "accuracy": f1},
        per_class={},
        confusion=[[no - 10, 10], [10, yes - 10]],
        calibration_error_before=0.02,
        rows_per_second=100.0,
    )
    store.put(f"runs/{move.run}/evaluation.json", manifest.model_dump_json().encode())


def answered(store: Store, version: str, labels: list[str], right: list[str] | None = None) -> None:
    """The endpoint answered so, and was told afterwards what would have been right."""
    log = FeedbackLog(store, share=1.0)
    for number, label in enumerate(labels):
        log.add_prediction(f"request-{number}", "films", version, ["a text"], [label], [0.8])
    for number, label in enumerate(right or []):
        log.add_feedback(f"request-{number}", 0, "films", label)
    log.close()


def test_nothing_new_is_nothing_to_do(workspace: ClusterWorkspace, champion: Champion) -> None:
    made = champion(source_version(workspace))
    judged(workspace.store, 500, 500)
    answered(workspace.store, made, ["no", "yes"] * 300, ["no", "yes"] * 100)
    told = workspace.run_json("retrain", "films.yaml")
    assert (told["run"], told["done"], told["reasons"]) == (None, "nothing to do", [])
    assert (told["champion"], told["answers"], told["feedback"]) == (made, 600, 200)
    assert told["psi"] < 0.001
    assert told["feedback_f1"]["value"] == 1.0
    assert workspace.run("retrain", "films.yaml").stdout == "nothing to do\n"
    assert workspace.server.requests == []


def test_new_data_are_trained_on_once(workspace: ClusterWorkspace, champion: Champion) -> None:
    champion(source_version(workspace))
    workspace.store.put("films.csv", b"text,label\na new film,good\n")
    dry = workspace.run_json("retrain", "films.yaml", "--dry-run")
    assert (dry["run"], dry["done"]) == (None, "a run would be submitted")
    assert workspace.server.requests == []

    told = workspace.run_json("retrain", "films.yaml")
    (reason,) = told["reasons"]
    assert reason.startswith(f"s3://{workspace.store.bucket}/films.csv has changed since the champion ")
    assert told["done"].startswith(f"submitted {told['run']}: http://127.0.0.1:")
    (run,) = workspace.server.runs.values()
    assert run["runtime_config"]["parameters"]["source_version"] == source_version(workspace)
    kept = json.loads(workspace.store.get("retrain/films.json").data)  # type: ignore[union-attr]
    assert (kept["run"], kept["source_version"]) == (told["run"], source_version(workspace))

    # A gate may reject what came of it: the same data are no reason again, newer ones are.
    assert workspace.run_json("retrain", "films.yaml")["done"] == "nothing to do"
    workspace.server.plan = Plan([], state="FAILED")  # it came to no decision
    assert workspace.run_json("retrain", "films.yaml", "--dry-run")["reasons"] == told["reasons"]
    workspace.server.plan = Plan()
    workspace.store.put("films.csv", b"text,label\nanother film,good\n")
    workspace.server.plan = Plan(["ingest"] * 9)
    busy = workspace.run("retrain", "films.yaml")
    assert busy.exit_code == 0
    assert f"nothing to do: the run {told['run']} is under way" in busy.stdout
    del workspace.server.runs[told["run"]]  # an administrator may delete runs
    assert workspace.run_json("retrain", "films.yaml")["run"] not in (None, told["run"])


def test_the_first_model_is_trained_and_not_again_while_the_data_stay(workspace: ClusterWorkspace) -> None:
    told = workspace.run_json("retrain", "films.yaml")
    assert told["reasons"] == ["films has no champion"]
    assert told["run"] in workspace.server.runs
    assert workspace.run("retrain", "films.yaml").stdout == "nothing to do\n"


def test_a_champion_of_which_nobody_knows_what_it_was_made_of_is_trained_again_once(
    workspace: ClusterWorkspace, champion: Champion
) -> None:
    champion("")
    (reason,) = workspace.run_json("retrain", "films.yaml")["reasons"]
    assert "may have changed since the champion" in reason
    assert workspace.run_json("retrain", "films.yaml")["reasons"] == []


def test_answers_that_are_spread_otherwise_are_drift(workspace: ClusterWorkspace, champion: Champion) -> None:
    made = champion(source_version(workspace))
    judged(workspace.store, 500, 500)
    answered(workspace.store, made, ["no"] * 380 + ["yes"] * 20)
    few = workspace.run_json("retrain", "films.yaml")
    assert (few["psi"], few["reasons"]) == (None, [])
    answered(workspace.store, "another", ["yes"] * 500)  # what a challenger answers is not the champion's
    answered(workspace.store, made, ["no"] * 380 + ["yes"] * 20)
    told = workspace.run_json("retrain", "films.yaml", "--dry-run")
    assert told["answers"] == 800
    assert told["psi"] == pytest.approx(1.32, abs=0.01)
    (reason,) = told["reasons"]
    assert reason == (
        "the labels of the last 800 predictions are distributed differently from those on the test split: "
        f"population stability index {told['psi']:.3f}, limit 0.25"
    )
    assert workspace.run_json("retrain", "films.yaml", "--max-psi", "2")["reasons"] == []
    assert workspace.run_json("retrain", "films.yaml")["run"] in workspace.server.runs
    # Only what was answered since counts.
    assert workspace.run_json("retrain", "films.yaml")["answers"] == 0


def test_feedback_below_the_gate_is_drift(workspace: ClusterWorkspace, champion: Champion) -> None:
    made = champion(source_version(workspace))
    rng = random.Random(13)
    right = [rng.choice(["no", "yes"]) for _ in range(200)]
    answered(workspace.store, made, ["yes"] * 200, right)
    told = workspace.run_json("retrain", "films.yaml", "--dry-run")
    (reason,) = told["reasons"]
    assert reason.startswith("F1 on the feedback of 200 texts is 0.6")
    assert reason.endswith("below the threshold 0.8")
    # Below, but not certainly so: the upper end of the interval reaches the threshold.
    assert workspace.run_json("retrain", "films.yaml", "--dry-run", "--set", "gate.min_f1=0.68")["reasons"] == []
    assert workspace.run_json("retrain", "films.yaml", "--dry-run", "--min-feedback", "201")["feedback_f1"] is None


def test_what_cannot_be_checked_is_one_sentence(workspace: ClusterWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = workspace.run("retrain", "films.yaml", "--source", f"s3://{workspace.store.bucket}/none.csv")
    workspace.store.put("retrain/films.json", b"{}")
    damaged = workspace.run("retrain", "films.yaml")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    away = workspace.run("retrain", "films.yaml")
    for result, sentence in (
        (gone, "there is nothing at s3://"),
        (damaged, "retrain/films.json is not a retraining"),
        (away, "cannot be reached"),
    ):
        assert result.exit_code == 2
        assert sentence in result.stderr
        assert len(result.stderr.splitlines()) == 1


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 1000), min_size=1),
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 1000), min_size=1),
)
@settings(deadline=None, max_examples=50)
def test_the_index_is_zero_for_equal_shares_and_grows_with_the_distance(
    first: dict[str, int], second: dict[str, int]
) -> None:
    assert population_stability_index(first, first) == pytest.approx(0)
    assert population_stability_index(first, second) >= 0
    assert population_stability_index(first, second) == pytest.approx(population_stability_index(second, first))


def test_the_index_is_what_the_formula_gives() -> None:
    # (.9 - .5) ln(.9 / .5) + (.1 - .5) ln(.1 / .5), but for the half rows.
    index = population_stability_index({"a": 50_000, "b": 50_000}, {"a": 90_000, "b": 10_000})
    assert index == pytest.approx(0.8789, abs=1e-3)
    assert population_stability_index({"a": 10}, {"b": 10}) < float("inf")
