"""Client of the Kubeflow Pipelines API: pipelines, runs and schedules.

It uses the client that is generated from the API (kfp_server_api) rather than ``kfp.Client``, which prints its
progress, writes a file to the home directory, and retries an unreachable host for 25 seconds with tracebacks.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import kfp_server_api as kfp_api
from urllib3.exceptions import HTTPError

from textgate.components.contracts import InputError

_TIMEOUT = (5, 60)
"""Seconds to connect and to read."""
_ERROR_CHARACTERS = 300
# Copied from kfp.client, whose import takes a second.
_POD_TOKEN = "/var/run/secrets/kubeflow/pipelines/token"  # noqa: S105 (a path)
_POD_TOKEN_ENV = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105


class UnavailableError(Exception):
    """The API server cannot be reached or failed; a retry may succeed."""


class NotFoundError(InputError):
    """The server has no such object."""


@dataclass(frozen=True)
class Credentials:
    """Credentials of the caller; they are never printed."""

    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    """File that is read for every request, because a service account's token is replaced every hour."""
    cookies: str | None = field(default=None, repr=False)

    @classmethod
    def find(cls, token_env: str | None, token_file: Path | None, cookies_env: str | None) -> "Credentials":
        """Read credentials from the given environment variables and file; by default use the token of the pod, if any.

        Raises:
            InputError: A variable is not set.
        """
        in_pod = Path(os.environ.get(_POD_TOKEN_ENV) or _POD_TOKEN)
        if not (token_env or token_file or cookies_env) and in_pod.exists():
            token_file = in_pod
        return cls(_variable("--token-env", token_env), token_file, _variable("--cookies-env", cookies_env))


