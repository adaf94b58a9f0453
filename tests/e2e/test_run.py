"""The command `textgate run` on a real store, from the source to the champion."""

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TEXTGATE = str(Path(sysconfig.get_path("scripts")) / "textgate")
ALL_STEPS = [
    *("ingest", "preprocess", "check-labels", "train", "evaluate", "gate-trained"),
    *("merge-quantize", "export-onnx", "evaluate-2", "gate-served", "promote", "record"),
]
UNCACHED = {"gate-trained", "gate-served", "promote", "record"}


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["outcome"] for step in result["steps"]}


def copy_package(folder: Path) -> Path:
    """Copy the package to ``folder / "textgate"``, which is imported instead if ``folder`` is on the path."""
    package = folder / "textgate"
    for name in ("components", "pipelines", "serving"):
        shutil.copytree(ROOT / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "__init__.py", package)
    return package


def test_a_first_run_promotes_a_second_is_cached_and_a_rejected_one_does_not_change_the_registry(
    workspace: Any,
) -> None:
    first = workspace.run_json("run", "films.yaml")
    assert first["verdict"] == "promote"
    assert outcomes(first) == dict.fromkeys(ALL_STEPS, "done")
    version = first["version"]
    listed = workspace.run_json("models", "list")
    assert listed == {"models": [{"model": "films", "channels": {"champion": version, "reference": version}}]}

    # Every artifact is in the store, and so is the run's record.
    run = Path(first["folder"])
    assert (workspace.folder / ".textgate").stat().st_mode & 0o777 == 0o700, "texts are not for other users"
    for path in run.rglob("*"):
        if path.is_file():
            stored = workspace.store.get(f"runs/{first['run']}/{path.relative_to(run).as_posix()}")
            assert stored is not None, path
            assert stored.data == path.read_bytes(), path
    record = json.loads(workspace.store.get(f"runs/{first['run']}/record.json").data)
    assert record["state"] == "SUCCEEDED"
    assert record["promotion"] == {"model": "films", "version": version, "previous": None}
    assert "Promote" in Path(first["report"]).read_text("utf-8")

    # The champion predicts, and the history names its run.
    answers = workspace.run_json("predict", "films", "word1 word2 good", "word3 bad")["predictions"]
    assert [answer["label"] for answer in answers] == ["good", "bad"]
    reference, move = workspace.run_json("models", "history", "films")["moves"]
    assert (reference["channel"], reference["reason"]) == ("reference", "it is the first champion of the model")
    assert (move["version"], move["run"], move["decision"]["gate"]) == (version, first["run"], "served")

    # Unchanged steps come from the cache, and the champion is not promoted again.
    before = workspace.registry()
    second = workspace.run_json("run", "films.yaml")
    assert outcomes(second) == {
        step: "done" if step in UNCACHED else "cached" for step in ALL_STEPS if step != "promote"
    }
    assert second["version"] is None
    assert second["decision"].startswith(f"unchanged: it is the champion already (version {version})")
    unchanged = workspace.run("run", "films.yaml", "--fail-on-reject")
    assert unchanged.returncode == 0
    # The rows are accounted for as in the first run.
    account = [line for line in unchanged.stderr.splitlines() if line.startswith(("ingest: ", "preprocess: "))]
    assert account[:2] == ["ingest: 300 rows in, 300 kept", "ingest: cached"]
    assert account[2].startswith("preprocess: 300 rows in, ")
    assert f"\ndata      {account[2].removeprefix('preprocess: ')}\n" in unchanged.stdout
    assert second["data"] == first["data"]
    assert (first["data"]["rows_in"], first["data"]["warnings"]) == (300, [])
    assert workspace.registry() == before

    # What is damaged in the cache is named and made again: a better score than the model's own, and an entry.
    scores = run / "evaluate-2" / "evaluation" / "evaluation.json"
    measured = str(first["metrics"]["min_f1"]["value"])
    scores.write_text(scores.read_text().replace(measured, "0.999"))
    (entry,) = [path for path in run.parents[1].glob("cache/*/*.json") if b"/check-labels/" in path.read_bytes()]
    entry.write_bytes(entry.read_bytes().replace(b'"label_issues"', b'"label_issuer"'))

    # Limits are judged by the second gate on what the cached steps measured.
    reachable = {"max_robustness_loss": 1, "max_rejected": 1, "max_near_duplicates": 1, "min_label_rows": 1}
    limits = {"max_latency_ms": 1e-6, "max_size_mb": 1e-6, **reachable}
    changes = [argument for key, limit in limits.items() for argument in ("--set", f"gate.{key}={limit}")]
    done = workspace.run("run", "films.yaml", *changes, "--json")
    assert done.returncode == 0, done.stderr
    limited = json.loads(done.stdout)
    assert outcomes(limited) == {**outcomes(second), "evaluate-2": "done", "check-labels": "done"}
    assert [line for line in done.stderr.splitlines() if "runs again" in line] == [
        f"check-labels: warning: it runs again, because its cache entry {entry} was changed",
        f"evaluate-2: warning: it runs again, because the cached {scores} was changed",
    ]
    assert limited["metrics"]["min_f1"] == first["metrics"]["min_f1"]
    passed = {rule["name"]: rule["passed"] for rule in limited["decisions"][-1]["rules"]}
    assert {key: passed[key] for key in limits} == {key: limit != 1e-6 for key, limit in limits.items()}
    assert "the served model (linear) answers one text of 64 tokens in" in limited["decision"]
    assert "ms (median, on " in limited["decision"]

    # The first gate rejects a model below its threshold; with --fail-on-reject the exit code is 3.
    rejected = workspace.run(
        "run", "films.yaml", "--set", "gate.min_f1=1", "--set", "train.C=0.001", "--fail-on-reject", "--json"
    )
    assert rejected.returncode == 3, rejected.stderr
    result = json.loads(rejected.stdout)
    assert "does not reach the threshold 1" in result["decision"]
    assert "train" in {name for name, outcome in outcomes(result).items() if outcome == "done"}
    assert not {"merge-quantize", "export-onnx", "evaluate-2", "gate-served", "promote"} & outcomes(result).keys()
    assert workspace.registry() == before

    # New content behind the same path is read again.
    films = workspace.folder / "films.csv"
    films.write_text(films.read_text() + "a word of new content that is good,1\n")
    again = workspace.run_json("run", "films.yaml")
    assert outcomes(again)["ingest"] == "done"


