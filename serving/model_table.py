"""The models that are served, by name, and the choice of the version that answers a request."""

from dataclasses import dataclass, field

from textgate.serving.errors import RequestError, list_names
from textgate.serving.log import log_event
from textgate.serving.metrics import Metrics
from textgate.serving.sampling import is_sampled
from textgate.serving.served_model import CHALLENGER, ServedModel, ServedVersion


@dataclass
class ModelTable:
    """Served models by name. Reading is safe from any thread, since ``models`` is replaced and never changed."""

    metrics: Metrics
    challenger_share: float
    """Share of the requests, 0 to 1, that the challenger answers."""
    models: dict[str, ServedModel] = field(default_factory=dict)

    def put(self, served: ServedModel) -> None:
        """Serve a model, or replace its versions."""
        self.models = dict(sorted({**self.models, served.target.model: served}.items()))
        self._publish()
        versions = {channel: version.version for channel, version in served.versions.items()}
        log_event("serving", model=served.target.model, versions=versions)

    def remove(self, model: str) -> None:
        """Stop serving a model, if it is served; requests that are already running finish."""
        self.models = {name: served for name, served in self.models.items() if name != model}
        self._publish()
        log_event("unloaded", model=model)

    def versions_in_use(self) -> set[tuple[str, str]]:
        """Return model and version of everything that is served."""
        return {(name, version.version) for name, model in self.models.items() for version in model.versions.values()}

    def find(self, model: str, version: str | None = None) -> ServedVersion:
        """Return a served version of a model; the main one if ``version`` is None.

        Raises:
            RequestError: 404 if it is not served.
        """
        served = self.models.get(model)
        if served is None:
            names = list_names(self.models)
            raise RequestError(404, f"no model {model[:100]!r} is served here; those that are: {names}")
        if version is None:
            return served.main
        by_name = {candidate.version: candidate for candidate in served.versions.values()}
        if version not in by_name:
            names = list_names(sorted(by_name))
            raise RequestError(404, f"the model {model} is not served in version {version[:100]!r}; it is in: {names}")
        return by_name[version]

    def choose(self, model: str, request_id: str) -> ServedVersion:
        """Return the version for a request: the challenger for its share of the request ids, else the main one.

        Raises:
            RequestError: 404 if the model is not served.
        """
        main, served = self.find(model), self.models.get(model)
        challenger = served.challenger if served else None
        return challenger if challenger and is_sampled(request_id, self.challenger_share, CHALLENGER) else main

    def _publish(self) -> None:
        """Update the metric of the served versions."""
        self.metrics.serving.clear()
        for model, served in self.models.items():
            for channel, version in served.versions.items():
                self.metrics.serving.labels(model, version.version, channel).set(1)
