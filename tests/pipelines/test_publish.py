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

from textgate.components.card.snippets import REPOSITORY, with_textgate
from textgate.components.contracts import ModelBundle
from textgate.components.inference import load_bundle
from textgate.components.storage import Registry, Store
from textgate.components.storage.runs import save_card
from textgate.pipelines.cli import main

TOKEN = "hf_averysecrettoken"


@dataclass(frozen=True)
class Publisher:
    """Somebody with a registry, in which ``words`` has a champion with a card, and with a hub."""

    folder: Path
    registry: Registry
    hub: HubServer
    version: str

    def give(self, *arguments: str) -> Result:
        result = CliRunner().invoke(main, ["publish", *arguments])
        assert TOKEN not in result.output
        assert TOKEN not in str(result.exception)
        return result

    def give_json(self, *arguments: str) -> Any:
        result = self.give(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def refused(self, *arguments: str) -> str:
        """The one sentence that a wrong command ends on, with exit code 2."""
        result = self.give(*arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
        # What the client says of its progress may stand before.
        *_, sentence = result.stderr.splitlines()
        assert sentence.startswith("Error: ")
        assert result.stderr.count("Error: ") == 1
        return sentence

    def promote(self, folder: Path, run: str) -> str:
        """Make a bundle champion by a run that leaves a card of its own."""
        before = self.registry.channel("words")
        version = self.registry.publish("words", folder)
        card = folder.with_suffix(".md")
        card.write_text(f"---\ntags: [textgate]\n---\n# {run}\n{with_textgate(ModelBundle.load(folder))}\n")
        save_card(self.registry.store, run, card)
        expected = before.version if before else None
        self.registry.update_channel("words", version, run=run, reason="it passed", expected=expected)
        return version

    def stored(self, version: str) -> dict[str, bytes]:
        """The files of a version, as the registry has them."""
        prefix = f"models/words/versions/{version}/"
        store = self.registry.store
        return {item.key[len(prefix) :]: store.get(item.key).data for item in store.objects(prefix)}  # type: ignore[union-attr]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    state = HubServer(TOKEN)
    server = serve(state)
    monkeypatch.setenv("HF_ENDPOINT", state.address)
    # These the client reads from the environment when it is imported.
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
    nobody = Publisher(tmp_path, Registry(store), hub, "")
    version = nobody.promote(write_words(tmp_path / "first", "extra/old.json"), "run-1")
    return Publisher(tmp_path, Registry(store), hub, version)


def card(run: str, name: str) -> bytes:
    """What ``Publisher.promote`` wrote, with the repository's name in it."""
    snippet = with_textgate(ModelBundle.load("first")).replace(REPOSITORY, name)
    return f"---\ntags: [textgate]\n---\n# {run}\n{snippet}\n".encode()


def test_a_version_and_its_card_are_pushed_in_one_commit_and_never_twice(publisher: Publisher) -> None:
    said = publisher.give_json("words", "--to", "hf://org/words")
    repository = publisher.hub.repositories["org/words"]
    files = {**publisher.stored(publisher.version), "README.md": card("run-1", "org/words")}
    assert repository.main == {".gitattributes": b"*", **files}
    assert len(repository.branches["main"]) == 2
    assert not repository.private
    # The weights went by LFS; nobody was asked without the token.
    assert list(publisher.hub.objects.values()) == [files["model.safetensors"]]
    assert publisher.hub.authorizations == {f"Bearer {TOKEN}"}
    assert said == {
        "model": "words",
        "version": publisher.version,
        "to": "hf://org/words",
        "revision": "main",
        "files": {path: len(content) for path, content in files.items()},
        "url": f"{publisher.hub.address}/org/words",
        "commit": repository.commit("main")[0],
        "changed": True,
    }

    again = publisher.give("words", "--to", "hf://org/words")
    assert again.stdout == (
        f"nothing changed: {publisher.hub.address}/org/words holds words {publisher.version} already\n"
    )
    assert len(repository.branches["main"]) == 2


def test_another_version_takes_the_place_of_the_files_before_and_leaves_those_of_others(publisher: Publisher) -> None:
    publisher.give_json("words", "--to", "hf://org/words")
    repository = publisher.hub.repositories["org/words"]
    repository.branches["main"].append({**repository.main, "LICENSE": b"free"})
    second = publisher.promote(write_words(publisher.folder / "second", "new.json"), "run-2")

    result = publisher.give("words", "--to", "hf://org/words")
    assert result.exit_code == 0, result.stderr
    assert f"words {second} is at" in result.output
    files = {**publisher.stored(second), "README.md": card("run-2", "org/words")}
    assert repository.main == {".gitattributes": b"*", "LICENSE": b"free", **files}
    assert len(repository.branches["main"]) == 4

    # A version that is champion no more, and was so by a run and by a rollback after it, has the card of the run.
    publisher.registry.rollback("words", run="rollback", reason="by hand")
    publisher.give_json(f"words@{publisher.version}", "--to", "hf://org/words")
    assert repository.main["README.md"] == card("run-1", "org/words")
    assert "extra/old.json" in repository.main
    assert "new.json" not in repository.main


def test_a_branch_is_made_and_the_main_one_left_alone(publisher: Publisher) -> None:
    publisher.give_json("words", "--to", "hf://org/words", "--revision", "trial/1", "--private")
    repository = publisher.hub.repositories["org/words"]
    assert repository.private
    assert repository.main == {".gitattributes": b"*"}
    assert repository.branches["trial/1"][-1]["bundle.json"] == publisher.stored(publisher.version)["bundle.json"]
    # It is there now, and so is the branch.
    assert (
        publisher.give_json("words", "--to", "hf://org/words", "--revision", "trial/1", "--private")["changed"] is False
    )


def test_a_dry_run_takes_no_token_and_asks_nobody(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    said = publisher.give_json("words", "--to", "hf://org/words", "--dry-run")
    files = {**publisher.stored(publisher.version), "README.md": card("run-1", "org/words")}
    assert said["files"] == {path: len(content) for path, content in files.items()}
    assert said["dry_run"] is True
    shown = publisher.give("words", "--to", "hf://org/words", "--dry-run").stdout
    assert re.findall(r"[\d,]+  (\S+)\n", shown) == sorted(files)
    assert f"{sum(map(len, files.values())):,}  bytes of words {publisher.version} would be pushed" in shown
    assert publisher.hub.requests == []


def test_what_the_hub_refuses_is_one_sentence(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    to = ("words", "--to", "hf://org/words")
    publisher.hub.repositories["org/words"] = Repository(private=False)
    assert "hf://org/words is public already" in publisher.refused(*to, "--private")
    assert "the token may not write there" in publisher.refused("words", "--to", "hf://others/words")
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert "the hub does not know the token" in publisher.refused(*to)
    for none in ("", " "):
        monkeypatch.setenv("HF_TOKEN", none)
        assert "set HF_TOKEN" in publisher.refused(*to)
    assert publisher.hub.repositories["org/words"].branches == {"main": [{".gitattributes": b"*"}]}


def test_a_hub_that_breaks_or_is_away_is_one_sentence_and_nothing_is_committed(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.hub.breaks_at = "/commit/"
    sentence = publisher.refused("words", "--to", "hf://org/words")
    assert sentence.startswith("Error: nothing was pushed to hf://org/words: the hub answered 500: ")
    assert publisher.hub.repositories["org/words"].main == {".gitattributes": b"*"}
    with unreachable_address() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert "the hub cannot be reached" in publisher.refused("words", "--to", "hf://org/words")


def test_a_wrong_name_is_told_before_anything_is_asked(publisher: Publisher) -> None:
    wrong = {
        "org/words": "org/words is not of the form hf://org/name",
        "hf://words": "hf://words names no repository: write hf://org/name",
        "hf://a/b/c": "hf://a/b/c names no repository: ",
        "hf://org/w rds": "hf://org/w rds names no repository: ",
        "hf://org/words@main": "give the branch to push to with --revision",
    }
    for to, said in wrong.items():
        assert said in publisher.refused("words", "--to", to)
    assert publisher.hub.requests == []


def test_what_the_registry_lacks_is_named(publisher: Publisher) -> None:
    to = ("--to", "hf://org/words")
    assert re.search("no model 'wrds'.* did you mean words", publisher.refused("wrds", *to))
    assert "the model words has no shadow" in publisher.refused("words@shadow", *to)
    assert "has no version 'abcdefabcdef'" in publisher.refused("words@abcdefabcdef", *to)
    bare = publisher.registry.publish("words", write_words(publisher.folder / "bare", "more.json"))
    publisher.registry.update_channel(
        "words", bare, run="run-3", reason="before cards", expected=None, channel="challenger"
    )
    sentence = publisher.refused("words@challenger", *to)
    assert f"no run has left a model card for words {bare}" in sentence
    assert "textgate run words" in sentence
    assert publisher.hub.requests == []


def test_a_bundle_that_was_changed_in_the_workspace_is_not_pushed(publisher: Publisher) -> None:
    publisher.give_json("words", "--to", "hf://org/words", "--dry-run")
    (vocabulary,) = publisher.folder.glob(".textgate/models/words/*/vocabulary.json")
    vocabulary.write_text("[]")
    assert "vocabulary.json has been changed" in publisher.refused("words", "--to", "hf://org/words")
    assert publisher.hub.requests == []


def test_the_card_is_printed(publisher: Publisher) -> None:
    shown = CliRunner().invoke(main, ["models", "card", "words"])
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.startswith("---\ntags: [textgate]\n---\n# run-1\n")


@pytest.mark.slow
def test_the_command_and_what_the_card_says_to_run_work_as_they_are(publisher: Publisher) -> None:
    publisher.give_json("words", "--to", "hf://org/words")
    published = publisher.hub.repositories["org/words"].main["README.md"].decode()
    (snippet,) = re.findall(r"```python\n(.*?)```", published, re.DOTALL)
    environment = {**os.environ, "HF_HOME": str(publisher.folder / "home")}
    done = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, env=environment, cwd=publisher.folder
    )
    assert done.returncode == 0, done.stderr
    probabilities = load_bundle(publisher.folder / "first").predict_proba(["a text of yours"])
    assert done.stdout == f"['bad'] {probabilities}\n"
    assert ModelBundle.load(publisher.folder / "words").fingerprint.startswith(publisher.version)
