"""Garbage in the store: versions, artifacts of runs, checkpoints, uploads, and exchanged files of killed trainings.

Channels, the audit, blocks, removals, judgements, retrainings, records and decisions of runs, and the logs of servers
are never removed.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from textgate.components.contracts import InputError
from textgate.components.storage import ObjectSummary, Store
from textgate.components.storage.deletion import (
    IncompleteUpload,
    abort_upload,
    delete_objects,
    incomplete_uploads,
    store_time,
)
from textgate.pipelines.garbage.item import Garbage, Retention
from textgate.pipelines.garbage.versions import Needed, find_versions, needed

_RECORD = "record.json"
_RECORDS = re.compile(r"record\.json|promotion\.json|evaluation\.json|README\.md|decisions/.*")
"""Small files of a finished run that explain the history of its model."""


@dataclass(frozen=True)
class StoreGarbage:
    """Garbage of a store, and what the workspace's garbage depends on."""

    items: list[Garbage]
    needed: dict[str, Needed]
    """Needed versions and runs by model."""
    problems: list[str]
    """Sentences about what was left alone because it cannot be read."""


def find_store_garbage(store: Store, retention: Retention) -> StoreGarbage:
    """List the garbage of a store.

    Raises:
        InputError: The store does not answer.
    """
    now = store_time(store)
    items: list[Garbage] = []
    by_model: dict[str, Needed] = {}
    problems: list[str] = []
    stored_models, claimed_models = store.prefixes("models/"), store.prefixes("claims/")
    for model in sorted({*stored_models, *claimed_models}):
        try:
            by_model[model] = needed(store, model, retention, now)
        except InputError as error:
            problems.append(
                f"no version of {model} and no run is removed, because what {model} needs is unknown: {error}"
            )
        else:
            items += find_versions(store, model, by_model[model].versions, retention, now)
    if not problems:
        items += _find_runs(store, {run for model in by_model.values() for run in model.runs}, retention, now)
    items += _find_folders(store, "checkpoints", "checkpoint", retention.older_than, now)
    items += _find_folders(store, "nodes", "files between nodes", retention.older_than, now)
    items += _find_uploads(store, retention, now)
    return StoreGarbage(items, by_model, problems)


def _find_runs(store: Store, keep: set[str], retention: Retention, now: datetime) -> Iterator[Garbage]:
    """Yield the artifacts of finished runs that no needed version comes from, and everything of unfinished runs."""
    for run, objects in _folders(store, "runs").items():
        names = {item.key.removeprefix(f"runs/{run}/"): item for item in objects}
        if run in keep:
            continue
        # A training may write nothing for days, so only the age of its last file tells that it has been abandoned.
        reason = "its versions are gone or were never promoted" if _RECORD in names else "the run never finished"
        if _RECORD in names:
            objects = [item for name, item in names.items() if not _RECORDS.fullmatch(name)]
        yield from _if_old(store, "run", f"runs/{run}/", objects, retention.older_than, now, reason)


def _find_folders(store: Store, prefix: str, kind: str, age: timedelta, now: datetime) -> Iterator[Garbage]:
    for name, objects in _folders(store, prefix).items():
        # A checkpoint's manifest first, so that no training finds one whose files are gone.
        ordered = sorted(objects, key=lambda item: not item.key.endswith(".json"))
        reason = "the training was abandoned"
        yield from _if_old(store, kind, f"{prefix}/{name}/", ordered, age, now, reason)


def _find_uploads(store: Store, retention: Retention, now: datetime) -> Iterator[Garbage]:
    for upload in incomplete_uploads(store):
        if now - upload.begun >= retention.grace:
            remove = partial(_abort, store, upload)
            yield Garbage("upload", store.uri(upload.key), 1, upload.size, "it was never completed", remove)


def _folders(store: Store, prefix: str) -> dict[str, list[ObjectSummary]]:
    """Return the objects of each folder below ``prefix``."""
    folders: defaultdict[str, list[ObjectSummary]] = defaultdict(list)
    for item in store.objects(f"{prefix}/"):
        name, slash, _ = item.key.removeprefix(f"{prefix}/").partition("/")
        if slash:
            folders[name].append(item)
    return folders


def _if_old(
    store: Store, kind: str, prefix: str, objects: list[ObjectSummary], age: timedelta, now: datetime, reason: str
) -> Iterator[Garbage]:
    """Yield objects as one item if the youngest of them is old enough."""
    if objects and all(now - item.modified >= age for item in objects):
        size = sum(item.size for item in objects)
        remove = partial(_delete, store, [item.key for item in objects])
        yield Garbage(kind, store.uri(prefix), len(objects), size, reason, remove)


def _delete(store: Store, keys: list[str]) -> bool:
    delete_objects(store, keys)
    return True


def _abort(store: Store, upload: IncompleteUpload) -> bool:
    abort_upload(store, upload)
    return True