@dataclass(frozen=True)
class Cluster:
    """One API server.

    Every method raises InputError for a wrong request, and UnavailableError if the server cannot be reached or fails.
    """

    endpoint: str
    namespace: str | None
    credentials: Credentials

    @cached_property
    def api(self) -> "_Api":
        """HTTP client."""
        if not self.endpoint.startswith(("http://", "https://")):
            raise InputError(f"--endpoint {self.endpoint} is no address: it begins with https:// or http://")
        return _Api(self.endpoint.rstrip("/"), self.credentials)

    def check(self) -> None:
        """Check that the server answers and accepts the credentials."""
        kfp_api.HealthzServiceApi(self.api).healthz_service_get_healthz()

    def page(self, run: str) -> str:
        """Return the URL of a run's page."""
        return f"{self.endpoint.rstrip('/')}/#/runs/details/{run}"

    def upload(self, name: str, description: str, version: str, file: Path) -> tuple[str, str]:
        """Upload a version of a pipeline unless it exists; return the ids of the pipeline and of the version."""
        pipelines = kfp_api.PipelineServiceApi(self.api)
        existing = pipelines.pipeline_service_list_pipelines(
            namespace=self.namespace, filter=_equal("display_name", name)
        ).pipelines
        if existing:
            pipeline = existing[0]
        else:
            request = kfp_api.V2beta1Pipeline(
                name=name, display_name=name, description=description, namespace=self.namespace
            )
            pipeline = pipelines.pipeline_service_create_pipeline(pipeline=request)
        versions = pipelines.pipeline_service_list_pipeline_versions(
            pipeline.pipeline_id, filter=_equal("display_name", version)
        ).pipeline_versions
        if versions:
            return pipeline.pipeline_id, versions[0].pipeline_version_id
        uploaded = kfp_api.PipelineUploadServiceApi(self.api).upload_pipeline_version(
            str(file), name=version, pipelineid=pipeline.pipeline_id
        )
        return pipeline.pipeline_id, uploaded.pipeline_version_id

    def experiment(self, name: str) -> str:
        """Create an experiment unless it exists; return its id."""
        experiments = kfp_api.ExperimentServiceApi(self.api)
        existing = experiments.experiment_service_list_experiments(
            namespace=self.namespace or "", filter=_equal("display_name", name)
        ).experiments
        if existing:
            return str(existing[0].experiment_id)
        request = kfp_api.V2beta1Experiment(display_name=name, namespace=self.namespace)
        return str(experiments.experiment_service_create_experiment(experiment=request).experiment_id)

    def start(self, name: str, experiment: str, pipeline: tuple[str, str], parameters: dict[str, Any]) -> str:
        """Start a run; return its id."""
        request = kfp_api.V2beta1Run(
            display_name=name,
            experiment_id=experiment,
            pipeline_version_reference=_reference(pipeline),
            runtime_config=kfp_api.V2beta1RuntimeConfig(parameters=parameters),
        )
        return str(kfp_api.RunServiceApi(self.api).run_service_create_run(run=request).run_id)

    def run(self, run: str) -> Any:
        """Return a run with the current states of its tasks (V2beta1Run)."""
        return kfp_api.RunServiceApi(self.api).run_service_get_run(run)

    def state(self, run: str) -> str | None:
        """Return the state of a run, or None if it was deleted."""
        try:
            return str(self.run(run).state)
        except NotFoundError:
            return None

    def log(self, run: str, pod: str) -> str:
        """Return the log of a pod of a run; empty if the cluster does not keep logs.

        The endpoint is not part of the generated client; see backend/src/apiserver/main.go of kubeflow/pipelines.
        """
        try:
            self.api.call_api(
                "/apis/v1alpha1/runs/{run}/nodes/{pod}/log",
                "GET",
                {"run": run, "pod": pod},
                [],
                {},
                auth_settings=["Bearer"],
            )
        except (InputError, UnavailableError):
            return ""
        text = str(self.api.last_response.data)
        # The server sends status 200 before it looks for the log, so a failure arrives as a body.
        return "" if text.startswith('{"error_message"') else text

    def schedule(
        self, name: str, experiment: str, pipeline: tuple[str, str], parameters: dict[str, Any], cron: str
    ) -> Any:
        """Create a recurring run (V2beta1RecurringRun) without concurrent runs and without catching up on missed ones.

        Args:
            name: Name of the schedule.
            experiment: Id of the experiment.
            pipeline: Ids of the pipeline and of its version.
            parameters: Parameters of the pipeline.
            cron: Cron expression with six fields, see ``six_fields``.

        Raises:
            InputError: A schedule with this name exists.
        """
        if any(one.display_name == name for one in self.schedules()):
            raise InputError(
                f"there is a schedule {name} already: delete it first (textgate schedule delete {name}), or give "
                "another --name"
            )
        request = kfp_api.V2beta1RecurringRun(
            display_name=name,
            experiment_id=experiment,
            pipeline_version_reference=_reference(pipeline),
            runtime_config=kfp_api.V2beta1RuntimeConfig(parameters=parameters),
            trigger=kfp_api.V2beta1Trigger(cron_schedule=kfp_api.V2beta1CronSchedule(cron=cron)),
            mode=kfp_api.RecurringRunMode.ENABLE,
            max_concurrency="1",
            no_catchup=True,
        )
        return self._recurring.recurring_run_service_create_recurring_run(recurring_run=request)

    def schedules(self) -> Iterator[Any]:
        """Yield every recurring run of the namespace (V2beta1RecurringRun)."""
        page: str | None = ""
        while page is not None:
            response = self._recurring.recurring_run_service_list_recurring_runs(
                page_token=page, page_size=100, namespace=self.namespace or ""
            )
            yield from response.recurring_runs or []
            page = response.next_page_token or None

    def pause(self, schedule: str) -> Any:
        """Pause a schedule, given by name or id; return it."""
        identifier = self._schedule(schedule).recurring_run_id
        self._recurring.recurring_run_service_disable_recurring_run(identifier)
        return self._recurring.recurring_run_service_get_recurring_run(identifier)

    def resume(self, schedule: str) -> Any:
        """Resume a paused schedule, given by name or id; return it."""
        identifier = self._schedule(schedule).recurring_run_id
        self._recurring.recurring_run_service_enable_recurring_run(identifier)
        return self._recurring.recurring_run_service_get_recurring_run(identifier)

    def delete(self, schedule: str) -> Any:
        """Delete a schedule, given by name or id, but not its runs; return it."""
        recurring = self._schedule(schedule)
        self._recurring.recurring_run_service_delete_recurring_run(recurring.recurring_run_id)
        return recurring

    @property
    def _recurring(self) -> Any:
        return kfp_api.RecurringRunServiceApi(self.api)

    def _schedule(self, name_or_id: str) -> Any:
        schedules = list(self.schedules())
        matches = [one for one in schedules if name_or_id in (one.display_name, one.recurring_run_id)]
        if not matches:
            names = ", ".join(sorted(one.display_name for one in schedules)) or "none"
            raise InputError(f"there is no schedule {name_or_id}; there are {names}")
        if len(matches) > 1:
            raise InputError(f"several schedules are called {name_or_id}: give the identifier (textgate schedule list)")
        return matches[0]


