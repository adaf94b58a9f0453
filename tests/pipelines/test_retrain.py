"""``textgate retrain``: no run without a reason, and none twice for the same reason."""

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipelines.cluster_workspace import ClusterWorkspace
from pipelines.kfp_server import Plan

from textgate.components.contracts import Estimate, EvaluationManifest, Rejected, Row, dataset_writer
from textgate.components.contracts.dataset import LEFT_OUT
from textgate.components.record.record import record_run
from textgate.components.sources import content_version
from textgate.components.storage import Registry, Store
from textgate.components.storage.runs import save_test_sample
from textgate.serving.feedback import FeedbackLog

Champion = Callable[[str], str]


def source_version(workspace: ClusterWorkspace) -> str:
    return content_version(f"s3://{workspace.store.bucket}/films.csv")


def champion_run(store: Store) -> str:
    update = Registry(store).channel("films")
    assert update
    return update.run


def write_evaluation(store: Store, no: int, yes: int) -> None:
    """Write an evaluation in which the champion predicts each label this often on the test split."""
    f1 = Estimate(value=0.9, low=0.85, high=0.95)
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
    store.put(f"runs/{champion_run(store)}/evaluation.json", manifest.model_dump_json().encode())


def write_test_sample(store: Store, tmp_path: Path, texts: list[str]) -> None:
    """Write texts of the test split, as gate 2 does."""
    columns = {"text": texts, "predicted": ["no"] * len(texts)}
    pq.write_table(pa.table(columns), tmp_path / "predictions.parquet")
    save_test_sample(store, champion_run(store), tmp_path)


COUNTER = itertools.count()


def new_texts(count: int, words: str = "abcdefghij") -> list[str]:
    """Return different texts of 20 of the words."""
    rng = random.Random(next(COUNTER))
    return [" ".join(rng.choices(words, k=20)) for _ in range(count)]


def write_log(
    store: Store,
    version: str,
    labels: list[str],
    true_labels: list[str] | None = None,
    texts: list[str] | None = None,
) -> None:
    """Write the server's log: different texts with the predicted labels, and the labels from feedback."""
    batch = next(COUNTER)
    with TemporaryDirectory() as spool:
        log = FeedbackLog(store, Path(spool), share=1.0)
        for index, (text, label) in enumerate(zip(texts or new_texts(len(labels)), labels, strict=True)):
            log.add_prediction(f"request-{batch}-{index}", "films", version, [text], [label], [0.8])
        for index, label in enumerate(true_labels or []):
            log.add_feedback(f"request-{batch}-{index}", 0, "films", label)
        log.close()


def test_without_new_data_or_drift_nothing_is_submitted(
    workspace: ClusterWorkspace, champion: Champion, tmp_path: Path
) -> None:
    trained = champion(source_version(workspace))
    write_evaluation(workspace.store, 500, 500)
    write_test_sample(workspace.store, tmp_path, new_texts(1_000))
    write_log(workspace.store, trained, ["no", "yes"] * 300, ["no", "yes"] * 100)
    result = workspace.run_json("retrain", "films.yaml")
    assert (result["run"], result["done"], result["reasons"]) == (None, "nothing to do", [])
    assert (result["champion"], result["answers"], result["texts"], result["feedback"]) == (trained, 600, 600, 200)
    assert list(result["drift"]) == ["labels", "length", "inputs"]
    assert not any(test["found"] for test in result["drift"].values())
    assert result["psi"] < 0.001
    assert result["feedback_f1"]["value"] == 1.0
    lines = workspace.run("retrain", "films.yaml").stdout.splitlines()
    assert [line[:40] for line in lines] == [
        "checked: the labels predicted for the la",
        "checked: the lengths of the texts show n",
        "checked: a classifier does not tell the ",
        "checked: F1 of 'yes' on the feedback on ",
        "nothing to do",
    ]
    assert "would have been found with a probability of 80%" in lines[0]
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
        "the labels predicted for the last 800 texts are distributed differently from those on the test split: "
        f"'no' 50.0% -> 95.0%; population stability index without bias {result['psi']:.3f}, limit 0.05, p = 0.0002"
    )
    assert workspace.run_json("retrain", "films.yaml", "--max-psi", "2")["reasons"] == []
    assert workspace.run_json("retrain", "films.yaml")["run"] in workspace.server.runs
    # Only predictions since the last retraining count.
    assert workspace.run_json("retrain", "films.yaml")["answers"] == 0