@pytest.mark.slow
def test_changing_the_code_of_a_step_invalidates_its_cache(workspace: Any) -> None:
    package = copy_package(workspace.folder / "code")
    command = [sys.executable, "-c", "from textgate.pipelines.cli import main; main()", "run", "films.yaml", "--json"]

    def run() -> dict[str, str]:
        environment = {**workspace.environment, "PYTHONPATH": str(package.parent)}
        done = subprocess.run(command, cwd=workspace.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return outcomes(json.loads(done.stdout))

    run()
    assert run()["preprocess"] == "cached"
    source = package / "components" / "preprocess" / "outcomes.py"
    source.write_text(
        source.read_text("utf-8").replace('DUPLICATE = "duplicate"', 'DUPLICATE = "seen before"'), "utf-8"
    )
    after = run()
    assert (after["ingest"], after["preprocess"]) == ("cached", "done")


def test_a_tiny_encoder_is_promoted_and_predicts_through_onnx(workspace: Any, tiny_encoder: Path) -> None:
    recipe = (workspace.folder / "films.yaml").read_text()
    settings = "max_tokens: 16, epochs: 6, batch_size: 8, learning_rate: 3e-3"
    training = f"{{family: transformer, base_model: {tiny_encoder}, {settings}}}"
    (workspace.folder / "encoder.yaml").write_text(recipe.replace("{family: linear, min_df: 1}", training))
    done = workspace.run("run", "encoder.yaml")
    assert done.returncode == 0, done.stderr
    # Without a terminal the output has plain lines and no control characters.
    assert "\x1b" not in done.stdout + done.stderr
    assert "train: started\n" in done.stderr
    assert "train: done in " in done.stderr
    for word in (
        "step",
        "test      F1 of 'good' ",
        "baselines 0.",
        "by always answering 'good'",
        "by TF-IDF + logistic regression",
        "decision  promote: the served model has F1 of 'good'",
        "promoted  films",
        "report",
        "next      textgate predict films",
    ):
        assert word in done.stdout
    shown = workspace.run_json("models", "show", "films")
    assert shown["bundle"]["runtime"]["name"] == "onnx"
    answers = workspace.run_json(
        "predict",
        "films",
        "word9 word22 word33 word44 word55 word66 good",
        "word9 word22 word33 word44 word55 word66 bad",
    )["predictions"]
    assert [answer["label"] for answer in answers] == ["good", "bad"]


def test_a_bug_in_a_step_fails_the_run_and_is_recorded(workspace: Any) -> None:
    """A bug is not an input error: exit code 1, with the step and the log."""
    broken = copy_package(workspace.folder / "code")
    source = broken / "components" / "train" / "train.py"
    source.write_text(
        source.read_text("utf-8").replace(
            "dataset = Dataset.open", "raise ZeroDivisionError('broken'); dataset = Dataset.open"
        )
    )
    done = workspace.run("run", "films.yaml", PYTHONPATH=str(broken.parent))
    # PYTHONPATH comes first in the console script, so the broken copy ran.
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert line.startswith("Error: step train failed: ZeroDivisionError: broken; the log is in ")
    log = Path(line.rsplit(" in ", 1)[1])
    assert "Traceback" in log.read_text("utf-8")
    (record,) = [item.key for item in workspace.store.objects("runs/") if item.key.endswith("record.json")]
    written = json.loads(workspace.store.get(record).data)
    assert (written["state"], written["promotion"], written["decisions"]) == ("FAILED", None, [])
    assert workspace.registry() == {}


def test_on_a_terminal_a_live_line_shows_the_steps_but_not_their_logs(workspace: Any) -> None:
    ours, theirs = pty.openpty()
    command = [TEXTGATE, "run", "films.yaml", "--set", "source.text=body"]
    terminal = {**workspace.environment, "TERM": "xterm-256color", "COLUMNS": "200"}
    run = subprocess.Popen(command, cwd=workspace.folder, env=terminal, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # a pseudo-terminal raises this when its other side is closed
        while piece := os.read(ours, 65_536):
            shown += piece
    os.close(ours)
    text = shown.decode("utf-8")
    assert run.wait() == 2
    assert "\x1b[" in text
    assert "ingest" in text
    assert "Error: no column 'body' in" in text
    assert "KFP Executor" not in text
    (log,) = (workspace.folder / ".textgate" / "runs").glob("films-*/log.txt")
    assert "KFP Executor" in log.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "quickstrat"], "no recipe 'quickstrat'; did you mean quickstart?"),
        (["run", "films.yaml", "--set", "train.min_dff=1"], "unknown key train.min_dff; did you mean train.min_df?"),
        (["run", "films.yaml", "--source", "absent.csv"], "there is no file or folder"),
        (["run", "films.yaml", "--set", "source.text=body"], "no column 'body' in"),
        (
            ["run", "films.yaml", "--set", "source.labels=null", "--where", "label == 1"],
            "a classifier needs at least two classes",
        ),
        (["run", "films.yaml", "--runner", "podman"], "'podman' is not one of"),
        (["compile", "quickstart", "-o", "pipeline.txt"], "must end in .yaml or .yml"),
        (["predict", "films", "a text"], "no model 'films'"),
        (["models", "history", "films"], "no model 'films'"),
        (["models", "rollback", "films", "--reason", "slow"], "no model 'films'"),
        (["models", "rollback", "films"], "say why with --reason TEXT"),
        (["predict", "films"], "it was empty"),
        (["modles"], "No such command 'modles'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_user_error_is_one_sentence_and_exit_code_2(workspace: Any, arguments: list[str], sentence: str) -> None:
    done = workspace.run(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert sentence in error
    assert "Traceback" not in done.stderr + done.stdout
    assert workspace.registry() == {}


def test_the_other_commands_print_their_results(workspace: Any, tmp_path: Path) -> None:
    names = [recipe["name"] for recipe in workspace.run_json("recipes")["recipes"]]
    assert "quickstart" in names
    assert "quickstart" in workspace.run("recipes").stdout
    assert workspace.run_json("models", "list") == {"models": []}
    assert workspace.run("compile", "quickstart", "-o", "out.yaml").returncode == 0
    assert (tmp_path / "out.yaml").exists()
    checks = {check["name"]: check for check in workspace.run_json("doctor")["checks"]}
    assert all(check["ok"] for check in checks.values())
    assert {"store", "writable", "conditional writes", "checksums", "gpu", "torch", "python"} <= checks.keys()

    wrong = workspace.run("doctor", AWS_SECRET_ACCESS_KEY="wrong-secret")
    assert wrong.returncode == 1
    assert "fix  store: " in wrong.stdout
    assert "refuses these credentials" in wrong.stdout
    assert "wrong-secret" not in wrong.stdout + wrong.stderr


def test_help_has_an_example_for_every_command(workspace: Any) -> None:
    for command in ([], ["run"], ["compile"], ["predict"], ["models"], ["store"]):
        shown = workspace.run(*command, "--help")
        assert shown.returncode == 0
        assert "Example:" in shown.stdout, command