class _Api(kfp_api.ApiClient):  # type: ignore[misc]
    """Generated client with a timeout per request and error messages of one sentence."""

    def __init__(self, endpoint: str, credentials: Credentials) -> None:
        configuration = kfp_api.Configuration(host=endpoint)
        configuration.ssl_ca_cert = os.environ.get("SSL_CERT_FILE") or None
        if credentials.token or credentials.token_file:
            configuration.api_key["authorization"] = credentials.token
            configuration.api_key_prefix["authorization"] = "Bearer"
        if credentials.token_file:
            configuration.refresh_api_key_hook = _token_reader(credentials.token_file)
        super().__init__(configuration, cookie=credentials.cookies)

    def request(self, method: str, url: str, **options: Any) -> Any:
        server = f"Kubeflow Pipelines at {self.configuration.host}"
        options["_request_timeout"] = _TIMEOUT
        try:
            response = super().request(method, url, **options)
        except kfp_api.ApiException as error:
            raise _explained(server, error) from error
        except (HTTPError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise UnavailableError(f"{server} cannot be reached: {str(reason).rpartition(': ')[2]}") from error
        if "text/html" in (response.getheader("content-type") or ""):
            raise InputError(f"{server} returned an HTML page instead of JSON: sign in again, or correct --endpoint")
        return response


def _explained(server: str, error: Any) -> Exception:
    if error.status in (401, 403):
        return InputError(
            f"{server} refuses these credentials ({error.status} {error.reason}): the token or cookie has expired or "
            "may not do this; give a new one with --token-file, --token-env or --cookies-env"
        )
    message = _message(error.body) or error.reason
    if error.status == 404:
        return NotFoundError(f"{server} has no such resource: {message}")
    if error.status and 400 <= error.status < 500 and error.status != 429:
        return InputError(f"{server} answered {error.status}: {message}")
    return UnavailableError(f"{server} failed: {error.status or 'no answer'} {message}")


def _message(body: bytes | str | None) -> str:
    """Return the server's error message on one line."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    try:
        error = json.loads(text)
        text = error.get("message") or error.get("error_message") or error.get("error") or text
    except (ValueError, AttributeError):
        pass
    return " ".join(str(text).split())[:_ERROR_CHARACTERS]


def _token_reader(file: Path) -> Callable[[Any], None]:
    def read(configuration: Any) -> None:
        try:
            configuration.api_key["authorization"] = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the token file {file} cannot be read: {error}") from error

    return read


def _variable(option: str, name: str | None) -> str | None:
    if name is None:
        return None
    value = os.environ.get(name, "").strip()
    if not value:
        raise InputError(f"{option} {name}: there is no such variable in the environment, or it is empty")
    return value


def _equal(key: str, value: str) -> str:
    """Return a filter of the API; see backend/api/v2beta1/filter.proto."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": value}]})


def _reference(pipeline: tuple[str, str]) -> Any:
    return kfp_api.V2beta1PipelineVersionReference(pipeline_id=pipeline[0], pipeline_version_id=pipeline[1])
