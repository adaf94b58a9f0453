"""File digests and atomically created folders."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import file_sha256, new_file, new_folder, remove_leftovers, write_file


@settings(deadline=None, max_examples=30)
@given(content=st.binary())
def test_the_digest_equals_that_of_the_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(content)
    assert file_sha256(path) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_nothing_remains_if_the_body_raises(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_folder(tmp_path / "new") as folder:
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "er" / "half").write_text("x")
        assert not (tmp_path / "new").exists()
        raise error
    assert list(tmp_path.iterdir()) == []


def test_parents_are_created_and_others_may_read_the_folder(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "b" / "new"):
        pass
    created = tmp_path / "a" / "b" / "new"
    assert created.stat().st_mode & 0o777 == 0o755
    assert list(created.parent.iterdir()) == [created]


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with new_folder(tmp_path / "new") as folder:
        (folder / "whole").write_text("x")
    assert (tmp_path / "new" / "whole").read_text() == "x"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_existing_path_is_not_changed(tmp_path: Path, kind: str) -> None:
    existing = tmp_path / "new" if kind == "file" else tmp_path / "new" / "inner"
    existing.parent.mkdir(exist_ok=True)
    existing.write_text("mine")
    with pytest.raises(FileExistsError), new_folder(tmp_path / "new"):
        pytest.fail("the body must not run")
    assert existing.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


def test_the_first_of_two_writers_wins(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not empty"), new_folder(tmp_path / "new") as late:
        (late / "late").write_text("x")
        with new_folder(tmp_path / "new") as first:
            (first / "first").write_text("x")
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "first"]


def test_of_two_writers_of_the_same_content_both_succeed(tmp_path: Path) -> None:
    with new_folder(tmp_path / "new", keep_existing=True) as late:
        (late / "late").write_text("x")
        with new_folder(tmp_path / "new", keep_existing=True) as first:
            (first / "first").write_text("x")
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "first"]


def test_a_file_is_replaced_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    write_file(path, "before")
    with new_file(path) as file:
        file.write(b"half")
        file.flush()
        assert path.read_text() == "before"
    assert path.read_text() == "half"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_failed_writer_leaves_the_file_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    write_file(tmp_path / "file", b"before")
    with pytest.raises(error), new_file(tmp_path / "file") as file:
        file.write(b"half")
        raise error
    assert (tmp_path / "file").read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_link_stays_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    target, link, pipe = (tmp_path / name for name in ("target", "link", "pipe"))
    link.symlink_to(target)
    write_file(link, "first")
    write_file(link, "second")
    assert (link.is_symlink(), target.read_text()) == (True, "second")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_file(pipe, "third")
    assert os.read(reader, 10) == b"third"
    os.close(reader)
    assert pipe.is_fifo()


def test_leftovers_of_killed_processes_are_removed_when_they_are_a_day_old(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in (".data.csv-abcd1234", ".hidden", "data-abcd1234")]
    old_file, old_folder, growing = (tmp_path / f".{name}-abcd123_" for name in ("file", "folder", "growing"))
    for path in (*kept, old_file):
        path.write_text("part")
    for folder in (old_folder, growing):
        folder.mkdir()
        (folder / "part").write_text("part")
    for path in (old_file, old_folder, old_folder / "part", growing, *kept[1:]):
        os.utime(path, (0, 0))
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([*kept, growing])