def test_drift_is_a_reason_once_until_the_distribution_the_source_or_the_champion_changes(
    workspace: ClusterWorkspace, champion: Champion, tmp_path: Path, write_bundle: Callable[[Path, bytes], Path]
) -> None:
    trained = champion(source_version(workspace))
    write_evaluation(workspace.store, 950, 50)
    workspace.server.plan = Plan([])  # every run ends at once

    def retrain_on(yes: int, version: str = trained) -> list[str]:
        """Log 600 predictions, ``yes`` of them positive; return the reasons of a retraining."""
        write_log(workspace.store, version, ["yes"] * yes + ["no"] * (600 - yes))
        result = workspace.run_json("retrain", "films.yaml")
        assert (result["run"] is not None) == bool(result["reasons"])
        return list(result["reasons"])

    assert retrain_on(30) == []
    (first,) = retrain_on(210)
    assert "'yes' 5.0% -> 20.0%" in first  # with the 600 before, which started no run
    for _ in range(3):
        assert retrain_on(120) == []
    assert "an earlier retraining was for this cause" in workspace.run("retrain", "films.yaml").stdout
    (second,) = retrain_on(600)
    assert "'yes' 5.0% -> 40.0%" in second  # with the three times 600 before
    assert retrain_on(30) == []  # the labels are as on the test split again
    assert retrain_on(450) == []  # as in the last alarm: 480 of 1,200

    workspace.store.put("films.csv", b"text,label\na new film,good\n")
    changed, same = retrain_on(600)
    assert "has changed since the champion" in changed
    assert "are distributed differently" in same
    assert retrain_on(400) == []

    registry = Registry(workspace.store)
    version = registry.publish("films", write_bundle(tmp_path / "next", b"next"))
    registry.update_channel("films", version, run="run-next", reason="it passed", expected=trained)
    record_run(workspace.store, "run-next", {"model": "films"}, source_version(workspace), "SUCCEEDED", None)
    write_evaluation(workspace.store, 950, 50)
    assert len(retrain_on(400, version)) == 1
    assert retrain_on(400, version) == []


def test_other_texts_are_a_reason_once(workspace: ClusterWorkspace, champion: Champion, tmp_path: Path) -> None:
    trained = champion(source_version(workspace))
    write_evaluation(workspace.store, 500, 500)
    write_test_sample(workspace.store, tmp_path, new_texts(600))
    labels = ["no", "yes"] * 300
    write_log(workspace.store, trained, labels, texts=new_texts(600, "abcdefghijuvwxyz"))
    result = workspace.run_json("retrain", "films.yaml")
    (reason,) = result["reasons"]
    assert reason.startswith("a classifier tells the texts from those of the test split: ROC-AUC ")
    write_log(workspace.store, trained, labels, texts=new_texts(600, "abcdefghijuvwxyz"))
    same = workspace.run_json("retrain", "films.yaml")
    assert same["reasons"] == []
    assert same["drift"]["inputs"]["found"]
    write_log(workspace.store, trained, labels, texts=new_texts(600, "klmnopqrstuvwxyz"))
    assert len(workspace.run_json("retrain", "films.yaml")["reasons"]) == 1


def test_copies_of_a_text_and_its_markup_are_not_counted(
    workspace: ClusterWorkspace, champion: Champion, tmp_path: Path
) -> None:
    trained = champion(source_version(workspace))
    write_evaluation(workspace.store, 500, 500)
    texts = new_texts(600)
    write_log(workspace.store, trained, ["no", "yes"] * 300, texts=texts)
    write_log(workspace.store, trained, ["no"] * 900, texts=[f"the  same\n text{' ' * n}" for n in range(900)])
    result = workspace.run_json("retrain", "films.yaml")
    assert (result["answers"], result["texts"], result["reasons"]) == (1_500, 601, [])


