import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from textgate.components.contracts import InputError, Source
from textgate.components.ingest.hub_source import read_hub, read_split
from textgate.components.sources import HubDataset

COLUMNS = ["text", "label"]


@pytest.fixture
def hub_folder(tmp_path: Path) -> Path:
    """Data set of two splits in a folder; the library opens its path like a data set of the hub."""
    (tmp_path / "set").mkdir()
    for split, examples in {"train": [("a", 1), ("b", 0)], "test": [("c", 1)]}.items():
        lines = [json.dumps({"text": text, "label": label}) for text, label in examples]
        (tmp_path / "set" / f"{split}.jsonl").write_text("\n".join(lines))
    return tmp_path / "set"


def test_splits_are_read_in_alphabetical_order(hub_folder: Path) -> None:
    rows = list(read_hub(Source(uri=f"hf://{hub_folder}"), [*COLUMNS, "split"]))
    assert [(row.id, row.columns) for row in rows] == [
        ("test:1", {"text": "c", "label": 1, "split": "test"}),
        ("train:1", {"text": "a", "label": 1, "split": "train"}),
        ("train:2", {"text": "b", "label": 0, "split": "train"}),
    ]


def test_a_missing_column_is_an_input_error_with_a_suggestion(hub_folder: Path) -> None:
    with pytest.raises(InputError, match=r"^no column 'txt' in hf://.*; did you mean 'text'"):
        list(read_hub(Source(uri=f"hf://{hub_folder}", text="txt"), ["txt", "label"]))


def test_a_damaged_data_set_is_an_input_error(hub_folder: Path) -> None:
    (hub_folder / "train.jsonl").write_text("{not json\n")
    with pytest.raises(InputError, match=r"hf://.* cannot be read: ") as error:
        list(read_hub(Source(uri=f"hf://{hub_folder}"), COLUMNS))
    assert "\n" not in str(error.value)


def test_a_data_set_of_several_configurations_is_an_input_error(hub_folder: Path) -> None:
    configs = "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("train", "test"))
    (hub_folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    with pytest.raises(InputError) as error:
        list(read_hub(Source(uri=f"hf://{hub_folder}"), COLUMNS))
    assert str(error.value) == (
        f"hf://{hub_folder} has several subsets: name one of test, train, as in hf://{hub_folder}/test"
    )


@pytest.fixture
def with_subsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data set ``org/name`` with the subsets ``en`` and ``de``, which the library finds in the working directory."""
    folder = tmp_path / "org" / "name"
    folder.mkdir(parents=True)
    for subset in ("en", "de"):
        row = {"text": f"text in {subset}", "label": subset}
        (folder / f"{subset}.jsonl").write_text(json.dumps(row))
    configs = "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("en", "de"))
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("with_subsets")
@pytest.mark.parametrize("subset", ["en", "de"])
def test_a_subset_is_named_in_the_uri(subset: str) -> None:
    rows = list(read_hub(Source(uri=f"hf://org/name/{subset}"), COLUMNS))
    assert [row.columns and row.columns["text"] for row in rows] == [f"text in {subset}"]


@pytest.mark.usefixtures("with_subsets")
@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("hf://org/name", "hf://org/name has several subsets: name one of de, en, as in hf://org/name/de"),
        ("hf://org/name/fr", "hf://org/name/fr has no subset 'fr': name one of de, en, as in hf://org/name/de"),
        ("hf://org/name@v1", "hf://org/name@v1 has several subsets: name one of de, en, as in hf://org/name/de@v1"),
    ],
)
def test_a_missing_subset_is_one_sentence_that_names_the_others(uri: str, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        list(read_hub(Source(uri=uri), COLUMNS))
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("hf://imdb", ("imdb", None, None)),
        ("hf://org/name", ("org/name", None, None)),
        ("hf://org/name@v1", ("org/name", None, "v1")),
        ("hf://org/name/subset", ("org/name", "subset", None)),
        ("hf://org/name/2022.en@refs/pr/1", ("org/name", "2022.en", "refs/pr/1")),
    ],
)
def test_the_uri_names_a_data_set_a_subset_and_a_revision(uri: str, parts: tuple[str | None, ...]) -> None:
    assert HubDataset.parse(uri) == parts


@pytest.mark.parametrize("uri", ["hf://", "hf://org/name/", "hf://org/name/a/b", "hf://org/name@", "hf://org//name"])
def test_another_form_is_an_input_error(uri: str) -> None:
    with pytest.raises(InputError, match="is not of the form hf://org/name, hf://org/name/subset or"):
        HubDataset.parse(uri)


@pytest.mark.parametrize(
    ("mapping", "labels"),
    [
        (None, ["pos", "neg", None]),
        ({"neg": "bad", "pos": "good"}, ["pos", "neg", None]),
        ({"0": "bad", "1": "good"}, [1, 0, None]),
    ],
)
def test_class_numbers_become_names_unless_the_recipe_maps_the_numbers(
    mapping: dict[str, str] | None, labels: list[str | int | None]
) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    data = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    source = Source(uri="hf://org/name", labels=mapping)
    rows = list(read_split(data.to_iterable_dataset(), "train", source, COLUMNS))
    assert [row.columns and row.columns["label"] for row in rows] == labels
    assert [row.id for row in rows] == ["train:1", "train:2", "train:3"]


@pytest.fixture
def empty_hub() -> Iterator[str]:
    """URL of a local hub without any repository."""

    class NotFound(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), NotFound)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_data_set_missing_on_the_hub_is_an_input_error(empty_hub: str, tmp_path: Path) -> None:
    script = """
import json
from textgate.components.contracts import InputError, Source
from textgate.components.ingest.hub_source import read_hub
try:
    list(read_hub(Source(uri="hf://no-such/data-set@main"), ["text", "label"]))
except InputError as error:
    print(json.dumps(str(error)))
"""
    # The library reads the hub's URL once, at import.
    environment = {**os.environ, "HF_ENDPOINT": empty_hub, "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    (line,) = done.stdout.splitlines()
    message = json.loads(line)
    assert message.startswith("hf://no-such/data-set@main cannot be read: ")
    assert "\n" not in message
