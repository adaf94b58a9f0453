"""Commands that read and move the channel ``reference``."""

from pathlib import Path

import pytest
from cli.in_process import run, run_json
from words import write_words

from textgate.components.storage import REFERENCE, Registry, Store


@pytest.fixture
def versions(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A reference and a champion of ``words``; commands run in ``tmp_path``."""
    monkeypatch.setenv("TEXTGATE_BUCKET", store.bucket)
    monkeypatch.chdir(tmp_path)
    registry = Registry(store)
    first, second = (registry.publish("words", write_words(tmp_path / str(w), weight=w)) for w in (5.0, 6.0))
    registry.update_channel("words", first, run="run-1", reason="good", expected=None)
    registry.update_channel("words", first, run="run-1", reason="the first", expected=None, channel=REFERENCE)
    registry.update_channel("words", second, run="run-2", reason="not worse", expected=first)
    return first, second


def test_the_reference_is_listed_and_predicts(versions: tuple[str, str]) -> None:
    reference, champion = versions
    channels = {"champion": champion, "reference": reference}
    assert run_json("models", "list") == {"models": [{"model": "words", "channels": channels}]}
    assert run_json("predict", "words@reference", "good")["version"] == reference
    assert run_json("predict", "words", "good")["version"] == champion


def test_the_reference_is_moved_by_hand_with_a_reason_in_the_history(versions: tuple[str, str]) -> None:
    reference, champion = versions
    moved = run("models", "move", "words", "reference", champion, "--reason", "a tenth of the cost")
    assert moved.output == f"words: reference is {champion}\n"
    newest = run("models", "history", "words").output.splitlines()[0]
    assert f"reference -> {champion} (before: {reference})" in newest
    assert newest.endswith(": a tenth of the cost")


def test_a_rolled_back_version_cannot_be_the_reference(versions: tuple[str, str]) -> None:
    reference, champion = versions
    assert run("models", "rollback", "words", "--reason", "worse").exit_code == 0
    result = run("models", "move", "words", "reference", champion)
    assert result.exit_code == 2
    assert f"{champion} was rolled back on" in result.stderr
    assert run_json("models", "list")["models"][0]["channels"] == {"champion": reference, "reference": reference}
