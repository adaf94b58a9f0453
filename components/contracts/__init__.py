"""What steps hand each other, and nothing else: the ground floor every room may import."""

from textgate.components.contracts.bundle import LinearRuntime, ModelBundle, OnnxRuntime, TransformersRuntime
from textgate.components.contracts.dataset import Dataset, Rejected, Row, dataset_writer
from textgate.components.contracts.decision import GateDecision, Rule
from textgate.components.contracts.evaluation import Estimate, Evaluation, EvaluationManifest
from textgate.components.contracts.files import file_sha256, new_folder
from textgate.components.contracts.normalizer import TextNormalizer
from textgate.components.contracts.progress import Progress, ProgressLine, duration
from textgate.components.contracts.recipe import (
    EncoderTraining,
    Export,
    Gate,
    LinearTraining,
    Preprocess,
    Recipe,
    Resources,
    Source,
    Training,
)
from textgate.components.contracts.run import Promotion, RunRecord
from textgate.components.step import InputError

__all__ = [
    "Dataset",
    "EncoderTraining",
    "Estimate",
    "Evaluation",
    "EvaluationManifest",
    "Export",
    "Gate",
    "GateDecision",
    "InputError",
    "LinearRuntime",
    "LinearTraining",
    "ModelBundle",
    "OnnxRuntime",
    "Preprocess",
    "Progress",
    "ProgressLine",
    "Promotion",
    "Recipe",
    "Rejected",
    "Resources",
    "Row",
    "Rule",
    "RunRecord",
    "Source",
    "TextNormalizer",
    "Training",
    "TransformersRuntime",
    "dataset_writer",
    "duration",
    "file_sha256",
    "new_folder",
]
