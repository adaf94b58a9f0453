"""`textgate explain` and what it shares with `textgate predict`, by the command, on models whose weights are known."""

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
    """The champion of ``words``, by the commands of somebody who sits in ``tmp_path``."""
    monkeypatch.setenv("TEXTGATE_BUCKET", store.bucket)
    monkeypatch.chdir(tmp_path)
    version = Registry(store).publish("words", write_words(tmp_path / "bundle"))
    Registry(store).update_channel("words", version, run="run", reason="it passed", expected=None)
    return version


def give(*arguments: str, lines: bytes = b"") -> Result:
    return CliRunner().invoke(main, arguments, input=lines)


def give_json(*arguments: str, lines: bytes = b"") -> Any:
    result = give(*arguments, "--json", lines=lines)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_words_contribute_what_the_weights_say(version: str) -> None:
    said = give_json("explain", "words", "a good film")
    assert (said["model"], said["version"], said["method"]) == ("words", version, METHOD)
    (found,) = said["explanations"]
    assert (found["text"], found["label"]) == ("a good film", "good")
    assert found["score"] == pytest.approx(1 / (1 + math.exp(-WEIGHT)))
    # The log-odds are the weight with the word, and 0 without it; no other word is in the vocabulary.
    words = {word["text"]: word["contribution"] for word in found["words"]}
    assert words == pytest.approx({"a": 0, "good": WEIGHT, "film": 0})
    assert [(word["start"], word["end"]) for word in found["words"]] == [(0, 1), (2, 6), (7, 11)]


def test_it_is_the_endpoints_method_for_another_label_and_budget_too(version: str, tmp_path: Path) -> None:
    text = "good or bad or neither of both"
    (found,) = give_json("explain", "words", text, "--label", "bad", "--budget", "4")["explanations"]
    expected = explain(load_bundle(tmp_path / "bundle").predict_proba, text, 0, 4)
    assert [word["contribution"] for word in found["words"]] == [word.contribution for word in expected]
    assert len(found["words"]) == 3
    assert found["label"] == "bad"


def test_the_strongest_words_come_first_and_every_figure_has_its_sign(version: str) -> None:
    shown = give("explain", "words", "bad \x1b[2J good\nwords", "--label", "good").stdout
    first, *figures = shown.splitlines()
    # Nothing of a text reaches the terminal as a command.
    assert first == "good  0.5000  bad  [2J good words"
    assert [line.split() for line in figures[:2]] == [[f"{-WEIGHT / 1:+.3f}", "bad"], [f"{WEIGHT:+.3f}", "good"]]
    assert {line.split()[1] for line in figures[2:]} == {"[2J", "words"}


def test_words_are_shaded_on_a_terminal(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    shown = give("explain", "words", "a good bad film").stdout
    assert re.findall(r"\x1b\[30;4(\d)m(\w+)\x1b\[0m", shown.splitlines()[0]) == [("1", "good"), ("2", "bad")]


def test_lines_of_standard_input_are_texts_and_a_blank_one_has_no_words(version: str) -> None:
    found = give_json("explain", "words", lines=b"a good film\n\nbad \xff\n")["explanations"]
    assert [item["text"] for item in found] == ["a good film", "", "bad \ufffd"]
    assert [len(item["words"]) for item in found] == [3, 0, 2]
    assert give("explain", "words").exit_code == 2


def test_predict_answers_by_the_same_resolving(version: str, store: Store, tmp_path: Path) -> None:
    other = Registry(store).publish("words", write_words(tmp_path / "other", "more.json"))
    Registry(store).update_channel("words", other, run="move", reason="to try", expected=None, channel="challenger")
    for command in ("predict", "explain"):
        assert give_json(command, "words@challenger", "good")["version"] == other
    assert give_json("predict", f"words@{other}", "good")["version"] == other
    assert give_json("predict", "words", "good", "--version", other)["version"] == other
    answered, explained = (give_json(command, "words", "good") for command in ("predict", "explain"))
    assert answered["version"] == explained["version"] == version
    assert answered["predictions"][0]["probabilities"]["good"] == explained["explanations"][0]["score"]


def test_what_is_wrong_is_one_sentence(version: str) -> None:
    wrong = {
        ("wrds", "good"): "no model 'wrds' in ",
        ("words@shadow", "good"): "the model words has no shadow",
        ("words", "good", "--label", "goood"): "words has no label 'goood'; it has bad, good: did you mean good?",
        ("words", "good", "--budget", "1"): "1 is not in the range x>=2",
    }
    for arguments, said in wrong.items():
        result = give("explain", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr.splitlines()[-1]
