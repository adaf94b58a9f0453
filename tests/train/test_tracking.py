"""Experiment tracking with TensorBoard, Weights & Biases and MLflow."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from textgate.components.contracts import InputError, TransformerTraining
from textgate.components.families import TrainingContext
from textgate.components.families.transformer.training.tracking import tracking_callbacks
from textgate.components.train.train import train_bundle


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DISABLED", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def names(logs: Path | None) -> list[str]:
    return [type(tracker).__name__.strip("_") for tracker in tracking_callbacks(logs)]


def test_without_configured_services_only_tensorboard_is_used(tmp_path: Path) -> None:
    assert names(tmp_path) == ["TensorBoard"]
    assert names(None) == []


@pytest.mark.parametrize(
    ("variable", "value", "package"),
    [
        ("WANDB_API_KEY", "a-secret", "wandb"),
        ("WANDB_MODE", "offline", "wandb"),
        ("MLFLOW_TRACKING_URI", "https://user:a-secret@mlflow", "mlflow"),
    ],
)
def test_the_error_of_a_missing_client_does_not_contain_the_secret(
    variable: str, value: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"{variable}.* pip install {package}, or unset it") as error:
        tracking_callbacks(None)
    assert "a-secret" not in str(error.value)


def test_services_receive_loss_and_f1(
    dataset: Path,
    training: TransformerTraining,
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The clients of the services are not installed here, so mocks take their place."""
    wandb = MagicMock(__spec__=ModuleSpec("wandb", None))
    mlflow = MagicMock(__spec__=ModuleSpec("mlflow", None), __version__="3.0.0")
    mlflow.utils.validation.MAX_PARAM_VAL_LENGTH = mlflow.utils.validation.MAX_PARAMS_TAGS_PER_BATCH = 250
    for name, module in {"wandb": wandb, "mlflow": mlflow}.items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("wandb.sdk", "wandb.sdk.lib", "wandb.sdk.lib.config_util"):
        monkeypatch.setitem(sys.modules, name, MagicMock(ConfigError=ValueError))
    monkeypatch.setenv("WANDB_API_KEY", "a-secret")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:a-secret@mlflow")
    settings = training.model_copy(update={"epochs": 1})
    train_bundle(dataset, "tiny", settings, tmp_path / "model", TrainingContext(tiny_encoder, logs=tmp_path / "logs"))
    logged = [call.args[0] for call in wandb.log.call_args_list]
    assert sum("train/loss" in values for values in logged) == 4
    assert sum("eval/f1" in values for values in logged) == 3
    assert mlflow.log_metrics.call_count >= 7
    out, err = capfd.readouterr()
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 4
    assert not any(b"a-secret" in text for text in [out.encode(), err.encode(), *files])
