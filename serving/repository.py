"""Models that the server serves: downloaded from the registry, checked, warmed up and kept up to date.

A new version is loaded while the current one serves, and replaces it in one assignment; requests that are already
running finish on the old version. If a new version cannot be read or fails its check, it is refused and the current one
stays. The last version of each channel is stored on disk, so that a restart works without the store.
"""

import logging
import shutil
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from textgate.components.contracts import InputError, OnnxRuntime
from textgate.components.inference import LoadedBundle, load_bundle
from textgate.components.storage import CHAMPION, ModelRef, Registry
from textgate.serving.batching import ServedVersion
from textgate.serving.errors import RequestError
from textgate.serving.log import log_event
from textgate.serving.metrics import Metrics
from textgate.serving.sampling import is_sampled

CHALLENGER, SHADOW = "challenger", "shadow"
_WARM_UP_TEXTS = [" ".join(["warm", "up"] * pairs) for pairs in (1, 2, 8, 32)]
_RETRY_SECONDS = 60.0
"""Time after which a refused version is tried again."""

_Role = Literal["main", "challenger", "shadow"]


@dataclass(frozen=True)
class TrafficSplit:
    """Shares of the requests (0 to 1) for the versions other than the main one."""

    challenger_share: float = 0.0
    """Share that the challenger answers."""
    shadow_share: float = 0.0
    """Share that the shadow answers in addition to the main version, for comparison only."""


@dataclass(frozen=True)
class ServedModel:
    """Versions of one model by role."""

    target: ModelRef
    main: ServedVersion
    challenger: ServedVersion | None = None
    shadow: ServedVersion | None = None

    @property
    def versions(self) -> dict[str, ServedVersion]:
        """Versions by channel; a main version that does not follow a channel has the key ``pinned``."""
        main = "pinned" if self.target.version else self.target.channel
        versions = {main: self.main, CHALLENGER: self.challenger, SHADOW: self.shadow}
        return {channel: version for channel, version in versions.items() if version is not None}


