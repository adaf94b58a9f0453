"""`textgate predict` and `textgate explain` on models with known weights."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from words import WEIGHT, write_words

from textgate.components.inference import load_bundle
from textgate.components.inference.explain import METHOD, explain
from textgate.components.storage import Registry, Store
from textgate.pipelines.cli import main


@pytest.fixture
def version(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Version of the champion of the model ``words``; commands run in ``tmp_path``."""
    monkeypatch.setenv("TEXTGATE_BUCKET", store.bucket)
    monkeypatch.chdir(tmp_path)
    version = Registry(store).publish("words", write_words(tmp_path / "bundle"))
    Registry(store).update_channel("words", version, run="run", reason="it passed", expected=None)
    return version


def run(*arguments: str, lines: bytes = b"") -> Result:
    return CliRunner().invoke(main, arguments, input=lines)


def run_json(*arguments: str, lines: bytes = b"") -> Any:
    result = run(*arguments, "--json", lines=lines)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_contributions_equal_the_weights(version: str) -> None:
    output = run_json("explain", "words", "a good film")
    assert (output["model"], output["version"], output["method"]) == ("words", version, METHOD)
    (explanation,) = output["explanations"]
    assert (explanation["text"], explanation["label"]) == ("a good film", "good")
    assert explanation["score"] == pytest.approx(1 / (1 + math.exp(-WEIGHT)))
    # The log-odds are the weight with the word, and 0 without it; no other word is in the vocabulary.
    words = {word["text"]: word["contribution"] for word in explanation["words"]}
    assert words == pytest.approx({"a": 0, "good": WEIGHT, "film": 0})
    assert [(word["start"], word["end"]) for word in explanation["words"]] == [(0, 1), (2, 6), (7, 11)]


def test_label_and_budget_are_passed_to_the_servers_method(version: str, tmp_path: Path) -> None:
    text = "good or bad or neither of both"
    (explanation,) = run_json("explain", "words", text, "--label", "bad", "--budget", "4")["explanations"]
    expected = explain(load_bundle(tmp_path / "bundle").predict_proba, text, 0, 4)
    assert [word["contribution"] for word in explanation["words"]] == [word.contribution for word in expected]
    assert len(explanation["words"]) == 3
    assert explanation["label"] == "bad"


def test_words_are_sorted_by_strength_and_shown_with_a_sign(version: str) -> None:
    shown = run("explain", "words", "bad \x1b[2J good\nwords", "--label", "good").stdout
    first, *figures = shown.splitlines()
    # Control characters of a text do not reach the terminal.
    assert first == "good  0.5000  bad  [2J good words"
    assert [line.split() for line in figures[:2]] == [[f"{-WEIGHT / 1:+.3f}", "bad"], [f"{WEIGHT:+.3f}", "good"]]
    assert {line.split()[1] for line in figures[2:]} == {"[2J", "words"}


def test_words_are_shaded_on_a_terminal(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    shown = run("explain", "words", "a good bad film").stdout
    assert re.findall(r"\x1b\[30;4(\d)m(\w+)\x1b\[0m", shown.splitlines()[0]) == [("1", "good"), ("2", "bad")]


def test_each_line_of_standard_input_is_a_text(version: str) -> None:
    explanations = run_json("explain", "words", lines=b"a good film\n\nbad \xff\n")["explanations"]
    assert [item["text"] for item in explanations] == ["a good film", "", "bad \ufffd"]
    assert [len(item["words"]) for item in explanations] == [3, 0, 2]
    assert run("explain", "words").exit_code == 2


def test_predict_and_explain_resolve_a_model_reference_alike(version: str, store: Store, tmp_path: Path) -> None:
    other = Registry(store).publish("words", write_words(tmp_path / "other", "more.json"))
    Registry(store).update_channel("words", other, run="move", reason="to try", expected=None, channel="challenger")
    for command in ("predict", "explain"):
        assert run_json(command, "words@challenger", "good")["version"] == other
    assert run_json("predict", f"words@{other}", "good")["version"] == other
    assert run_json("predict", "words", "good", "--version", other)["version"] == other
    answered, explained = (run_json(command, "words", "good") for command in ("predict", "explain"))
    assert answered["version"] == explained["version"] == version
    assert answered["predictions"][0]["probabilities"]["good"] == explained["explanations"][0]["score"]


def test_a_wrong_argument_is_reported_in_one_sentence(version: str) -> None:
    wrong = {
        ("wrds", "good"): "no model 'wrds' in ",
        ("words@shadow", "good"): "the model words has no shadow",
        ("words", "good", "--label", "goood"): "words has no label 'goood'; it has bad, good: did you mean good?",
        ("words", "good", "--budget", "1"): "1 is not in the range x>=2",
    }
    for arguments, message in wrong.items():
        result = run("explain", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in result.stderr.splitlines()[-1]