def write_dataset(store: Store, tmp_path: Path, no: int, yes: int, left_out: int) -> None:
    """Write the dataset of a run before 0.2, from which rows of ``no`` were left out, and its evaluation."""
    with dataset_writer(tmp_path / "dataset", ["test"]) as writer:
        for index in range(no + yes):
            writer.add("test", Row(str(index), f"text {index}", "yes" if index < yes else "no"))
        for index in range(left_out):
            writer.reject(Rejected(f"r{index}", LEFT_OUT, "no", "text"))
        writer.reject(Rejected("empty", "empty text", "no", ""))
        manifest = writer.finish("films.csv", ["no", "yes"])
    for name in ("dataset.json", "rejected.parquet"):
        key = f"runs/{champion_run(store)}/preprocess/dataset/{name}"
        store.put(key, (tmp_path / "dataset" / name).read_bytes())
    key = f"runs/{champion_run(store)}/evaluation.json"
    evaluation = EvaluationManifest.model_validate_json(store.get(key).data)  # type: ignore[union-attr]
    store.put(key, evaluation.model_copy(update={"dataset": manifest.fingerprint}).model_dump_json().encode())


def test_a_balanced_test_split_of_an_earlier_version_is_compared_at_the_natural_shares_of_the_labels_if_known(
    workspace: ClusterWorkspace, champion: Champion, tmp_path: Path
) -> None:
    trained = champion(source_version(workspace))
    write_evaluation(workspace.store, 500, 500)
    recipe = {"model": "films", "preprocess": {"balance": True}}
    run = champion_run(workspace.store)
    record_run(workspace.store, run, recipe, source_version(workspace), "SUCCEEDED", None)
    write_log(workspace.store, trained, ["no"] * 560 + ["yes"] * 40)
    result = workspace.run_json("retrain", "films.yaml", "--dry-run")
    assert (result["reasons"], result["psi"], result["drift"]) == ([], None, {})
    (finding,) = result["findings"]
    assert finding.startswith("drift of the labels was not checked: how often each occurs before balancing is unknown")
    # 5 % were positive before; 2 % of both labels are predicted as the other one: 6.8 % of "yes".
    write_dataset(workspace.store, tmp_path, 500, 500, 9_000)
    known = workspace.run_json("retrain", "films.yaml", "--dry-run")
    assert known["reasons"] == []
    assert "show no drift" in known["findings"][0]
    assert known["psi"] < 0.01
    # The source gave the test split, which is taken as it is.
    given = recipe | {"source": {"test": "split == test"}}
    record_run(workspace.store, run, given, source_version(workspace), "SUCCEEDED", None)
    assert len(workspace.run_json("retrain", "films.yaml", "--dry-run")["reasons"]) == 1
    record_run(workspace.store, run, recipe, source_version(workspace), "SUCCEEDED", None)
    # Without a record it is unknown whether the test split was balanced, and that of another dataset says nothing.
    write_evaluation(workspace.store, 500, 500)
    workspace.store.delete(f"runs/{run}/record.json")
    lost = workspace.run_json("retrain", "films.yaml", "--dry-run")
    assert [lost["drift"], lost["findings"]] == [{}, [finding]]
    record_run(workspace.store, run, recipe, source_version(workspace), "SUCCEEDED", None)
    # Runs of this version, which save texts of the test split, balance the training split only.
    write_test_sample(workspace.store, tmp_path, new_texts(10))
    assert len(workspace.run_json("retrain", "films.yaml")["reasons"]) == 1


def test_feedback_below_the_threshold_of_the_gate_is_a_reason_once(
    workspace: ClusterWorkspace, champion: Champion
) -> None:
    trained = champion(source_version(workspace))

    def give_feedback(share: float) -> None:
        rng = random.Random(13)
        true_labels = ["yes" if rng.random() < share else "no" for _ in range(200)]
        write_log(workspace.store, trained, ["yes"] * 400, true_labels)

    give_feedback(0.5)
    result = workspace.run_json("retrain", "films.yaml", "--dry-run")
    (reason,) = result["reasons"]
    assert reason.startswith("F1 of 'yes' on the feedback on 200 texts is 0.7")
    assert reason.endswith(
        "below the threshold 0.8; feedback is no random sample: 200 of the 400 logged answers have it"
    )
    # Below, but not significantly: the upper end of the interval reaches the threshold.
    assert workspace.run_json("retrain", "films.yaml", "--dry-run", "--set", "gate.min_f1=0.75")["reasons"] == []
    assert workspace.run_json("retrain", "films.yaml", "--dry-run", "--min-feedback", "201")["feedback_f1"] is None

    assert workspace.run_json("retrain", "films.yaml")["run"] is not None
    give_feedback(0.5)
    again = workspace.run_json("retrain", "films.yaml")
    assert again["reasons"] == []
    assert again["findings"][-1].endswith("an earlier retraining was for this cause")
    give_feedback(0.0)
    assert len(workspace.run_json("retrain", "films.yaml")["reasons"]) == 1


