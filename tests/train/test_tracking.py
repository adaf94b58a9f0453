"""What trainings log for experiment tracking, and which services the environment configures."""

from pathlib import Path

import pytest

from textgate.components.contracts import InputError, TransformerTraining
from textgate.components.families import TrainingContext
from textgate.components.tracking import services
from textgate.components.tracking.services import check_clients, configured_services
from textgate.components.train.train import train_bundle


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, []),
        ({"WANDB_MODE": "offline"}, ["wandb"]),
        ({"WANDB_MODE": "online"}, []),
        ({"WANDB_API_KEY": "a-secret"}, ["wandb"]),
        ({"WANDB_API_KEY": "a-secret", "WANDB_MODE": "disabled"}, []),
        ({"MLFLOW_TRACKING_URI": "https://mlflow", "WANDB_MODE": "offline"}, ["wandb", "mlflow"]),
    ],
)
def test_the_environment_configures_services(
    variables: dict[str, str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert configured_services() == expected


@pytest.mark.parametrize(
    ("variable", "value", "package"),
    [
        ("WANDB_API_KEY", "a-secret", "wandb"),
        ("WANDB_MODE", "offline", "wandb"),
        ("MLFLOW_TRACKING_URI", "https://user:a-secret@mlflow", "mlflow-skinny"),
    ],
)
def test_the_error_of_a_missing_client_does_not_contain_the_secret(
    variable: str, value: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(services, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=f"{variable}.* pip install {package} .*, or unset it") as error:
        check_clients()
    assert "a-secret" not in str(error.value)


def test_a_training_logs_loss_and_f1_by_update(
    dataset: Path, training: TransformerTraining, tiny_encoder: Path, tmp_path: Path
) -> None:
    logged: list[tuple[dict[str, float], int]] = []
    settings = training.model_copy(update={"epochs": 1})
    context = TrainingContext(tiny_encoder, track=lambda values, step: logged.append((values, step)))
    bundle = train_bundle(dataset, "tiny", settings, tmp_path / "model", context)
    losses = [(values["train/loss"], step) for values, step in logged if "train/loss" in values]
    scores = [(values["eval/f1"], step) for values, step in logged if "eval/f1" in values]
    assert len(losses) == 4
    assert [step for _, step in scores] == [7, 14, 20][: len(scores)]
    assert [loss for loss, _ in losses] == pytest.approx(
        [entry["loss"] for entry in bundle.history if "loss" in entry], abs=1e-6
    )
    assert all(isinstance(value, float) for values, _ in logged for value in values.values())
