"""What steps hand each other, and nothing else: the ground floor every room may import."""

from textgate.components.contracts.bundle import (
    Calibration,
    EnsembleRuntime,
    LinearRuntime,
    ModelBundle,
    OnnxRuntime,
    TransformersRuntime,
)
from textgate.components.contracts.candidate import Candidate, Candidates
from textgate.components.contracts.dataset import Dataset, Rejected, Row, dataset_writer
from textgate.components.contracts.decision import GateDecision, Rule
from textgate.components.contracts.evaluate import Evaluate
from textgate.components.contracts.evaluation import (
    Domain,
    Estimate,
    Evaluation,
    EvaluationManifest,
    Insight,
    TrainingCost,
)
from textgate.components.contracts.files import file_sha256, new_folder
from textgate.components.contracts.normalizer import TextNormalizer
from textgate.components.contracts.progress import Progress, ProgressLine, duration
from textgate.components.contracts.recipe import Compute, Export, Gate, Recipe, Resources
from textgate.components.contracts.run import Promotion, RunRecord
from textgate.components.contracts.section import Section
from textgate.components.contracts.source import Preprocess, Source
from textgate.components.contracts.training import (
    Adapter,
    Distillation,
    EmbeddingTraining,
    EnsembleTraining,
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
    named_bundles,
    with_bundles,
)
from textgate.components.step import InputError

__all__ = [
    "Adapter",
    "Calibration",
    "Candidate",
    "Candidates",
    "Compute",
    "Dataset",
    "Distillation",
    "Domain",
    "EmbeddingTraining",
    "EnsembleRuntime",
    "EnsembleTraining",
    "Estimate",
    "Evaluate",
    "Evaluation",
    "EvaluationManifest",
    "Export",
    "FineTuning",
    "FromCheckpoint",
    "Gate",
    "GateDecision",
    "InputError",
    "Insight",
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
    "TrainingCost",
    "TransformerTraining",
    "TransformersRuntime",
    "Word2VecTraining",
    "dataset_writer",
    "duration",
    "file_sha256",
    "named_bundles",
    "new_folder",
    "with_bundles",
]
