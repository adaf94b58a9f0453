"""An endpoint for tests of what is in front of it."""

from types import SimpleNamespace
from typing import Any

from textgate.serving.endpoint import RequestLimits
from textgate.serving.metrics import Metrics


def fake_endpoint(**attributes: Any) -> Any:
    """Return an endpoint without models that has these attributes."""
    defaults = {
        "metrics": Metrics(),
        "batcher": SimpleNamespace(check_capacity=lambda: None),
        "limits": RequestLimits(),
        "repository": SimpleNamespace(models={}),
        "ready": True,
    }
    return SimpleNamespace(**{**defaults, **attributes})
