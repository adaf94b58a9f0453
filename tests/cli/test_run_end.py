"""Last line of a run that failed: whether the champion moved."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from textgate.components.contracts import StoreError
from textgate.components.storage import Registry, Store
from textgate.pipelines.cli.border import one_sentence, replace_streams
from textgate.pipelines.cli.run_end import reported_end
from textgate.pipelines.runners.run_log import RunFailedError


def promote(store: Store, bundle: Path) -> str:
    registry = Registry(store)
    version = registry.publish("films", bundle)
    registry.update_channel("films", version, run="run-1", reason="a test", expected=None)
    return version


def test_a_failed_run_says_that_the_champion_did_not_move(store: Store, bundle_folder: Path) -> None:
    promote(store, bundle_folder)
    with pytest.raises(RunFailedError) as raised, reported_end(store, "films", as_json=False):
        raise RunFailedError("step train failed")
    assert raised.value.__notes__ == ["the champion of films did not move"]


def test_a_run_that_fails_after_its_promotion_names_the_new_champion(
    store: Store, bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = ""
    with pytest.raises(SystemExit) as raised, one_sentence(), reported_end(store, "films", as_json=True):
        version = promote(store, bundle_folder)
        raise StoreError("the store is gone")
    assert raised.value.code == 4
    shown = capsys.readouterr()
    assert shown.err == f"Error: the store is gone\nthe champion of films is now {version}\n"
    assert json.loads(shown.out) == {
        "error": "the store is gone",
        "exit_code": 4,
        "model": "films",
        "champion": version,
        "champion_moved": True,
    }


def test_without_the_store_it_is_unknown_whether_the_champion_moved(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise StoreError("the store is gone")

    with pytest.raises(RunFailedError) as raised, reported_end(store, "films", as_json=False):
        monkeypatch.setattr(Store, "get", refuse)
        raise RunFailedError("step record failed")
    assert raised.value.__notes__ == ["unknown: the store does not answer, see `textgate models history films`"]


def test_a_failed_run_whose_reader_has_ended_still_says_why(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", sys.stderr)
        replace_streams()
        with pytest.raises(SystemExit) as raised, one_sentence(), reported_end(store, "films", as_json=True):
            raise StoreError("the store is gone")
    assert raised.value.code == 4
    assert capsys.readouterr().err == "Error: the store is gone\nthe champion of films did not move\n"
