"""The models a server answers with: taken from the registry, checked, warmed up, and followed as their channels move.

A new version is made ready beside the one that answers and takes its place in one assignment; what was asked before is
answered by the old one, which is let go of with its last request. A version that cannot be read or fails its check is
refused, and the one before goes on. Each channel's last good version is remembered on disk, so that a restart needs no
store.
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
from textgate.serving.batching import Version
from textgate.serving.errors import RequestError
from textgate.serving.log import log_event
from textgate.serving.metrics import Metrics
from textgate.serving.sampling import sampled

CHALLENGER, SHADOW = "challenger", "shadow"
_WARM_UP = [" ".join(["warm", "up"] * pairs) for pairs in (1, 2, 8, 32)]
_RETRY_SECONDS = 60.0
"""Until a version that was refused is tried again."""


@dataclass(frozen=True)
class Served:
    """The versions that answer for one model, by role."""

    target: ModelRef
    main: Version
    challenger: Version | None = None
    shadow: Version | None = None

    @property
    def versions(self) -> dict[str, Version]:
        """By channel; a version given for good stands under ``pinned``."""
        main = "pinned" if self.target.version else self.target.channel
        found = {main: self.main, CHALLENGER: self.challenger, SHADOW: self.shadow}
        return {channel: version for channel, version in found.items() if version is not None}


@dataclass
class Repository:
    """Models by name. Reading is safe from any thread; ``load``, ``unload`` and ``follow`` block and take turns."""

    registry: Registry
    home: Path
    metrics: Metrics
    threads: int
    """That predict: each for itself, or together where there is a single request."""
    challenger_share: float = 0.0
    """Of the requests, 0 to 1, that go to a model's challenger when it has one."""
    shadow: bool = False
    """Whether what the channel ``shadow`` points at is loaded too."""
    models: dict[str, Served] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _refused: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)
    _fetched: set[tuple[str, str]] = field(default_factory=set)
    _tried: set[tuple[str, str]] = field(default_factory=set)
    _store_is_away: bool = False

    def load(self, target: ModelRef) -> None:
        """Serve a model, or look for its newest version now.

        Raises:
            InputError: no such model, channel or version, or it cannot be served.
        """
        with self._turn:
            version = target.version or self._pointed_at(target.model, target.channel) or self.registry.resolve(target)
            self._tried.add((target.model, version))
            served = self.models.get(target.model)
            if served is None or served.main.version != version or served.target != target:
                opened = self._open(target.model, version)
                self._replace(Served(target, opened, *((served.challenger, served.shadow) if served else ())))
            self._follow_beside(target.model)

    def unload(self, model: str) -> None:
        """Serve a model no longer; what was asked of it before is still answered.

        Raises:
            InputError: it is not served.
        """
        with self._turn:
            if model not in self.models:
                raise InputError(f"the model {model} is not served")
            self.models = {name: served for name, served in self.models.items() if name != model}
            self._changed()
            log_event("unloaded", model=model)

    def follow(self) -> None:
        """Bring every model to where its channels point now. What goes wrong is logged and tried again next time."""
        for model, served in list(self.models.items()):
            with self._turn:
                if self.models.get(model) is not served:
                    continue
                if served.target.version is None:
                    self._swap(model, served.target.channel, "main")
                self._follow_beside(model)

    def take_in(self) -> None:
        """Serve every model that has got a champion; one that was refused or unloaded, when its champion moves.

        Raises:
            InputError: the store does not answer.
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

    def find(self, model: str, version: str | None = None) -> Version:
        """A version that is served; the main one of the model when none is named.

        Raises:
            RequestError: 404, it is not served.
        """
        served = self.models.get(model)
        if served is None:
            names = ", ".join(self.models) or "none"
            raise RequestError(404, f"no model {model[:100]!r} is served here; those that are: {names}")
        if version is None:
            return served.main
        known = {found.version: found for found in served.versions.values()}
        if version not in known:
            names = ", ".join(sorted(known))
            raise RequestError(404, f"the model {model} is not served in version {version[:100]!r}; it is in: {names}")
        return known[version]

    def choose(self, model: str, request_id: str) -> Version:
        """The version that answers a request: by its id the challenger or the main one.

        Raises:
            RequestError: 404, the model is not served.
        """
        main = self.find(model)
        challenger = self.models[model].challenger
        return challenger if challenger and sampled(request_id, self.challenger_share, CHALLENGER) else main

    def _follow_beside(self, model: str) -> None:
        if self.challenger_share:
            self._swap(model, CHALLENGER, "challenger")
        if self.shadow:
            self._swap(model, SHADOW, "shadow")

    def _swap(self, model: str, channel: str, role: Literal["main", "challenger", "shadow"]) -> None:
        """Put what ``channel`` points at into its ``role``, if it can be."""
        served = self.models[model]
        current: Version | None = getattr(served, role)
        try:
            pointed = self._pointed_at(model, channel)
        except InputError as error:
            if not self._store_is_away:
                log_event("the store does not answer", logging.WARNING, model=model, reason=str(error))
            self._store_is_away = True
            return
        self._store_is_away = False
        if pointed == (current.version if current else None) or (pointed is None and role == "main"):
            return
        refused = self._refused.get((model, channel))
        if refused and refused[0] == pointed and time.monotonic() < refused[1]:
            return
        try:
            opened = self._open(model, pointed) if pointed else None
        except InputError as error:
            log_event(
                "version refused", logging.ERROR, model=model, channel=channel, version=pointed, reason=str(error)
            )
            self.metrics.swaps.labels(model, channel, "refused").inc()
            self._refused[model, channel] = (pointed or "", time.monotonic() + _RETRY_SECONDS)
            return
        self.metrics.swaps.labels(model, channel, "taken").inc()
        match role, opened:
            case "main", Version():
                self._replace(replace(served, main=opened))
            case "challenger", _:
                self._replace(replace(served, challenger=opened))
            case _:
                self._replace(replace(served, shadow=opened))

    def _replace(self, served: Served) -> None:
        self.models = dict(sorted({**self.models, served.target.model: served}.items()))
        self._changed()

    def _changed(self) -> None:
        """Show what answers now, and remove from the disk what was fetched and answers no longer."""
        self.metrics.serving.clear()
        answering = set()
        for model, served in self.models.items():
            for channel, version in served.versions.items():
                self.metrics.serving.labels(model, version.version, channel).set(1)
                answering.add((model, version.version))
            versions = {channel: version.version for channel, version in served.versions.items()}
            log_event("serving", model=model, versions=versions)
        for model, name in sorted(self._fetched - answering):
            shutil.rmtree(self._folder(model, name), ignore_errors=True)
        self._fetched &= answering

    def _pointed_at(self, model: str, channel: str) -> str | None:
        """The version a channel points at; at the start, as last seen when the store does not answer."""
        seen = self.home / "channels" / model / channel
        try:
            move = self.registry.channel(model, channel)
        except InputError as error:
            if model in self.models or not seen.exists():
                raise
            log_event("the store does not answer: served is what was last seen", logging.WARNING, reason=str(error))
            return seen.read_text("utf-8")
        if move is None:
            return None
        seen.parent.mkdir(parents=True, exist_ok=True)
        written = seen.with_name(f"{channel}.new")
        written.write_text(move.version, "utf-8")
        written.replace(seen)
        return move.version

    def _open(self, model: str, version: str) -> Version:
        """Read, check and warm up a version, from the disk if it lies there undamaged; one that answers is ready."""
        for found in self.models[model].versions.values() if model in self.models else ():
            if found.version == version:
                return found
        folder = self._folder(model, version)
        if folder.exists():
            try:
                return self._warmed(model, version, folder)
            except InputError as error:
                log_event("fetched again", logging.WARNING, model=model, version=version, reason=str(error))
                shutil.rmtree(folder)
        self.registry.download(model, version, folder)
        self._fetched.add((model, version))
        return self._warmed(model, version, folder)

    def _warmed(self, model: str, version: str, folder: Path) -> Version:
        """Ready to answer, its pace known."""
        each = load_bundle(folder, threads=1)
        if not each.bundle.fingerprint.startswith(version):
            raise InputError(f"what lies under {version} is the bundle {each.bundle.fingerprint[:12]}")
        ready = Version(model, version, each, self._together(folder, each))
        for _ in range(2):
            ready.together.predict_proba(_WARM_UP)
            started = time.perf_counter()
            each.predict_proba(_WARM_UP)
            ready.measured(time.perf_counter() - started, sum(map(ready.weight, _WARM_UP)))
        return ready

    def _together(self, folder: Path, each: LoadedBundle) -> LoadedBundle:
        """What answers with all threads as ``each`` does with one."""
        runtime = each.bundle.runtime
        if self.threads == 1 or not isinstance(runtime, OnnxRuntime):
            return each
        from textgate.components.inference.onnx import OnnxPredictor

        return replace(
            each, predictor=OnnxPredictor(folder, each.bundle.normalizer, runtime, self.threads, in_server=True)
        )

    def _folder(self, model: str, version: str) -> Path:
        return self.home / "models" / model / version
