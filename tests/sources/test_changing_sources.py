"""Sources that change between the start of a run and ingest: other rows than those of the version are never read."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sources.web_server import Page, web_server

from textgate.components.contracts import ConflictError, Dataset, Source
from textgate.components.ingest import ingest as module
from textgate.components.ingest.component import ingest
from textgate.components.ingest.ingest import ingest_source
from textgate.components.ingest.source_parts import ingest_part, join_parts
from textgate.components.sources import content_version, feedback, fetch, source_version
from textgate.components.storage import Store
from textgate.serving.feedback import FeedbackLog

ROWS = "text,label\ngood film,1\nbad film,0\n"
SWAPPED = "text,label\ngood film,0\nbad film,1\n"
SENTENCE = "changed while the run started: run again$"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "films.csv"
    path.parent.mkdir()
    path.write_text(ROWS)
    return path


def read(source: Source, tmp_path: Path, version: str, name: str = "out") -> list[tuple[str, str]]:
    manifest = ingest_source(source, tmp_path / name, tmp_path / "downloads", version)
    assert manifest.source_version == version
    return [(row.text, row.label) for row in Dataset.open(tmp_path / name).rows("all")]


def in_place(path: Path, content: str) -> None:
    times = path.stat()
    path.write_text(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def by_rename(path: Path, content: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(content)
    new.replace(path)


Change = Callable[[Path, str], None]


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("change", [in_place, by_rename])
@pytest.mark.parametrize("restored", [False, True])
def test_a_file_that_changes_before_or_while_it_is_read_is_a_conflict(
    file: Path, folder: bool, change: Change, restored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(uri=str(file.parent if folder else file))
    version = source_version(source)
    if restored:
        read_rows = module.read_local

        def changing(*arguments: Any) -> Iterator[Any]:
            change(file, SWAPPED)
            rows = list(read_rows(*arguments))
            change(file, ROWS)
            return iter(rows)

        monkeypatch.setattr(module, "read_local", changing)
    else:
        change(file, SWAPPED)
    with pytest.raises(ConflictError, match=SENTENCE):
        read(source, tmp_path, version)
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    change(file, ROWS)
    assert read(source, tmp_path, version) == [("good film", "1"), ("bad film", "0")]


def test_a_link_that_points_elsewhere_while_it_is_read_is_a_conflict(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "films.csv").write_text(SWAPPED)
    link = tmp_path / "current"
    link.symlink_to("data")
    source = Source(uri=str(link / "films.csv"))
    version, read_rows = source_version(source), module.read_local

    def point_at(folder: str) -> None:
        link.unlink()
        link.symlink_to(folder)

    def changing(*arguments: Any) -> Iterator[Any]:
        point_at("other")
        rows = list(read_rows(*arguments))
        point_at("data")
        return iter(rows)

    monkeypatch.setattr(module, "read_local", changing)
    with pytest.raises(ConflictError, match=SENTENCE):
        read(source, tmp_path, version)


def test_a_damaged_file_is_a_conflict_if_it_has_just_changed(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, read_rows = Source(uri=str(file)), module.read_local
    version = source_version(source)

    def truncating(*arguments: Any) -> Iterator[Any]:
        file.write_text("")
        return read_rows(*arguments)

    monkeypatch.setattr(module, "read_local", truncating)
    with pytest.raises(ConflictError, match=SENTENCE):
        read(source, tmp_path, version)


def test_every_source_and_the_corrections_have_the_version_of_the_run(file: Path, tmp_path: Path) -> None:
    paths = {name: file.with_name(f"{name}.csv") for name in ("main", "more", "corrections")}
    contents = {"main": ROWS, "more": ROWS, "corrections": "text,label,corrected_label\ngood film,1,1\n"}
    source = Source(
        uri=str(paths["main"]), also={"more": Source(uri=str(paths["more"]))}, corrections=str(paths["corrections"])
    )
    for name, path in paths.items():
        path.write_text(contents[name])
    version = source_version(source)
    assert len(read(source, tmp_path, version)) == 4
    for name, path in paths.items():
        in_place(path, contents[name].replace("good", "fine"))
        with pytest.raises(ConflictError, match=rf"^.*{name}\.csv {SENTENCE}"):
            read(source, tmp_path, version, name)
        in_place(path, contents[name])


def test_a_step_ends_with_the_sentence_and_exit_code_5(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = Source(uri=str(file))
    version = source_version(source)
    in_place(file, SWAPPED)
    with pytest.raises(SystemExit) as ended:
        output = SimpleNamespace(path=str(tmp_path / "raw"), metadata={})
        ingest.python_func(source=source.model_dump_json(), source_version=version, code="", dataset=output)
    assert ended.value.code == 5
    assert f"textgate error 5: {file} changed while the run started: run again\n" in capsys.readouterr().out
    # The id of a scheduled run is no version: the present content is read, and its version is known afterwards.
    ingest.python_func(source=source.model_dump_json(), source_version="9e1f-2c", code="", dataset=output)
    assert Dataset.open(tmp_path / "raw").manifest.source_version == content_version(str(file)) != version


def test_an_object_is_read_in_the_version_of_the_run_or_not_at_all(store: Store, tmp_path: Path) -> None:
    source = Source(uri=store.uri("in/films.csv"))
    store.put("in/films.csv", ROWS.encode())
    version, (listed,) = source_version(source), store.objects("in/films.csv")
    store.put("in/films.csv", SWAPPED.encode())
    with pytest.raises(ConflictError, match=SENTENCE):
        read(source, tmp_path, version)
    with pytest.raises(ConflictError, match=r"in/films\.csv was replaced or removed while it was read: run again$"):
        store.download_file(listed.key, tmp_path / "films.csv", listed.etag)
    store.delete("in/films.csv")
    with pytest.raises(ConflictError, match="was replaced or removed while"):
        store.download_file(listed.key, tmp_path / "films.csv", listed.etag)
    assert not list(tmp_path.rglob("films.csv"))
    store.put("in/films.csv", ROWS.encode())
    assert read(source, tmp_path, version) == [("good film", "1"), ("bad film", "0")]


def test_the_commit_of_the_run_is_read_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    data = datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["1", "0"]}).to_iterable_dataset()
    revisions = []

    def load(*_: Any, revision: str, **__: Any) -> dict[str, Any]:
        revisions.append(revision)
        return {"train": data}

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert read(Source(uri="hf://org/name@main"), tmp_path, "c" * 40) == [("a", "1"), ("b", "0")]
    read(Source(uri="hf://org/name@main"), tmp_path, "", "present")
    assert revisions == ["c" * 40, "main"]


def test_feedback_that_came_later_is_left_out_and_removed_feedback_is_a_conflict(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "DEFAULT_BUCKET", store.bucket)

    log = FeedbackLog(store, tmp_path / "spool", 1.0)
    log.add_prediction("request", "films", "v1", ["fine", "dull"], ["good", "good"], [0.9, 0.6])
    log.add_feedback("request", 0, "films", "good")
    log.add_feedback("request", 1, "films", "bad")
    log.close()
    version, (first,) = content_version("feedback://films"), store.objects("feedback/films/")
    # Listings have times in whole seconds.
    while {item.modified for item in store.objects("feedback/")} == {first.modified}:
        store.put(f"{first.key.rpartition('/')[0]}/later.parquet", b"is not read")
    assert read(Source(uri="feedback://films"), tmp_path, version) == [("fine", "good"), ("dull", "bad")]
    store.delete(first.key)
    with pytest.raises(ConflictError, match=SENTENCE):
        fetch("feedback://films", tmp_path, version)


def test_parts_of_different_versions_are_not_joined(file: Path, tmp_path: Path) -> None:
    file.with_name("more.csv").write_text(ROWS)
    source, parts = Source(uri=str(file.parent)), [tmp_path / "part-0", tmp_path / "part-1"]
    ingest_part(source, 0, 2, parts[0], tmp_path)
    in_place(file, SWAPPED)
    ingest_part(source, 1, 2, parts[1], tmp_path)
    with pytest.raises(ConflictError, match=r"changed while its parts were read: run again$"):
        join_parts(source, parts, tmp_path / "joined", tmp_path)


def test_objects_of_a_part_have_the_version_of_the_run(store: Store, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        store.put(f"in/{name}", ROWS.encode())
    source = Source(uri=store.uri("in/"))
    version = source_version(source)
    store.put("in/b.csv", SWAPPED.encode())
    with pytest.raises(ConflictError, match=SENTENCE):
        ingest_part(source, 0, 2, tmp_path / "part", tmp_path, version)


def test_a_damaged_download_is_named_and_fetched_again(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTGATE_DOWNLOADS", str(tmp_path))
    store.put("films.csv", ROWS.encode())
    store.put("folder/films.csv", ROWS.encode())
    with web_server() as web:
        web.pages["/films.csv"] = Page(ROWS.encode(), {"ETag": '"1"'})
        for uri in (f"{web.address}/films.csv", store.uri("films.csv"), store.uri("folder/")):
            path = fetch(uri, tmp_path)
            damaged = path / "films.csv" if path.is_dir() else path
            for content in (ROWS[:-1], ROWS.replace("good", "fine")):
                damaged.write_text(content)
                assert fetch(uri, tmp_path) == path
                assert damaged.read_text() == ROWS
                assert f"is damaged: {uri} is fetched again\n" in capsys.readouterr().err
