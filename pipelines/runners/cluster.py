"""The API of Kubeflow Pipelines: upload, run, look, schedule.

On kfp's client as it is generated from the API (kfp_server_api), and not on ``kfp.Client`` around it, which prints what
it does, keeps a file in the home folder, and tries for 25 seconds, with tracebacks, to reach a host that is not there.
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
"""Seconds to connect, and to answer."""
_ERROR_CHARACTERS = 300
# As kfp.client has them, whose import takes a second.
_POD_TOKEN = "/var/run/secrets/kubeflow/pipelines/token"  # noqa: S105 (a path)
_POD_TOKEN_ENV = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105


class UnavailableError(Exception):
    """The API server cannot be reached or fails; the same may work later."""


class NotFoundError(InputError):
    """There is no such thing on the server."""


@dataclass(frozen=True)
class Credentials:
    """Who asks. Nothing of it is ever shown."""

    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    """Read again for every request, because a service account's token is replaced every hour."""
    cookies: str | None = field(default=None, repr=False)

    @classmethod
    def find(cls, token_env: str | None, token_file: Path | None, cookies_env: str | None) -> "Credentials":
        """From the variables and the file that are named, or the token that a pod finds in its usual place, or nothing.

        Raises:
            InputError: a variable is not set.
        """
        in_pod = Path(os.environ.get(_POD_TOKEN_ENV) or _POD_TOKEN)
        if not (token_env or token_file or cookies_env) and in_pod.exists():
            token_file = in_pod
        return cls(_variable("--token-env", token_env), token_file, _variable("--cookies-env", cookies_env))


