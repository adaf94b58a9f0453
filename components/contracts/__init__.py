"""What steps hand each other, and nothing else: the ground floor every room may import."""

from textgate.components.contracts.bundle import (
    Calibration,
    LinearRuntime,
    ModelBundle,
    OnnxRuntime,
    TransformersRuntime,
)
from textgate.components.contracts.dataset import Dataset, Rejected, Row, dataset_writer
from textgate.components.contracts.decision import GateDecision, Rule
from textgate.components.contracts.evaluation import Estimate, Evaluation, EvaluationManifest
from textgate.components.contracts.files import file_sha256, new_folder
from textgate.components.contracts.normalizer import TextNormalizer
from textgate.components.contracts.progress import Progress, ProgressLine, duration
from textgate.components.contracts.recipe import Compute, Export, Gate, Recipe, Resources
from textgate.components.contracts.run import Promotion, RunRecord
from textgate.components.contracts.section import Section
from textgate.components.contracts.source import Preprocess, Source
from textgate.components.contracts.training import (
    Adapter,
    EmbeddingTraining,
    FineTuning,
    FromCheckpoint,
    LinearTraining,
    LogisticHead,
    MlpHead,
    PromptedTraining,
    SvmHead,
    Training,
    TransformerTraining,
    Word2VecTraining,
)
from textgate.components.step import InputError

__all__ = [
    "Adapter",
    "Calibration",
    "Compute",
    "Dataset",
    "EmbeddingTraining",
    "Estimate",
    "Evaluation",
    "EvaluationManifest",
    "Export",
    "FineTuning",
    "FromCheckpoint",
    "Gate",
    "GateDecision",
    "InputError",
    "LinearRuntime",
    "LinearTraining",
    "LogisticHead",
    "MlpHead",
    "ModelBundle",
    "OnnxRuntime",
    "Preprocess",
    "Progress",
    "ProgressLine",
    "Promotion",
    "PromptedTraining",
    "Recipe",
    "Rejected",
    "Resources",
    "Row",
    "Rule",
    "RunRecord",
    "Section",
    "Source",
    "SvmHead",
    "TextNormalizer",
    "Training",
    "TransformerTraining",
    "TransformersRuntime",
    "Word2VecTraining",
    "dataset_writer",
    "duration",
    "file_sha256",
    "new_folder",
]
