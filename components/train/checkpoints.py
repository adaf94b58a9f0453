"""Checkpoints in the store, from which a training that was killed goes on.

checkpoints/<training>/<sha256>           one file's content
checkpoints/<training>/checkpoint.json    name to sha256 of every file; replaced last, so that it is always whole

A file that has not changed since the last checkpoint is not written again.
"""

import hashlib
import json
import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from textgate.components.contracts import Dataset, InputError, Training, file_sha256, new_folder
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.storage import Store

_LIBRARIES = ("accelerate", "bitsandbytes", "numpy", "peft", "tokenizers", "torch", "transformers")
_MANIFEST = "checkpoint.json"


def checkpoint_prefix(dataset: Dataset, training: Training, weights: str, code: str, processes: int) -> str:
    """Where in the store only the very same training finds its checkpoints.

    ``weights`` is the version of what it starts from, ``code`` that of the steps' code.
    """
    libraries = [f"{library}=={version(library)}" for library in _LIBRARIES]
    same = [dataset.manifest.fingerprint, training.model_dump_json(), weights, code, processes, libraries]
    return f"checkpoints/{hashlib.sha256(json.dumps(same).encode()).hexdigest()}"


class _Checkpoint(FrozenModel):
    """``checkpoint.json``."""

    kept: str
    """UTC, ISO 8601."""
    files: dict[str, str]


class StoreCheckpoints:
    """See ``families.Checkpoints``: the last checkpoint of one training, below ``prefix``.

    It is stored by a thread while the training goes on. A store that cannot be used costs the checkpoint, never the
    training: it is said in one line.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store, self._prefix = store, prefix
        self._stored: set[str] = set()
        """Contents that this process has written or verified."""
        self._used = False
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._storing: Future[None] | None = None

    def restore(self, folder: Path) -> bool:
        """See ``families.Checkpoints.restore``; a damaged checkpoint counts as none."""
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
        print(f"restored the checkpoint of {checkpoint.kept}", flush=True)
        return True

    def save(self, folder: Path) -> None:
        """See ``families.Checkpoints.save``; returns once the checkpoint before is stored."""
        self._used = True
        self.wait()
        own = Path(tempfile.mkdtemp())
        shutil.move(folder, own / "checkpoint")
        self._storing = self._thread.submit(self._keep, own)

    def wait(self) -> None:
        """Return once the last checkpoint is stored."""
        if self._storing is not None:
            self._storing.result()

    def clear(self) -> None:
        """Remove everything, once the training has succeeded."""
        if not self._used:
            return
        self.wait()
        try:
            # The manifest first, so that nobody finds one whose files are gone.
            self._store.delete(self._key(_MANIFEST))
            self._delete_all_but(set())
        except InputError as error:
            print(f"the checkpoints were not removed: {error}", flush=True)

    def _keep(self, own: Path) -> None:
        folder = own / "checkpoint"
        paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        files = {name: file_sha256(path) for name, path in paths.items()}
        checkpoint = _Checkpoint(kept=datetime.now(UTC).isoformat(timespec="seconds"), files=files)
        try:
            for name, digest in files.items():
                if digest not in self._stored:
                    self._store.upload_file(paths[name], self._key(digest))
                    self._stored.add(digest)
            self._store.put(self._key(_MANIFEST), checkpoint.model_dump_json(indent=2).encode())
            self._delete_all_but({_MANIFEST, *files.values()})
        except InputError as error:
            print(f"the checkpoint was not kept: {error}", flush=True)
        finally:
            shutil.rmtree(own)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _download(self, name: str, digest: str, output: Path) -> None:
        path = output / name
        if not path.resolve().is_relative_to(output.resolve()):
            raise ValueError(f"its file {name} would lie outside its folder")
        self._store.download_file(self._key(digest), path)
        if file_sha256(path) != digest:
            raise ValueError(f"its file {name} is not what was stored")

    def _delete_all_but(self, names: set[str]) -> None:
        for item in self._store.objects(f"{self._prefix}/"):
            name = item.key.rpartition("/")[2]
            if name not in names:
                self._store.delete(item.key)
                self._stored.discard(name)
