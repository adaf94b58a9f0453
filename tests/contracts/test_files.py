"""Digests, and folders that appear whole or not at all."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import file_sha256, new_folder


@settings(deadline=None, max_examples=30)
@given(content=st.binary())
def test_the_digest_is_that_of_the_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(content)
    assert file_sha256(path) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_nothing_remains_whatever_ends_the_body(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_folder(tmp_path / "made") as folder:
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "er" / "half").write_text("x")
        assert not (tmp_path / "made").exists()
        raise error
    assert list(tmp_path.iterdir()) == []


def test_its_parents_are_made_and_others_may_read_it(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "b" / "made"):
        pass
    made = tmp_path / "a" / "b" / "made"
    assert made.stat().st_mode & 0o777 == 0o755
    assert list(made.parent.iterdir()) == [made]


def test_an_empty_folder_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    with new_folder(tmp_path / "made") as folder:
        (folder / "whole").write_text("x")
    assert (tmp_path / "made" / "whole").read_text() == "x"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_there_already_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    there = tmp_path / "made" if kind == "file" else tmp_path / "made" / "inner"
    there.parent.mkdir(exist_ok=True)
    there.write_text("mine")
    with pytest.raises(FileExistsError), new_folder(tmp_path / "made"):
        pytest.fail("the body must not run")
    assert there.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [tmp_path / "made"]


def test_the_first_of_two_writers_wins(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not empty"), new_folder(tmp_path / "made") as late:
        (late / "late").write_text("x")
        with new_folder(tmp_path / "made") as first:
            (first / "first").write_text("x")
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "first"]
