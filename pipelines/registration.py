"""Register a model version in another registry, MLflow's or Kubeflow's, by the address of its bundle on S3.

The registry on S3 stays the truth: the other one gets the address, the fingerprint and the scores, no files. A version
that is registered already is left as it is.
"""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from textgate.components.contracts import ConflictError, InputError
from textgate.components.redaction import HIDDEN, redact
from textgate.components.storage import Registry

MLFLOW, MODEL_REGISTRY = "mlflow", "model-registry"
SERVER_VARIABLES = {MLFLOW: "MLFLOW_TRACKING_URI", MODEL_REGISTRY: "MODEL_REGISTRY_URL"}
"""Variable with the address of the server, by the scheme of ``--to``."""
_TITLES = {MLFLOW: "MLflow", MODEL_REGISTRY: "the Kubeflow Model Registry"}
_EXTRAS = {MLFLOW: "mlflow-skinny", MODEL_REGISTRY: "model-registry"}
_FINGERPRINT = "textgate.bundle_fingerprint"
_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


@dataclass(frozen=True)
class Registration:
    """What another registry is told about a version."""

    name: str
    """Name of the model there."""
    version: str
    """Version in the registry on S3."""
    uri: str
    """Address of the bundle on S3."""
    description: str
    """Why the version was promoted."""
    run: str | None
    """Run that promoted it; None if none did."""
    runtime: str
    """Runtime of the bundle, such as ``onnx``."""
    format_version: str
    """Version of the bundle's format."""
    tags: dict[str, str]
    """Fingerprints, names and scores."""

    @classmethod
    def of(cls, registry: Registry, model: str, version: str, name: str) -> "Registration":
        """Return the registration of a version of the registry under ``name``."""
        bundle = registry.bundle(model, version)
        updates = [update for update in registry.history(model) if update.version == version]
        last = updates[-1] if updates else None
        tags = {
            "textgate.model": model,
            "textgate.version": version,
            _FINGERPRINT: bundle.fingerprint,
            "textgate.dataset_fingerprint": bundle.dataset,
            "textgate.family": bundle.family,
            "textgate.labels": ", ".join(bundle.labels),
        }
        if last:
            tags["textgate.run"] = last.run
        decision = last.decision if last else None
        if decision and decision.score:
            tags[f"textgate.test_{decision.score.metric}"] = str(decision.score.value)
        return cls(
            name=name,
            version=version,
            uri=registry.store.uri(f"models/{model}/versions/{version}/"),
            description=last.reason if last else "",
            run=last.run if last else None,
            runtime=bundle.runtime.name,
            format_version=str(bundle.format_version),
            tags=tags,
        )


@dataclass(frozen=True)
class Registered:
    """Result of a registration."""

    id: str
    """Version or id in the other registry."""
    changed: bool
    """False if the version was registered already."""


def parse_address(uri: str) -> tuple[str, str] | None:
    """Return the scheme and the name of ``mlflow://NAME`` or ``model-registry://NAME``; None for another scheme.

    Raises:
        InputError: The URI names no model.
    """
    scheme, separator, name = uri.partition("://")
    if not separator or scheme not in SERVER_VARIABLES:
        return None
    if not re.fullmatch(r"[\w.-]+( [\w.-]+)*", name):
        raise InputError(f"{uri} names no model: write {scheme}://NAME, with letters, digits, '.', '_' and '-'")
    return scheme, name


def server_address(scheme: str, option: str | None) -> str:
    """Return the address of the server from the option or the environment.

    Raises:
        InputError: Neither names one.
    """
    variable = SERVER_VARIABLES[scheme]
    address = option or os.environ.get(variable, "").strip()
    if not address:
        raise InputError(f"--to {scheme}://… needs the server's address: give --server URL or set {variable}")
    return address


def register(scheme: str, server: str, registration: Registration) -> Registered:
    """Register a version in the registry of a scheme, unless it holds it already.

    Raises:
        InputError: The client is not installed, or the server cannot be reached or refuses.
        ConflictError: The server has another bundle under the name and version.
    """
    with _explained(scheme, server, registration.name):
        return (_in_mlflow if scheme == MLFLOW else _in_model_registry)(server, registration)


def _in_mlflow(server: str, registration: Registration) -> Registered:
    # Instead of seven retries of two minutes each.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from textgate.components.tracking.mlflow_run import find_run

    client, name = MlflowClient(server), registration.name
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    held = [one for one in client.search_model_versions(f"name='{name}'") if one.source == registration.uri]
    if held:
        _check_same(registration, held[0].tags.get(_FINGERPRINT, ""))
        return Registered(str(held[0].version), changed=False)
    created = client.create_model_version(
        name,
        registration.uri,
        run_id=find_run(client, registration.run) if registration.run else None,
        tags=registration.tags,
        description=registration.description,
    )
    return Registered(str(created.version), changed=True)


def _in_model_registry(server: str, registration: Registration) -> Registered:
    logging.getLogger("model-registry").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):  # that there is no token, and its deprecations
        from model_registry import ModelRegistry

        client = ModelRegistry(server, author="textgate", log_level=logging.ERROR)
        name, version = registration.name, registration.version
        held = client.get_model_version(name, version) if client.get_registered_model(name) else None
        if held is None:
            client.register_model(
                name,
                registration.uri,
                model_format_name=registration.runtime,
                model_format_version=registration.format_version,
                version=version,
                version_description=registration.description,
                metadata=registration.tags,
            )
            return Registered(str(client.get_model_version(name, version).id), changed=True)
        _check_same(registration, (held.custom_properties or {}).get(_FINGERPRINT, ""))
        if client.get_model_artifact(name, version) is not None:
            return Registered(str(held.id), changed=False)
        # An earlier registration was interrupted between the version and its artifact. No public method adds one.
        artifact = client._register_model_artifact(
            held,
            name,
            registration.uri,
            model_format_name=registration.runtime,
            model_format_version=registration.format_version,
        )
        client.async_runner(artifact)
        return Registered(str(held.id), changed=True)


def _check_same(registration: Registration, fingerprint: Any) -> None:
    if fingerprint != registration.tags[_FINGERPRINT]:
        other = str(fingerprint)[:12] or "unknown"
        raise ConflictError(
            f"{registration.name} holds {registration.version} with another bundle, {other}: publish under another name"
        )


@contextmanager
def _explained(scheme: str, server: str, name: str) -> Iterator[None]:
    """Raise errors of the clients as InputError with a message of one sentence that contains no secret."""
    title = _TITLES[scheme]
    try:
        yield
    except (InputError, ConflictError):
        raise
    except ImportError as error:
        package = _EXTRAS[scheme]
        raise InputError(f"{scheme}:// needs the package {package}: pip install {package}") from error
    except Exception as error:  # each client has its own kinds, and those of its transport
        message = " ".join(str(error).split()) or type(error).__name__
        for variable in _SECRETS:
            if secret := os.environ.get(variable):
                message = message.replace(secret, HIDDEN)
        raise InputError(
            f"{name} was not registered: {title} at {redact(server)} cannot be reached or refuses: {message[:500]}"
        ) from error
