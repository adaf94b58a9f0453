"""Run in MLflow."""

import os
import re
import time
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_PARAMS_TAGS_PER_BATCH, MAX_TAG_VAL_LENGTH

from textgate.components.tracking.services import DEFAULT_NAME
from textgate.components.tracking.tracked_run import RunIdentity

_RUN, _GROUP = "textgate.run", "textgate.group"
"""Tags by which the steps of a pipeline run find its tracked run: MLflow gives runs ids of its own."""
_METRICS_PER_BATCH = 500
_NOT_IN_NAMES = re.compile(r"[^\w\-. /]", re.ASCII)


class MlflowRun:
    """Implementation of ``worker.ServiceRun``."""

    def __init__(self, identity: RunIdentity) -> None:
        # Instead of seven retries of two minutes each.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        self._client = MlflowClient()
        self._id = find_run(self._client, identity.run) if identity.run else None
        if self._id is None:
            experiment = _experiment(self._client)
            tags = {_RUN: identity.run, _GROUP: identity.group}
            named = {name: value for name, value in tags.items() if value}
            self._id = self._client.create_run(experiment, run_name=identity.name, tags=named).info.run_id

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See ``ServiceRun``."""
        self._log_metrics(values, step)

    def finish(
        self, parameters: Mapping[str, Any], metrics: Mapping[str, float], tags: Mapping[str, str], report: str | None
    ) -> None:
        """See ``ServiceRun``; the report is an artifact of the run."""
        params = [Param(_name(name), str(value)[:MAX_PARAM_VAL_LENGTH]) for name, value in parameters.items()]
        for start in range(0, len(params), MAX_PARAMS_TAGS_PER_BATCH):
            self._client.log_batch(self._id, params=params[start : start + MAX_PARAMS_TAGS_PER_BATCH])
        self._log_metrics(metrics, 0)
        run_tags = [RunTag(f"textgate.{name}", value[:MAX_TAG_VAL_LENGTH]) for name, value in tags.items()]
        self._client.log_batch(self._id, tags=run_tags)
        if report:
            self._client.log_artifact(self._id, report)

    def close(self, *, finished: bool, failed: bool) -> None:
        """See ``ServiceRun``."""
        if finished or failed:
            self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")

    def _log_metrics(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(_name(name), value, now, step) for name, value in values.items()]
        for start in range(0, len(metrics), _METRICS_PER_BATCH):
            self._client.log_batch(self._id, metrics=metrics[start : start + _METRICS_PER_BATCH])


def find_run(client: MlflowClient, run: str) -> str | None:
    """Return the id of the tracked run of a pipeline run, or None if there is none in the configured experiment."""
    if (experiment := client.get_experiment_by_name(_experiment_name())) is None:
        return None
    found = client.search_runs([experiment.experiment_id], f"tags.`{_RUN}` = '{run}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def _experiment(client: MlflowClient) -> str:
    """Return the id of the configured experiment, which is created if it does not exist."""
    name = _experiment_name()
    if (found := client.get_experiment_by_name(name)) is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another run has created it in the meantime
            if (found := client.get_experiment_by_name(name)) is None:
                raise
    return str(found.experiment_id)


def _experiment_name() -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_NAME


def _name(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)
