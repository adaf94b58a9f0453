"""Tracking services that the environment configures, and the variables that configure them."""

import os
from importlib.util import find_spec

from textgate.components.step import InputError

VARIABLES = (
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "WANDB_API_KEY",
    "WANDB_BASE_URL",
    "WANDB_ENTITY",
    "WANDB_MODE",
    "WANDB_PROJECT",
)
"""Variables that the clients read from the environment; on a cluster, keys of the secret ``textgate-tracking``."""
DEFAULT_NAME = "textgate"
"""W&B project without WANDB_PROJECT, MLflow experiment without MLFLOW_EXPERIMENT_NAME."""
TITLES = {"wandb": "Weights & Biases", "mlflow": "MLflow"}
_PACKAGES = {"wandb": "wandb", "mlflow": "mlflow-skinny"}
_REASONS = {"wandb": "WANDB_API_KEY or WANDB_MODE", "mlflow": "MLFLOW_TRACKING_URI"}


def configured_services() -> list[str]:
    """Return ``wandb`` and ``mlflow``, those that the environment configures."""
    variables = os.environ
    mode = variables.get("WANDB_MODE")
    wandb = mode == "offline" or (variables.get("WANDB_API_KEY") and mode != "disabled")
    return [*(["wandb"] if wandb else []), *(["mlflow"] if variables.get("MLFLOW_TRACKING_URI") else [])]


def check_clients() -> None:
    """Check that the client of every configured service is installed.

    Raises:
        InputError: One is not.
    """
    for service in configured_services():
        if not is_installed(service):
            package = _PACKAGES[service]
            raise InputError(
                f"{_REASONS[service]} enables tracking, but {package} is not installed: pip install {package} (images: "
                "those whose name ends with -tracking), or unset it"
            )


def is_installed(service: str) -> bool:
    """Return whether the client of a service is installed."""
    try:
        return find_spec(service) is not None
    except ValueError:  # sys.modules has None for it
        return False
