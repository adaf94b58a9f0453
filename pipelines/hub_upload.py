"""Push a bundle and its model card to the Hugging Face Hub, in one commit."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textgate.components.card.snippets import REPOSITORY
from textgate.components.contracts import InputError, ModelBundle
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.sources import parse_hub_uri

CARD = "README.md"


@dataclass(frozen=True)
class Pushed:
    """Result of a push."""

    url: str
    commit: str
    changed: bool
    """False if the repository was up to date, so that no commit was created."""


def repository(uri: str) -> str:
    """Return the repository ``org/name`` of the URI ``hf://org/name``.

    Raises:
        InputError: The URI has another form.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    name, revision = parse_hub_uri(uri)
    if revision is not None:
        raise InputError(f"{uri} names a revision: give the branch to push to with --revision")
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"{uri} names no repository: {error}") from error
    if not re.fullmatch(r"[^/]+/[^/]+", name):
        raise InputError(f"{uri} names no repository: write hf://org/name, with the user's or organization's name")
    return name


def contents(folder: Path, bundle: ModelBundle, card: str, name: str) -> dict[str, Path | bytes]:
    """Return the files of a repository, sorted by path: local files of the bundle, and the model card as bytes.

    The keys of the texts that the bundle was trained on are left out: whoever guesses a private text could check it.

    Args:
        folder: Folder of the bundle.
        bundle: Manifest of the bundle.
        card: Model card, with a placeholder for the name of the repository.
        name: Repository, ``org/name``.
    """
    published = bundle.without_trained_on()
    files: dict[str, Path | bytes] = {path: folder / path for path in (MANIFEST, *published.files)}
    if published != bundle:
        files[MANIFEST] = (published.model_dump_json(indent=2) + "\n").encode("utf-8")
    files[CARD] = card.replace(REPOSITORY, name).encode("utf-8")
    return dict(sorted(files.items()))


def push(name: str, files: dict[str, Path | bytes], message: str, *, private: bool, branch: str | None) -> Pushed:
    """Create the repository if it does not exist, and replace its bundle by ``files`` in one commit.

    Files of the bundle it held before are deleted; other files, such as a licence, are kept. The environment variable
    HF_TOKEN is the token, HF_ENDPOINT the address of the hub.

    Args:
        name: Repository, ``org/name``.
        files: Files by their path in the repository.
        message: Commit message.
        private: Create the repository as a private one.
        branch: Branch to commit to, created if needed; by default the main one.

    Raises:
        InputError: There is no token, the hub rejects it or cannot be reached, or ``private`` is set and the repository
            is public.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    token = os.environ.get("HF_TOKEN", "").strip()
    if not token:
        raise InputError("pushing to the hub needs a token with write permission: set HF_TOKEN")
    # The caller reports that nothing has changed; the library would report it too.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    # The library reads HF_ENDPOINT when it is imported, which may have been before the variable was set.
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT", "").rstrip("/") or None, token=token)
    with _explained(name, token):
        api.create_repo(name, private=private or None, exist_ok=True)
        if branch:
            api.create_branch(name, branch=branch, exist_ok=True)
        before = api.model_info(name, revision=branch)
        if private and not before.private:
            raise InputError(f"hf://{name} is public already: make it private on the hub, or leave out --private")
        held = {file.rfilename for file in before.siblings or []}
        stale = _named_in_manifest(api, name, before.sha, held) - files.keys()
        commit = api.create_commit(
            name,
            [
                *(CommitOperationAdd(path, content) for path, content in files.items()),
                *(CommitOperationDelete(path) for path in sorted(stale & held)),
            ],
            commit_message=message,
            revision=branch,
            parent_commit=before.sha,
        )
    return Pushed(f"{api.endpoint}/{name}", commit.oid, commit.oid != before.sha)


def _named_in_manifest(api: Any, name: str, commit: str | None, held: set[str]) -> set[str]:
    """Return the files of the bundle that the repository holds."""
    if MANIFEST not in held:
        return set()
    path = Path(api.hf_hub_download(name, MANIFEST, revision=commit))
    return set(ModelBundle.parse(path.read_bytes(), f"{MANIFEST} of hf://{name}").files)


@contextmanager
def _explained(name: str, token: str) -> Iterator[None]:
    """Raise errors as InputError with a message of one sentence that does not contain the token."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the client raises its own errors, its transport's, OSError and ValueError
        cause = error.__cause__ if isinstance(error.__cause__, HfHubHTTPError) else error
        status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
        message = " ".join(str(cause).replace(token, "…").split()) or type(cause).__name__
        match status:
            case 401:
                problem = "the hub does not know the token: set HF_TOKEN to one that is valid"
            case 403:
                problem = "the token may not write there: give it that right, or name another organization"
            case None:
                problem = f"the hub cannot be reached or rejects it: {message}"
            case _:
                problem = f"the hub answered {status}: {message}"
        raise InputError(f"nothing was pushed to hf://{name}: {problem}") from error
