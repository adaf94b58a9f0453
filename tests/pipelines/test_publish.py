"""`textgate publish` with the hub's own client, against a server that speaks the hub's API."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from click.testing import CliRunner, Result
from pipelines.cluster_workspace import unreachable_address
from pipelines.hub_server import HubServer, Repository, serve
from words import write_words

from textgate.components.card.snippets import REPOSITORY, textgate_snippet
from textgate.components.contracts import ModelBundle
from textgate.components.inference import load_bundle
from textgate.components.storage import Registry, Store, roll_back
from textgate.components.storage.runs import save_card
from textgate.pipelines.cli import main

TOKEN = "hf_averysecrettoken"


@dataclass(frozen=True)
class Publisher:
    """User with a hub, and a registry in which the model ``words`` has a champion with a model card."""

    folder: Path
    registry: Registry
    hub: HubServer
    version: str

    def run(self, *arguments: str) -> Result:
        result = CliRunner().invoke(main, ["publish", *arguments])
        assert TOKEN not in result.output
        assert TOKEN not in str(result.exception)
        return result

    def run_json(self, *arguments: str) -> Any:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def fail(self, *arguments: str) -> str:
        """Return the error message of a command that must fail with exit code 2."""
        result = self.run(*arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
        # The client's progress messages may come first.
        *_, sentence = result.stderr.splitlines()
        assert sentence.startswith("Error: ")
        assert result.stderr.count("Error: ") == 1
        return sentence

    def promote(self, folder: Path, run: str) -> str:
        """Promote a bundle as a run does that saves a model card; return the version."""
        before = self.registry.channel("words")
        version = self.registry.publish("words", folder)
        card = folder.with_suffix(".md")
        card.write_text(f"---\ntags: [textgate]\n---\n# {run}\n{textgate_snippet()}\n")
        save_card(self.registry.store, run, card)
        expected = before.version if before else None
        self.registry.update_channel("words", version, run=run, reason="it passed", expected=expected)
        return version

    def stored(self, version: str) -> dict[str, bytes]:
        """Return the files of a version in the registry."""
        prefix = f"models/words/versions/{version}/"
        store = self.registry.store
        return {item.key[len(prefix) :]: store.get(item.key).data for item in store.objects(prefix)}  # type: ignore[union-attr]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    state = HubServer(TOKEN)
    server = serve(state)
    monkeypatch.setenv("HF_ENDPOINT", state.address)
    # The client reads these from the environment when it is imported.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def publisher(hub: HubServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    monkeypatch.setenv("TEXTGATE_BUCKET", store.bucket)
    monkeypatch.chdir(tmp_path)
    unpublished = Publisher(tmp_path, Registry(store), hub, "")
    version = unpublished.promote(write_words(tmp_path / "first", "extra/old.json"), "run-1")
    return Publisher(tmp_path, Registry(store), hub, version)


def card(run: str, name: str) -> bytes:
    """Return the card that ``Publisher.promote`` wrote, with the name of the repository."""
    snippet = textgate_snippet().replace(REPOSITORY, name)
    return f"---\ntags: [textgate]\n---\n# {run}\n{snippet}\n".encode()


def test_a_version_and_its_card_are_pushed_in_one_commit_and_never_twice(publisher: Publisher) -> None:
    output = publisher.run_json("words", "--to", "hf://org/words")
    repository = publisher.hub.repositories["org/words"]
    files = {**publisher.stored(publisher.version), "README.md": card("run-1", "org/words")}
    assert repository.main == {".gitattributes": b"*", **files}
    assert len(repository.branches["main"]) == 2
    assert not repository.private
    # The weights were uploaded by LFS, and every request had the token.
    assert list(publisher.hub.objects.values()) == [files["model.safetensors"]]
    assert publisher.hub.authorizations == {f"Bearer {TOKEN}"}
    assert output == {
        "model": "words",
        "version": publisher.version,
        "to": "hf://org/words",
        "revision": "main",
        "files": {path: len(content) for path, content in files.items()},
        "url": f"{publisher.hub.address}/org/words",
        "commit": repository.commit("main")[0],
        "changed": True,
    }

    again = publisher.run("words", "--to", "hf://org/words")
    assert again.stdout == (
        f"nothing changed: {publisher.hub.address}/org/words holds words {publisher.version} already\n"
    )
    assert len(repository.branches["main"]) == 2


def test_a_new_version_replaces_the_files_of_the_old_one_and_keeps_other_files(publisher: Publisher) -> None:
    publisher.run_json("words", "--to", "hf://org/words")
    repository = publisher.hub.repositories["org/words"]
    repository.branches["main"].append({**repository.main, "LICENSE": b"free"})
    second = publisher.promote(write_words(publisher.folder / "second", "new.json"), "run-2")

    result = publisher.run("words", "--to", "hf://org/words")
    assert result.exit_code == 0, result.stderr
    assert f"words {second} is at" in result.output
    files = {**publisher.stored(second), "README.md": card("run-2", "org/words")}
    assert repository.main == {".gitattributes": b"*", "LICENSE": b"free", **files}
    assert len(repository.branches["main"]) == 4

    # A former champion, promoted by a run and later by a rollback, has the card of the run.
    roll_back(publisher.registry, "words", run="rollback", reason="by hand")
    publisher.run_json(f"words@{publisher.version}", "--to", "hf://org/words")
    assert repository.main["README.md"] == card("run-1", "org/words")
    assert "extra/old.json" in repository.main
    assert "new.json" not in repository.main


def test_a_branch_is_created_and_main_is_unchanged(publisher: Publisher) -> None:
    publisher.run_json("words", "--to", "hf://org/words", "--revision", "trial/1", "--private")
    repository = publisher.hub.repositories["org/words"]
    assert repository.private
    assert repository.main == {".gitattributes": b"*"}
    assert repository.branches["trial/1"][-1]["bundle.json"] == publisher.stored(publisher.version)["bundle.json"]
    # Now the repository and the branch exist.
    assert (
        publisher.run_json("words", "--to", "hf://org/words", "--revision", "trial/1", "--private")["changed"] is False
    )


def test_a_dry_run_needs_no_token_and_sends_no_request(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    output = publisher.run_json("words", "--to", "hf://org/words", "--dry-run")
    files = {**publisher.stored(publisher.version), "README.md": card("run-1", "org/words")}
    assert output["files"] == {path: len(content) for path, content in files.items()}
    assert output["dry_run"] is True
    shown = publisher.run("words", "--to", "hf://org/words", "--dry-run").stdout
    assert re.findall(r"[\d,]+  (\S+)\n", shown) == sorted(files)
    assert f"{sum(map(len, files.values())):,}  bytes of words {publisher.version} would be pushed" in shown
    assert publisher.hub.requests == []


def test_a_refusal_of_the_hub_is_reported_in_one_sentence(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = ("words", "--to", "hf://org/words")
    publisher.hub.repositories["org/words"] = Repository(private=False)
    assert "hf://org/words is public already" in publisher.fail(*to, "--private")
    assert "the token may not write there" in publisher.fail("words", "--to", "hf://others/words")
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert "the hub does not know the token" in publisher.fail(*to)
    for none in ("", " "):
        monkeypatch.setenv("HF_TOKEN", none)
        assert "set HF_TOKEN" in publisher.fail(*to)
    assert publisher.hub.repositories["org/words"].branches == {"main": [{".gitattributes": b"*"}]}


def test_a_failing_or_unreachable_hub_is_reported_and_nothing_is_committed(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.hub.breaks_at = "/commit/"
    sentence = publisher.fail("words", "--to", "hf://org/words")
    assert sentence.startswith("Error: nothing was pushed to hf://org/words: the hub answered 500: ")
    assert publisher.hub.repositories["org/words"].main == {".gitattributes": b"*"}
    with unreachable_address() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert "the hub cannot be reached" in publisher.fail("words", "--to", "hf://org/words")


def test_a_wrong_repository_name_is_reported_before_any_request(publisher: Publisher) -> None:
    wrong = {
        "org/words": "org/words is not of the form hf://org/name",
        "hf://words": "hf://words names no repository: write hf://org/name",
        "hf://a/b/c": "hf://a/b/c names no repository: ",
        "hf://org/w rds": "hf://org/w rds names no repository: ",
        "hf://org/words@main": "give the branch to push to with --revision",
    }
    for to, message in wrong.items():
        assert message in publisher.fail("words", "--to", to)
    assert publisher.hub.requests == []


def test_a_missing_model_version_or_card_is_named(publisher: Publisher) -> None:
    to = ("--to", "hf://org/words")
    assert re.search("no model 'wrds'.* did you mean words", publisher.fail("wrds", *to))
    assert "the model words has no shadow" in publisher.fail("words@shadow", *to)
    assert "has no version 'abcdefabcdef'" in publisher.fail("words@abcdefabcdef", *to)
    bare = publisher.registry.publish("words", write_words(publisher.folder / "bare", "more.json"))
    publisher.registry.update_channel(
        "words", bare, run="run-3", reason="before cards", expected=None, channel="challenger"
    )
    sentence = publisher.fail("words@challenger", *to)
    assert f"no run has left a model card for words {bare}" in sentence
    assert "textgate run words" in sentence
    assert publisher.hub.requests == []


def test_a_changed_bundle_in_the_workspace_is_downloaded_again(publisher: Publisher) -> None:
    publisher.run_json("words", "--to", "hf://org/words", "--dry-run")
    (vocabulary,) = publisher.folder.glob(".textgate/models/words/*/vocabulary.json")
    vocabulary.write_text("[]")
    publisher.run_json("words", "--to", "hf://org/words")
    pushed = publisher.hub.repositories["org/words"].main["vocabulary.json"]
    assert pushed == publisher.stored(publisher.version)["vocabulary.json"] != b"[]"


def test_models_card_prints_the_card(publisher: Publisher) -> None:
    shown = CliRunner().invoke(main, ["models", "card", "words"])
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.startswith("---\ntags: [textgate]\n---\n# run-1\n")


@pytest.mark.slow
def test_the_code_in_the_card_works(publisher: Publisher) -> None:
    publisher.run_json("words", "--to", "hf://org/words")
    published = publisher.hub.repositories["org/words"].main["README.md"].decode()
    (snippet,) = re.findall(r"```python\n(.*?)```", published, re.DOTALL)
    settings = {"HF_HOME": str(publisher.folder / "home"), "TEXTGATE_DOWNLOADS": str(publisher.folder / "downloads")}
    environment = {**os.environ, "HF_HUB_DISABLE_XET": "1", **settings}
    done = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, env=environment, cwd=publisher.folder
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{load_bundle(publisher.folder / 'first').predict(['a text of yours'])}\n"
    (downloaded,) = (publisher.folder / "downloads" / "bundles").glob("[!.]*")
    assert ModelBundle.load(downloaded).fingerprint.startswith(publisher.version)
