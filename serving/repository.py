"""Models that the server serves, kept up to date with the registry.

A new version is loaded while the current one serves, and replaces it in one assignment; requests that are already
running finish on the old version. Each model stands alone: what cannot be served is refused with its reason and tried
again later, its current version stays, and every other model goes on, at start-up and later.
"""

import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from textgate.components.contracts import InputError, StoreError
from textgate.components.inference.device import Device
from textgate.components.inference.failures import describe, failures_as
from textgate.components.storage import CHAMPION, ModelRef, Registry, StoreConnectionError
from textgate.serving.channels import Channels
from textgate.serving.errors import ModelRefusedError
from textgate.serving.loading import OpeningTimeoutError
from textgate.serving.log import log_event
from textgate.serving.metrics import Metrics
from textgate.serving.model_table import ModelTable
from textgate.serving.refusals import Refusal, Refusals
from textgate.serving.served_model import Role, ServedModel, ServedVersion, TrafficSplit, channel_of
from textgate.serving.workspace import Workspace, check_names


@dataclass
class Repository:
    """Served models by name.

    Reading ``models`` and ``refused`` is safe from any thread. The other methods block, and exclude each other.
    """

    registry: Registry
    workspace: Path
    """Folder in which downloaded bundles and the last version of each channel are stored."""
    metrics: Metrics
    threads: int
    """Number of threads that predict."""
    traffic: TrafficSplit = field(default_factory=TrafficSplit)
    device: Device = "cpu"
    """Device that runs ONNX graphs."""

    def __post_init__(self) -> None:
        self.table = ModelTable(self.metrics, self.traffic.challenger_share)
        self.channels = Channels(self.registry)
        self._disk = Workspace(self.workspace, self.registry, self.threads, self.device)
        self._lock = threading.Lock()
        self._wanted: dict[str, ModelRef] = {}
        """Models to serve, whether they can be served at present or not."""
        self._adds_new_models = False
        self._unloaded: dict[str, str] = {}
        """Models that were unloaded, and their champions then; they are added again when the champion changes."""
        self._refusals = Refusals(self.metrics)
        self._restored: set[tuple[str, str]] = set()
        """Models and channels for which the version that was served last was tried."""
        self._logged: set[str] = set()
        """What is logged only once until it is over."""

    @property
    def models(self) -> dict[str, ServedModel]:
        """Served models by name."""
        return self.table.models

    @property
    def refused(self) -> list[Refusal]:
        """What cannot be served, sorted by model and channel."""
        return self._refusals.all()

    def start(self, targets: Sequence[ModelRef]) -> None:
        """Load the models to serve, and remember them for ``follow``.

        A model that cannot be served, or has no version yet, is logged and tried again by ``follow``. Without the
        store, the versions that were served last are loaded from disk.

        Args:
            targets: Models to serve; if empty, every model that has a champion, including those to come.
        """
        self._wanted = {target.model: target for target in targets}
        self._adds_new_models = not targets
        self.follow()

    def follow(self) -> None:
        """Update every model to what its channels point at, try again what is not served, and add new models.

        It never raises: what goes wrong with a model is logged and concerns this model only.
        """
        self.channels.outage = None
        if self._adds_new_models:
            self._run_step(self._add_new_models)
        for model in list(self._wanted):
            for role in self.traffic.roles:
                self._run_step(partial(self._follow_role, model, role), model, role)
        if self.channels.outage is None:
            self._logged.discard("outage")
        if self.models:
            self._logged.discard("no model")
        else:
            hint = "the first champion is loaded as soon as there is one: textgate run quickstart"
            self._log_once("no model", "no model to serve yet", hint=hint)

    def load(self, target: ModelRef) -> None:
        """Start to serve a model, or update it to its newest version.

        Raises:
            StoreError: If the store cannot be reached or fails.
            ModelRefusedError: If the version cannot be served; it is tried again later.
            InputError: If the model or channel does not exist.
        """
        with self._lock, failures_as(InputError):
            self.channels.outage = None
            check_names(target)
            version = target.version or self._read_or_refuse(target) or self.registry.resolve(target)
            self._wanted[target.model] = target
            self._unloaded.pop(target.model, None)
            self._refusals.remove(target.model, channel_of(target))
            served = self.models.get(target.model)
            if served is None or served.target != target or served.main.version != version:
                self._take_or_refuse(target, "main", version)
            for role in self.traffic.roles[1:]:
                self._follow_role(target.model, role)

    def unload(self, model: str) -> None:
        """Stop serving a model, or trying to; requests that are already running finish.

        Raises:
            InputError: If the model is neither served nor refused.
        """
        with self._lock:
            served = self.models.get(model)
            refusals = [refusal for refusal in self.refused if refusal.model == model]
            if served is None and not refusals:
                raise InputError(f"the model {model[:100]} is not served")
            refused_champions = [refusal.version for refusal in refusals if refusal.channel == CHAMPION]
            self._unloaded[model] = refused_champions[0] if refused_champions else served.main.version if served else ""
            self._wanted.pop(model, None)
            for refusal in refusals:
                self._refusals.remove(model, refusal.channel)
            self.table.remove(model)
            self._delete_unused()

    def _run_step(self, step: Callable[[], None], model: str = "", role: Role = "main") -> None:
        """Run a step of ``follow`` and log what it raises."""
        key, fields = f"store {model} {role}", {"model": model or None, "role": role if model else None}
        try:
            with self._lock, failures_as(InputError):
                step()
        except StoreConnectionError as error:
            self._log_once("outage", "the store does not answer", reason=describe(error))
        except StoreError as error:
            self._log_once(key, "the store failed: it is tried again soon", **fields, reason=describe(error))
        except InputError as error:
            event = "a model could not be updated" if model else "the registry could not be listed"
            log_event(event, logging.ERROR, error.__cause__, **fields, reason=describe(error))
        else:
            self._logged.discard(key)

    def _log_once(self, key: str, event: str, **fields: object) -> None:
        if key not in self._logged:
            self._logged.add(key)
            log_event(event, logging.WARNING, **fields)

    def _add_new_models(self) -> None:
        """Want every model of the registry; if the store is away at start-up, those that were served last."""
        try:
            names = self.channels.model_names()
        except StoreConnectionError:
            if not self.models:
                self._wanted |= {name: ModelRef(name) for name in self._disk.last_models()}
            raise
        for name in names:
            target, unloaded = ModelRef(name), self._unloaded.get(name)
            if name not in self._wanted and (unloaded is None or self.channels.has_moved(target, unloaded)):
                self._wanted[name] = target
                self._unloaded.pop(name, None)

    def _follow_role(self, model: str, role: Role) -> None:
        target = self._wanted.get(model)
        if target is None:  # unloaded since
            return
        if role == "main":
            self._follow_channel(target, role)
        elif model in self.models:
            self._follow_channel(ModelRef(model, role), role)  # the channel has the name of the role

    def _follow_channel(self, target: ModelRef, role: Role) -> None:
        """Load what a channel points at into a role, unless it is there already or was refused a moment ago.

        After a start, what cannot be loaded is replaced by what the channel served last.

        Raises:
            StoreError: If the store cannot be reached or fails.
        """
        model, channel, served = target.model, channel_of(target), self.models.get(target.model)
        current: ServedVersion | None = getattr(served, role) if served else None
        try:
            version = target.version or self._read_or_refuse(target)
            if version is None:
                self._empty(target, role)
            elif served and current and current.version == version and (role != "main" or served.target == target):
                self._refusals.remove(model, channel)
            elif not self._refusals.is_recent(model, channel, version):
                self._take_or_refuse(target, role, version)
        except (ModelRefusedError, StoreError) as error:
            if current is None:
                self._take_last(target, role)
            if isinstance(error, StoreError):
                raise

    def _empty(self, target: ModelRef, role: Role) -> None:
        """Serve nothing in the role of a channel that points at no version; a main version stays."""
        served = self.models.get(target.model)
        self._refusals.remove(target.model, channel_of(target))
        if served is None and not self._adds_new_models:
            key, reason = f"model {target.model}", self.channels.why_missing(target)
            self._log_once(key, "no version to serve yet", model=target.model, reason=reason)
        elif served is not None and role != "main" and getattr(served, role):
            self._put(served.with_version(role, None), target, None)

    def _take_or_refuse(self, target: ModelRef, role: Role, version: str) -> None:
        """Open a version and serve it in a role.

        Raises:
            StoreError: If the store cannot be reached or fails; the version is not refused for that.
            ModelRefusedError: If the version cannot be served.
        """
        try:
            opened = self._open(target, version)
        except StoreError as error:
            if isinstance(error, StoreConnectionError):
                self.channels.outage = error
            self._delete_unused()
            raise
        except InputError as error:
            retry_seconds = math.inf if isinstance(error, OpeningTimeoutError) else None
            self._refusals.add(target.model, channel_of(target), version, describe(error), retry_seconds)
            self._delete_unused()
            raise ModelRefusedError(describe(error)) from error
        # Before the log says that it is served.
        self._refusals.remove(target.model, channel_of(target))
        if target.model in self.models:
            self.metrics.swaps.labels(target.model, channel_of(target), "taken").inc()
        self._serve(target, role, opened)

    def _open(self, target: ModelRef, version: str) -> ServedVersion:
        with failures_as(InputError):
            check_names(target)
            served = self.models.get(target.model)
            for other in served.versions.values() if served else ():
                if other.version == version:
                    return other
            opened = self._disk.open(target.model, version, self.channels.outage)
            opened.test_f1 = self.channels.test_f1(target, version)
            return opened

    def _serve(self, target: ModelRef, role: Role, opened: ServedVersion) -> None:
        served = self.models.get(target.model)
        if served is None or role == "main":
            others = (served.challenger, served.shadow) if served else ()
            self._put(ServedModel(target, opened, *others), target, opened.version)
        else:
            self._put(served.with_version(role, opened), target, opened.version)

    def _take_last(self, target: ModelRef, role: Role) -> None:
        """After a start, serve the version of a channel that was served last, instead of one that cannot be served."""
        if (target.model, target.channel) in self._restored:
            return
        self._restored.add((target.model, target.channel))
        fields = {"model": target.model, "channel": target.channel}
        try:
            with failures_as(InputError):
                check_names(target)
                version = self._disk.last_version(target)
                if version is None or self._refusals.is_recent(target.model, target.channel, version):
                    return
                self._serve(target, role, self._open(target, version))
        except InputError as error:
            log_event("the version served last cannot be served", logging.WARNING, **fields, reason=describe(error))
        else:
            log_event("the version served last is served again", logging.WARNING, **fields, version=version)

    def _put(self, served: ServedModel, target: ModelRef, version: str | None) -> None:
        """Serve a model whose channel now has this version, and write that down before the predecessor is deleted."""
        self.table.put(served)
        self._disk.remember_version(target, version)
        self._delete_unused()

    def _delete_unused(self) -> None:
        """Delete bundles that are neither served nor tried again."""
        self._disk.delete_unused(
            self.table.versions_in_use() | {(refusal.model, refusal.version) for refusal in self.refused}
        )

    def _read_or_refuse(self, target: ModelRef) -> str | None:
        """Return the version that a channel points at, or None.

        Raises:
            StoreError: If the store cannot be reached or fails.
            ModelRefusedError: If the channel is damaged.
        """
        try:
            with failures_as(InputError):
                check_names(target)
                return self.channels.version(target)
        except StoreError:
            raise
        except InputError as error:
            if not self._refusals.is_recent(target.model, target.channel, ""):
                self._refusals.add(target.model, target.channel, "", describe(error))
            raise ModelRefusedError(describe(error)) from error
