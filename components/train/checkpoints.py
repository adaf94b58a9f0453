"""Checkpoints of a training in the store, from which a killed training resumes.

checkpoints/<training>/<sha256>           content of one file
checkpoints/<training>/checkpoint.json    name and sha256 of every file; written last, so it is always consistent

A file that has not changed since the last checkpoint is not uploaded again.
"""

import hashlib
import json
import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import Field, ValidationError

from textgate.components.contracts import Dataset, InputError, Training, file_sha256, new_folder
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.storage import Store

_LIBRARIES = ("accelerate", "bitsandbytes", "numpy", "peft", "tokenizers", "torch", "transformers")
_MANIFEST = "checkpoint.json"


def checkpoint_prefix(dataset: Dataset, training: Training, weights: str, code: str, processes: int) -> str:
    """Return the prefix of a training's checkpoints; any change to the training changes it.

    Args:
        dataset: Dataset of the training.
        training: Recipe section ``train``.
        weights: Versions of the base model and the bundles that it starts from.
        code: Version of the step's code.
        processes: Number of processes of the training.
    """
    libraries = [f"{library}=={version(library)}" for library in _LIBRARIES]
    identity = [dataset.manifest.fingerprint, training.model_dump_json(), weights, code, processes, libraries]
    return f"checkpoints/{hashlib.sha256(json.dumps(identity).encode()).hexdigest()}"


class _Checkpoint(FrozenModel):
    """Content of ``checkpoint.json``."""

    saved_at: str = Field(alias="kept")
    """Time in UTC, ISO 8601."""
    files: dict[str, str]
    """File name to sha256."""


class StoreCheckpoints:
    """Implementation of ``families.Checkpoints`` that keeps the last checkpoint of a training in the store.

    A background thread uploads while the training continues. If the store fails, the checkpoint is lost and one line
    says so; the training goes on.

    Args:
        store: Store with the bucket.
        prefix: See ``checkpoint_prefix``.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store, self._prefix = store, prefix
        self._stored: set[str] = set()
        """Digests of the files that this process has uploaded or verified."""
        self._used = False
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._upload: Future[None] | None = None

    def restore(self, folder: Path) -> bool:
        """See ``families.Checkpoints.restore``; a damaged checkpoint is ignored with a line of output."""
        self._used = True
        try:
            manifest = self._store.get(self._key(_MANIFEST))
            if manifest is None:
                return False
            checkpoint = _Checkpoint.model_validate_json(manifest.data)
            with new_folder(folder) as output:
                for name, digest in checkpoint.files.items():
                    self._download(name, digest, output)
        except (InputError, ValueError) as error:
            reason = f"its {_MANIFEST} names no files" if isinstance(error, ValidationError) else str(error)
            print(f"the stored checkpoint cannot be used, training from the beginning: {reason}", flush=True)
            return False
        self._stored.update(checkpoint.files.values())
        print(f"restored the checkpoint of {checkpoint.saved_at}", flush=True)
        return True

    def save(self, folder: Path) -> None:
        """See ``families.Checkpoints.save``; waits for the upload of the previous checkpoint first."""
        self._used = True
        self.wait()
        scratch = Path(tempfile.mkdtemp())
        shutil.move(folder, scratch / "checkpoint")
        self._upload = self._thread.submit(self._store_checkpoint, scratch)

    def wait(self) -> None:
        """Wait until the last checkpoint is uploaded."""
        if self._upload is not None:
            self._upload.result()

    def clear(self) -> None:
        """Delete the checkpoints of a training that has succeeded."""
        if not self._used:
            return
        self.wait()
        try:
            # The manifest first, so that no reader finds one whose files are gone.
            self._store.delete(self._key(_MANIFEST))
            self._delete_all_but(set())
        except InputError as error:
            print(f"the checkpoints were not deleted: {error}", flush=True)

    def _store_checkpoint(self, scratch: Path) -> None:
        folder = scratch / "checkpoint"
        paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        files = {name: file_sha256(path) for name, path in paths.items()}
        checkpoint = _Checkpoint(saved_at=datetime.now(UTC).isoformat(timespec="seconds"), files=files)
        try:
            for name, digest in files.items():
                if digest not in self._stored:
                    self._store.upload_file(paths[name], self._key(digest))
                    self._stored.add(digest)
            self._store.put(self._key(_MANIFEST), checkpoint.model_dump_json(indent=2).encode())
            self._delete_all_but({_MANIFEST, *files.values()})
        except InputError as error:
            print(f"the checkpoint was not saved: {error}", flush=True)
        finally:
            shutil.rmtree(scratch)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _download(self, name: str, digest: str, output: Path) -> None:
        path = output / name
        if not path.resolve().is_relative_to(output.resolve()):
            raise ValueError(f"its file {name} would be outside its folder")
        self._store.download_file(self._key(digest), path)
        if file_sha256(path) != digest:
            raise ValueError(f"its file {name} has another sha256")

    def _delete_all_but(self, names: set[str]) -> None:
        for item in self._store.objects(f"{self._prefix}/"):
            name = item.key.rpartition("/")[2]
            if name not in names:
                self._store.delete(item.key)
                self._stored.discard(name)
