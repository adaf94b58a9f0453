"""Commands name damaged channels and repair them."""

import json
from pathlib import Path

import pytest
from cli.in_process import run, run_json
from words import write_words

from textgate.components.storage import Registry, Store

CHAMPION_KEY = "models/words/channels/champion.json"


@pytest.fixture
def versions(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two champions of ``words``, one after the other; commands run in ``tmp_path``."""
    monkeypatch.setenv("TEXTGATE_BUCKET", store.bucket)
    monkeypatch.chdir(tmp_path)
    registry = Registry(store)
    first, second = (registry.publish("words", write_words(tmp_path / str(w), weight=w)) for w in (5.0, 6.0))
    registry.update_channel("words", first, run="run-1", reason="good", expected=None)
    registry.update_channel("words", second, run="run-2", reason="better", expected=first)
    return first, second


def test_a_damaged_channel_is_listed_as_such_and_repaired(store: Store, versions: tuple[str, str]) -> None:
    store.put(CHAMPION_KEY, b"{")
    assert run_json("models", "list") == {"models": [{"model": "words", "channels": {}}]}
    unread = run("predict", "words", "good")
    assert (unread.exit_code, "textgate models repair words --channel champion" in unread.stderr) == (4, True)
    planned = run("models", "repair", "words", "--dry-run")
    assert planned.exit_code == 0
    assert planned.stdout.startswith(
        f"words: would be: champion rebuilt from the audit log to point at {versions[1]}, because s3://"
    )
    assert store.get(CHAMPION_KEY).data == b"{"  # type: ignore[union-attr]
    (repaired,) = run_json("models", "repair", "words")["channels"]
    assert (repaired["channel"], repaired["version"], repaired["repaired"]) == ("champion", versions[1], True)
    assert run_json("predict", "words", "good")["version"] == versions[1]
    newest, *older = run_json("models", "history", "words")["moves"]
    assert (newest["run"], newest["version"], len(older)) == ("repair", versions[1], 2)
    assert run("models", "repair", "words").stdout == f"words: champion is intact and points at {versions[1]}\n"


def test_a_channel_that_points_at_a_damaged_version_is_named_with_what_helps(
    store: Store, versions: tuple[str, str]
) -> None:
    store.put(f"models/words/versions/{versions[1]}/model.safetensors", b"")
    result = run("models", "repair", "words", "--channel", "champion", "--json")
    assert result.exit_code == 4
    (channel,) = json.loads(result.stdout)["channels"]
    assert "model.safetensors has 0 bytes instead of" in channel["version_damage"]
    assert result.stderr == "Error: champion of words still points at no intact version\n"
    assert run("models", "rollback", "words", "--reason", "damaged").exit_code == 0
    assert run_json("predict", "words", "good")["version"] == versions[0]


def test_a_rollback_of_another_champion_than_the_one_looked_at_is_a_conflict(versions: tuple[str, str]) -> None:
    first, second = versions
    conflict = run("models", "rollback", "words", "--from", first, "--reason", "worse")
    assert conflict.exit_code == 5
    assert conflict.stderr.startswith(f"Error: the champion of words is {second}, no longer {first}: ")
    for _ in range(2):
        done = run("models", "rollback", "words", "--from", second, "--reason", "worse")
        assert done.stdout == f"words: champion is {first} again; {second} is blocked\n"


def test_a_model_or_channel_that_does_not_exist_cannot_be_repaired(versions: tuple[str, str]) -> None:
    assert "did you mean words?" in run("models", "repair", "word").stderr
    missing = run("models", "repair", "words", "--channel", "shadow")
    assert missing.stderr == "Error: the model words has no shadow: there is nothing to repair\n"
    assert missing.exit_code == 2