def test_feedback_is_judged_in_the_metric_of_the_gate(workspace: ClusterWorkspace, champion: Champion) -> None:
    trained = champion(source_version(workspace))
    write_log(workspace.store, trained, ["yes"] * 200, ["yes"] * 140 + ["no"] * 60)

    def check(*settings: str) -> dict[str, Any]:
        overrides = [word for setting in settings for word in ("--set", setting)]
        return dict(workspace.run_json("retrain", "films.yaml", "--dry-run", *overrides))

    # F1 of the positive class reaches its threshold, accuracy does not.
    assert check()["reasons"] == []
    accuracy = check("gate.metric=accuracy", "gate.min.accuracy=0.8")
    (reason,) = accuracy["reasons"]
    assert reason.startswith("accuracy on the feedback on 200 texts is 0.7000 [0.6")
    assert (accuracy["feedback_metric"], accuracy["feedback_score"]["value"]) == ("accuracy", 0.7)
    assert accuracy["feedback_f1"] is None
    without = check("gate.metric=mcc")
    assert (without["reasons"], without["feedback_score"]) == ([], None)
    assert without["findings"][-1] == (
        "feedback was not checked: gate.min has no threshold for gate.metric (Matthews correlation)"
    )
    area = check("gate.metric=pr_auc", "gate.min.pr_auc=0.9")
    assert area["findings"][-1] == "feedback was not checked: PR-AUC of 'yes' needs the probabilities of all labels"


def test_an_alarm_about_another_metric_does_not_silence_this_one(
    workspace: ClusterWorkspace, champion: Champion
) -> None:
    trained = champion(source_version(workspace))
    write_log(workspace.store, trained, ["yes"] * 200, ["yes"] * 100 + ["no"] * 100)
    assert len(workspace.run_json("retrain", "films.yaml")["reasons"]) == 1
    write_log(workspace.store, trained, ["yes"] * 200, ["yes"] * 100 + ["no"] * 100)
    assert workspace.run_json("retrain", "films.yaml", "--dry-run")["reasons"] == []
    other = ("--set", "gate.metric=accuracy", "--set", "gate.min.accuracy=0.9")
    assert len(workspace.run_json("retrain", "films.yaml", "--dry-run", *other)["reasons"]) == 1


def test_feedback_without_logged_predictions_does_not_say_how_many_answers_it_is_of(
    workspace: ClusterWorkspace, champion: Champion, tmp_path: Path
) -> None:
    trained = champion(source_version(workspace))
    log = FeedbackLog(workspace.store, tmp_path / "spool")
    for index in range(150):
        log.add_prediction(f"request-{index}", "films", trained, ["a text"], ["yes"], [0.8])
        log.add_feedback(f"request-{index}", 0, "films", "no" if index % 2 else "yes")
    log.close()
    (reason,) = workspace.run_json("retrain", "films.yaml")["reasons"]
    assert reason.endswith("how many answers were given is not known, because predictions are not logged")


def test_the_record_of_an_earlier_version_is_read(workspace: ClusterWorkspace, champion: Champion) -> None:
    champion("")
    old = {
        "format_version": 1,
        "run": "run-1",
        "source_version": source_version(workspace),
        "reasons": ["the labels have changed"],
        "time": "2026-01-05T03:00:00+00:00",
    }
    workspace.store.put("retrain/films.json", json.dumps(old).encode())
    assert workspace.run("retrain", "films.yaml").stdout == "nothing to do\n"


def test_a_failed_check_is_reported_in_one_sentence(
    workspace: ClusterWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = workspace.run("retrain", "films.yaml", "--source", f"s3://{workspace.store.bucket}/none.csv")
    workspace.store.put("retrain/films.json", b"{}")
    damaged = workspace.run("retrain", "films.yaml")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    away = workspace.run("retrain", "films.yaml")
    for result, code, sentence in (
        (gone, 2, "there is nothing at s3://"),
        (damaged, 2, "retrain/films.json is not a retraining"),
        (away, 4, "cannot be reached"),
    ):
        assert result.exit_code == code
        assert sentence in result.stderr
        assert len(result.stderr.splitlines()) == 1
