"""Run in Weights & Biases."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from textgate.components.tracking.services import DEFAULT_NAME
from textgate.components.tracking.tracked_run import RunIdentity

_SECONDS = 30
_STEP = "train/global_step"


class WandbRun:
    """Implementation of ``worker.ServiceRun``.

    The run's id is the name of the pipeline run, so that the steps of a run find it again. WANDB_DIR is the folder of
    its files; offline, they are all there is of it.
    """

    def __init__(self, identity: RunIdentity) -> None:
        folder = os.environ.get("WANDB_DIR") or tempfile.gettempdir()
        os.makedirs(folder, exist_ok=True)
        # The host, its hardware, the repository and the code are not part of what is logged.
        settings = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            init_timeout=_SECONDS,
            silent=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
        )
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or DEFAULT_NAME,
            id=identity.run,
            name=identity.name,
            group=identity.group,
            resume="allow" if identity.run else None,
            dir=folder,
            settings=settings,
        )
        self._run.define_metric(_STEP)
        for prefix in ("train", "eval", "validation"):
            self._run.define_metric(f"{prefix}/*", step_metric=_STEP)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See ``ServiceRun``."""
        self._run.log({**values, _STEP: step})

    def finish(
        self, parameters: Mapping[str, Any], metrics: Mapping[str, float], tags: Mapping[str, str], report: str | None
    ) -> None:
        """See ``ServiceRun``; metrics and tags are the run's summary."""
        self._run.config.update(dict(parameters), allow_val_change=True)
        self._run.summary.update({**metrics, **tags})
        if report:
            page = Path(report).read_text("utf-8")
            self._run.log({"report": wandb.Html(page, inject=False)})

    def close(self, *, finished: bool, failed: bool) -> None:
        """See ``ServiceRun``."""
        self._run.finish(exit_code=int(failed))
        wandb.teardown()
