"""``textgate retrain``: no run without a reason, and none twice for the same reason."""

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


def write_evaluation(store: Store, no: int, yes: int) -> None:
    """Write an evaluation in which the champion predicts each label this often on the test split."""
    f1 = Estimate(value=0.9, low=0.85, high=0.95)
    update = Registry(store).channel("films")
    assert update
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
    store.put(f"runs/{update.run}/evaluation.json", manifest.model_dump_json().encode())


def write_log(store: Store, version: str, labels: list[str], true_labels: list[str] | None = None) -> None:
    """Write the server's log: the predicted labels, and the labels from feedback."""
    log = FeedbackLog(store, share=1.0)
    for index, label in enumerate(labels):
        log.add_prediction(f"request-{index}", "films", version, ["a text"], [label], [0.8])
    for index, label in enumerate(true_labels or []):
        log.add_feedback(f"request-{index}", 0, "films", label)
    log.close()


def test_without_new_data_or_drift_nothing_is_submitted(workspace: ClusterWorkspace, champion: Champion) -> None:
    trained = champion(source_version(workspace))
    write_evaluation(workspace.store, 500, 500)
    write_log(workspace.store, trained, ["no", "yes"] * 300, ["no", "yes"] * 100)
    result = workspace.run_json("retrain", "films.yaml")
    assert (result["run"], result["done"], result["reasons"]) == (None, "nothing to do", [])
    assert (result["champion"], result["answers"], result["feedback"]) == (trained, 600, 200)
    assert result["psi"] < 0.001
    assert result["feedback_f1"]["value"] == 1.0
    assert workspace.run("retrain", "films.yaml").stdout == "nothing to do\n"
    assert workspace.server.requests == []


def test_new_data_are_a_reason_only_once(workspace: ClusterWorkspace, champion: Champion) -> None:
    champion(source_version(workspace))
    workspace.store.put("films.csv", b"text,label\na new film,good\n")
    dry = workspace.run_json("retrain", "films.yaml", "--dry-run")
    assert (dry["run"], dry["done"]) == (None, "a run would be submitted")
    assert workspace.server.requests == []

    result = workspace.run_json("retrain", "films.yaml")
    (reason,) = result["reasons"]
    assert reason.startswith(f"s3://{workspace.store.bucket}/films.csv has changed since the champion ")
    assert result["done"].startswith(f"submitted {result['run']}: http://127.0.0.1:")
    (run,) = workspace.server.runs.values()
    assert run["runtime_config"]["parameters"]["source_version"] == source_version(workspace)
    stored = json.loads(workspace.store.get("retrain/films.json").data)  # type: ignore[union-attr]
    assert (stored["run"], stored["source_version"]) == (result["run"], source_version(workspace))

    # A gate may reject the model: the same data are no reason again, newer data are.
    assert workspace.run_json("retrain", "films.yaml")["done"] == "nothing to do"
    workspace.server.plan = Plan([], state="FAILED")  # the run reached no decision
    assert workspace.run_json("retrain", "films.yaml", "--dry-run")["reasons"] == result["reasons"]
    workspace.server.plan = Plan()
    workspace.store.put("films.csv", b"text,label\nanother film,good\n")
    workspace.server.plan = Plan(["ingest"] * 9)
    busy = workspace.run("retrain", "films.yaml")
    assert busy.exit_code == 0
    assert f"nothing to do: the run {result['run']} is under way" in busy.stdout
    del workspace.server.runs[result["run"]]  # an administrator may delete runs
    assert workspace.run_json("retrain", "films.yaml")["run"] not in (None, result["run"])


def test_the_first_model_is_trained_once_until_the_data_change(workspace: ClusterWorkspace) -> None:
    result = workspace.run_json("retrain", "films.yaml")
    assert result["reasons"] == ["films has no champion"]
    assert result["run"] in workspace.server.runs
    assert workspace.run("retrain", "films.yaml").stdout == "nothing to do\n"


def test_a_champion_without_a_known_source_version_is_retrained_once(
    workspace: ClusterWorkspace, champion: Champion
) -> None:
    champion("")
    (reason,) = workspace.run_json("retrain", "films.yaml")["reasons"]
    assert "may have changed since the champion" in reason
    assert workspace.run_json("retrain", "films.yaml")["reasons"] == []


def test_a_shift_of_the_predicted_labels_is_a_reason(workspace: ClusterWorkspace, champion: Champion) -> None:
    trained = champion(source_version(workspace))
    write_evaluation(workspace.store, 500, 500)
    write_log(workspace.store, trained, ["no"] * 380 + ["yes"] * 20)
    few = workspace.run_json("retrain", "films.yaml")
    assert (few["psi"], few["reasons"]) == (None, [])
    write_log(workspace.store, "another", ["yes"] * 500)  # predictions of a challenger do not count
    write_log(workspace.store, trained, ["no"] * 380 + ["yes"] * 20)
    result = workspace.run_json("retrain", "films.yaml", "--dry-run")
    assert result["answers"] == 800
    assert result["psi"] == pytest.approx(1.32, abs=0.01)
    (reason,) = result["reasons"]
    assert reason == (
        "the labels of the last 800 predictions are distributed differently from those on the test split: "
        f"population stability index {result['psi']:.3f}, limit 0.25"
    )
    assert workspace.run_json("retrain", "films.yaml", "--max-psi", "2")["reasons"] == []
    assert workspace.run_json("retrain", "films.yaml")["run"] in workspace.server.runs
    # Only predictions since the last retraining count.
    assert workspace.run_json("retrain", "films.yaml")["answers"] == 0


def test_feedback_below_the_threshold_of_the_gate_is_a_reason(workspace: ClusterWorkspace, champion: Champion) -> None:
    trained = champion(source_version(workspace))
    rng = random.Random(13)
    true_labels = [rng.choice(["no", "yes"]) for _ in range(200)]
    write_log(workspace.store, trained, ["yes"] * 200, true_labels)
    result = workspace.run_json("retrain", "films.yaml", "--dry-run")
    (reason,) = result["reasons"]
    assert reason.startswith("F1 on the feedback of 200 texts is 0.6")
    assert reason.endswith("below the threshold 0.8")
    # Below, but not significantly: the upper end of the interval reaches the threshold.
    assert workspace.run_json("retrain", "films.yaml", "--dry-run", "--set", "gate.min_f1=0.68")["reasons"] == []
    assert workspace.run_json("retrain", "films.yaml", "--dry-run", "--min-feedback", "201")["feedback_f1"] is None


def test_a_failed_check_is_reported_in_one_sentence(
    workspace: ClusterWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_the_index_matches_the_formula() -> None:
    # (.9 - .5) ln(.9 / .5) + (.1 - .5) ln(.1 / .5), except for the half rows.
    index = population_stability_index({"a": 50_000, "b": 50_000}, {"a": 90_000, "b": 10_000})
    assert index == pytest.approx(0.8789, abs=1e-3)
    assert population_stability_index({"a": 10}, {"b": 10}) < float("inf")