@dataclass
class Repository:
    """Served models by name.

    Reading ``models`` is safe from any thread. ``load``, ``unload`` and ``update`` block, and exclude each other.
    """

    registry: Registry
    workspace: Path
    """Folder in which downloaded bundles and the last version of each channel are stored."""
    metrics: Metrics
    threads: int
    """Number of threads that predict."""
    traffic: TrafficSplit = field(default_factory=TrafficSplit)
    models: dict[str, ServedModel] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _refused: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)
    """By model and channel: the refused version, and the time at which it may be tried again."""
    _downloaded: set[tuple[str, str]] = field(default_factory=set)
    """Models and versions that this process downloaded."""
    _tried: set[tuple[str, str]] = field(default_factory=set)
    """Models and versions that were loaded, successfully or not."""
    _store_is_away: bool = False

    def load(self, target: ModelRef) -> None:
        """Start to serve a model, or update it to its newest version.

        Raises:
            InputError: If the model, channel or version does not exist or cannot be served.
        """
        with self._lock:
            version = (
                target.version or self._channel_version(target.model, target.channel) or self.registry.resolve(target)
            )
            self._tried.add((target.model, version))
            served = self.models.get(target.model)
            if served is None or served.main.version != version or served.target != target:
                main = self._open(target.model, version)
                self._replace(ServedModel(target, main, *((served.challenger, served.shadow) if served else ())))
            self._update_other_roles(target.model)

    def unload(self, model: str) -> None:
        """Stop serving a model; requests that are already running finish.

        Raises:
            InputError: If the model is not served.
        """
        with self._lock:
            if model not in self.models:
                raise InputError(f"the model {model} is not served")
            self.models = {name: served for name, served in self.models.items() if name != model}
            self._publish_changes()
            log_event("unloaded", model=model)

    def update(self) -> None:
        """Update every model to the versions that its channels point at; errors are logged and tried again later."""
        for model, served in list(self.models.items()):
            with self._lock:
                if self.models.get(model) is not served:
                    continue
                if served.target.version is None:
                    self._update_role(model, served.target.channel, "main")
                self._update_other_roles(model)

    def load_new_models(self) -> None:
        """Load every model that has a champion; one that was refused or unloaded, only when its champion changes.

        Raises:
            InputError: If the store does not answer.
        """
        for model, channels in self.registry.models().items():
            champion = channels.get(CHAMPION)
            if champion is None or model in self.models or (model, champion) in self._tried:
                continue
            try:
                self.load(ModelRef(model))
            except InputError as error:
                log_event(
                    "version refused", logging.ERROR, model=model, channel=CHAMPION, version=champion, reason=str(error)
                )

    def find(self, model: str, version: str | None = None) -> ServedVersion:
        """Return a served version of a model; the main one if ``version`` is None.

        Raises:
            RequestError: 404 if it is not served.
        """
        served = self.models.get(model)
        if served is None:
            names = ", ".join(self.models) or "none"
            raise RequestError(404, f"no model {model[:100]!r} is served here; those that are: {names}")
        if version is None:
            return served.main
        by_name = {candidate.version: candidate for candidate in served.versions.values()}
        if version not in by_name:
            names = ", ".join(sorted(by_name))
            raise RequestError(404, f"the model {model} is not served in version {version[:100]!r}; it is in: {names}")
        return by_name[version]

    def choose(self, model: str, request_id: str) -> ServedVersion:
        """Return the version for a request: the challenger for its share of the request ids, else the main one.

        Raises:
            RequestError: 404 if the model is not served.
        """
        main = self.find(model)
        challenger = self.models[model].challenger
        return challenger if challenger and is_sampled(request_id, self.traffic.challenger_share, CHALLENGER) else main

    def _update_other_roles(self, model: str) -> None:
        if self.traffic.challenger_share:
            self._update_role(model, CHALLENGER, "challenger")
        if self.traffic.shadow_share > 0:
            self._update_role(model, SHADOW, "shadow")

    def _update_role(self, model: str, channel: str, role: _Role) -> None:
        """Load the version that ``channel`` points at into ``role``, unless it is there already or is refused."""
        served = self.models[model]
        current: ServedVersion | None = getattr(served, role)
        try:
            version = self._channel_version(model, channel)
        except InputError as error:
            if not self._store_is_away:
                log_event("the store does not answer", logging.WARNING, model=model, reason=str(error))
            self._store_is_away = True
            return
        self._store_is_away = False
        if version == (current.version if current else None) or (version is None and role == "main"):
            return
        refused = self._refused.get((model, channel))
        if refused and refused[0] == version and time.monotonic() < refused[1]:
            return
        try:
            opened = self._open(model, version) if version else None
        except InputError as error:
            log_event(
                "version refused", logging.ERROR, model=model, channel=channel, version=version, reason=str(error)
            )
            self.metrics.swaps.labels(model, channel, "refused").inc()
            self._refused[model, channel] = (version or "", time.monotonic() + _RETRY_SECONDS)
            return
        self.metrics.swaps.labels(model, channel, "taken").inc()
        match role, opened:
            case "main", ServedVersion():
                self._replace(replace(served, main=opened))
            case "challenger", _:
                self._replace(replace(served, challenger=opened))
            case _:
                self._replace(replace(served, shadow=opened))

    def _replace(self, served: ServedModel) -> None:
        self.models = dict(sorted({**self.models, served.target.model: served}.items()))
        self._publish_changes()

    def _publish_changes(self) -> None:
        """Update metrics and log, and delete downloaded bundles that are not served any more."""
        self.metrics.serving.clear()
        in_use = set()
        for model, served in self.models.items():
            for channel, version in served.versions.items():
                self.metrics.serving.labels(model, version.version, channel).set(1)
                in_use.add((model, version.version))
            versions = {channel: version.version for channel, version in served.versions.items()}
            log_event("serving", model=model, versions=versions)
        for model, name in sorted(self._downloaded - in_use):
            shutil.rmtree(self._folder(model, name), ignore_errors=True)
        self._downloaded &= in_use

    def _channel_version(self, model: str, channel: str) -> str | None:
        """Return the version that a channel points at.

        If the store does not answer while the server starts, the last version that was seen is returned.
        """
        last_seen = self.workspace / "channels" / model / channel
        try:
            pointer = self.registry.channel(model, channel)
        except InputError as error:
            if model in self.models or not last_seen.exists():
                raise
            log_event("the store does not answer: serving the last known version", logging.WARNING, reason=str(error))
            return last_seen.read_text("utf-8")
        if pointer is None:
            return None
        last_seen.parent.mkdir(parents=True, exist_ok=True)
        new_file = last_seen.with_name(f"{channel}.new")
        new_file.write_text(pointer.version, "utf-8")
        new_file.replace(last_seen)
        return pointer.version

    def _open(self, model: str, version: str) -> ServedVersion:
        """Return a version that is checked and warmed up; download it unless it is served or on disk undamaged."""
        for served in self.models[model].versions.values() if model in self.models else ():
            if served.version == version:
                return served
        folder = self._folder(model, version)
        if folder.exists():
            try:
                return self._warm_up(model, version, folder)
            except InputError as error:
                log_event("downloaded again", logging.WARNING, model=model, version=version, reason=str(error))
                shutil.rmtree(folder)
        self.registry.download(model, version, folder)
        self._downloaded.add((model, version))
        return self._warm_up(model, version, folder)

    def _warm_up(self, model: str, version: str, folder: Path) -> ServedVersion:
        """Load a bundle, run it once on a few texts, and measure its processing time."""
        loaded = load_bundle(folder, threads=1)
        if not loaded.bundle.fingerprint.startswith(version):
            raise InputError(f"the version {version} contains the bundle {loaded.bundle.fingerprint[:12]}")
        served = ServedVersion(model, version, loaded, self._load_parallel(folder, loaded))
        for _ in range(2):
            served.parallel.predict_proba(_WARM_UP_TEXTS)
            started = time.perf_counter()
            loaded.predict_proba(_WARM_UP_TEXTS)
            served.record_timing(time.perf_counter() - started, sum(map(served.cost, _WARM_UP_TEXTS)))
        return served

    def _load_parallel(self, folder: Path, loaded: LoadedBundle) -> LoadedBundle:
        """Return the bundle of ``loaded`` with a predictor that uses all threads."""
        runtime = loaded.bundle.runtime
        if self.threads == 1 or not isinstance(runtime, OnnxRuntime):
            return loaded
        from textgate.components.inference.onnx import OnnxPredictor

        return replace(
            loaded, predictor=OnnxPredictor(folder, loaded.bundle.normalizer, runtime, self.threads, in_server=True)
        )

    def _folder(self, model: str, version: str) -> Path:
        return self.workspace / "models" / model / version