@dataclass(frozen=True)
class Cluster:
    """One API server; every method raises InputError for what the caller can mend, otherwise UnavailableError."""

    endpoint: str
    namespace: str | None
    credentials: Credentials

    @cached_property
    def api(self) -> "_Api":
        """The connection."""
        if not self.endpoint.startswith(("http://", "https://")):
            raise InputError(f"--endpoint {self.endpoint} is no address: it begins with https:// or http://")
        return _Api(self.endpoint.rstrip("/"), self.credentials)

    def check(self) -> None:
        """See that it answers, and lets the caller in."""
        kfp_api.HealthzServiceApi(self.api).healthz_service_get_healthz()

    def page(self, run: str) -> str:
        """Address of a run's page."""
        return f"{self.endpoint.rstrip('/')}/#/runs/details/{run}"

    def upload(self, name: str, description: str, version: str, file: Path) -> tuple[str, str]:
        """Identifiers of the pipeline ``name`` and of its ``version``, either of which is made where there is none."""
        pipelines = kfp_api.PipelineServiceApi(self.api)
        found = pipelines.pipeline_service_list_pipelines(namespace=self.namespace, filter=_equal("display_name", name))
        if found.pipelines:
            pipeline = found.pipelines[0]
        else:
            wanted = kfp_api.V2beta1Pipeline(
                name=name, display_name=name, description=description, namespace=self.namespace
            )
            pipeline = pipelines.pipeline_service_create_pipeline(pipeline=wanted)
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
        """Identifier of the experiment, which is made where there is none."""
        experiments = kfp_api.ExperimentServiceApi(self.api)
        found = experiments.experiment_service_list_experiments(
            namespace=self.namespace or "", filter=_equal("display_name", name)
        )
        if found.experiments:
            return str(found.experiments[0].experiment_id)
        wanted = kfp_api.V2beta1Experiment(display_name=name, namespace=self.namespace)
        return str(experiments.experiment_service_create_experiment(experiment=wanted).experiment_id)

    def start(self, name: str, experiment: str, pipeline: tuple[str, str], parameters: dict[str, str]) -> str:
        """Start a run; returns its identifier."""
        wanted = kfp_api.V2beta1Run(
            display_name=name,
            experiment_id=experiment,
            pipeline_version_reference=_reference(pipeline),
            runtime_config=kfp_api.V2beta1RuntimeConfig(parameters=parameters),
        )
        return str(kfp_api.RunServiceApi(self.api).run_service_create_run(run=wanted).run_id)

    def run(self, run: str) -> Any:
        """A run with what became of its tasks so far, a V2beta1Run."""
        return kfp_api.RunServiceApi(self.api).run_service_get_run(run)

    def state(self, run: str) -> str | None:
        """A run's state, or None where there is no such run any more."""
        try:
            return str(self.run(run).state)
        except NotFoundError:
            return None

    def log(self, run: str, pod: str) -> str:
        """What a pod of a run printed; empty where that is not kept.

        This is not in the generated client: backend/src/apiserver/main.go of kubeflow/pipelines serves it.
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
        # The status is sent before the log is looked for, so that a failure comes as an answer.
        return "" if text.startswith('{"error_message"') else text

    def schedule(
        self, name: str, experiment: str, pipeline: tuple[str, str], parameters: dict[str, str], cron: str
    ) -> Any:
        """Make a recurring run: one at a time, and none is caught up on. ``cron`` has six fields."""
        if any(one.display_name == name for one in self.schedules()):
            raise InputError(
                f"there is a schedule {name} already: delete it first (textgate schedule delete {name}), or give "
                "another --name"
            )
        wanted = kfp_api.V2beta1RecurringRun(
            display_name=name,
            experiment_id=experiment,
            pipeline_version_reference=_reference(pipeline),
            runtime_config=kfp_api.V2beta1RuntimeConfig(parameters=parameters),
            trigger=kfp_api.V2beta1Trigger(cron_schedule=kfp_api.V2beta1CronSchedule(cron=cron)),
            mode=kfp_api.RecurringRunMode.ENABLE,
            max_concurrency="1",
            no_catchup=True,
        )
        return self._recurring.recurring_run_service_create_recurring_run(recurring_run=wanted)

    def schedules(self) -> Iterator[Any]:
        """Every recurring run of the namespace, a V2beta1RecurringRun each."""
        page: str | None = ""
        while page is not None:
            answer = self._recurring.recurring_run_service_list_recurring_runs(
                page_token=page, page_size=100, namespace=self.namespace or ""
            )
            yield from answer.recurring_runs or []
            page = answer.next_page_token or None

    def pause(self, schedule: str) -> Any:
        """Start no more runs of a schedule, given by name or identifier; returns it."""
        found = self._schedule(schedule).recurring_run_id
        self._recurring.recurring_run_service_disable_recurring_run(found)
        return self._recurring.recurring_run_service_get_recurring_run(found)

    def resume(self, schedule: str) -> Any:
        """Start runs of a schedule again."""
        found = self._schedule(schedule).recurring_run_id
        self._recurring.recurring_run_service_enable_recurring_run(found)
        return self._recurring.recurring_run_service_get_recurring_run(found)

    def delete(self, schedule: str) -> Any:
        """Remove a schedule; its runs stay."""
        found = self._schedule(schedule)
        self._recurring.recurring_run_service_delete_recurring_run(found.recurring_run_id)
        return found

    @property
    def _recurring(self) -> Any:
        return kfp_api.RecurringRunServiceApi(self.api)

    def _schedule(self, named: str) -> Any:
        known = list(self.schedules())
        found = [one for one in known if named in (one.display_name, one.recurring_run_id)]
        if not found:
            names = ", ".join(sorted(one.display_name for one in known)) or "none"
            raise InputError(f"there is no schedule {named}; there are {names}")
        if len(found) > 1:
            raise InputError(f"several schedules are called {named}: give the identifier (textgate schedule list)")
        return found[0]


class _Api(kfp_api.ApiClient):  # type: ignore[misc]
    """Every request has a time limit, and ends in one sentence when it fails."""

    def __init__(self, endpoint: str, credentials: Credentials) -> None:
        configuration = kfp_api.Configuration(host=endpoint)
        configuration.ssl_ca_cert = os.environ.get("SSL_CERT_FILE") or None
        if credentials.token or credentials.token_file:
            configuration.api_key["authorization"] = credentials.token
            configuration.api_key_prefix["authorization"] = "Bearer"
        if credentials.token_file:
            configuration.refresh_api_key_hook = _reads(credentials.token_file)
        super().__init__(configuration, cookie=credentials.cookies)

    def request(self, method: str, url: str, **options: Any) -> Any:
        where = f"Kubeflow Pipelines at {self.configuration.host}"
        options["_request_timeout"] = _TIMEOUT
        try:
            answer = super().request(method, url, **options)
        except kfp_api.ApiException as error:
            raise _explained(where, error) from error
        except (HTTPError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise UnavailableError(f"{where} cannot be reached: {str(reason).rpartition(': ')[2]}") from error
        if "text/html" in (answer.getheader("content-type") or ""):
            raise InputError(f"{where} shows a page where it should answer: sign in again, or mend --endpoint")
        return answer


def _explained(where: str, error: Any) -> Exception:
    if error.status in (401, 403):
        return InputError(
            f"{where} refuses these credentials ({error.status} {error.reason}): the token or cookie has expired or "
            "may not do this; give a new one with --token-file, --token-env or --cookies-env"
        )
    said = _said(error.body) or error.reason
    if error.status == 404:
        return NotFoundError(f"{where} knows nothing of that: {said}")
    if error.status and 400 <= error.status < 500 and error.status != 429:
        return InputError(f"{where} answered {error.status}: {said}")
    return UnavailableError(f"{where} failed: {error.status or 'no answer'} {said}")


def _said(body: bytes | str | None) -> str:
    """The server's own words, on one line."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    try:
        answer = json.loads(text)
        text = answer.get("message") or answer.get("error_message") or answer.get("error") or text
    except (ValueError, AttributeError):
        pass
    return " ".join(str(text).split())[:_ERROR_CHARACTERS]


def _reads(file: Path) -> Callable[[Any], None]:
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
    """A filter of the API: backend/api/v2beta1/filter.proto."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": value}]})


def _reference(pipeline: tuple[str, str]) -> Any:
    return kfp_api.V2beta1PipelineVersionReference(pipeline_id=pipeline[0], pipeline_version_id=pipeline[1])
