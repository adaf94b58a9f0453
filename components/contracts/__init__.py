"""Data types that pipeline steps exchange. Every other package may import this one."""

from textgate.components.contracts.bundle import (
    Calibration,
    EnsembleRuntime,
    LinearRuntime,
    ModelBundle,
    OnnxRuntime,
    TransformersRuntime,
)
from textgate.components.contracts.candidate import Candidate, Candidates
from textgate.components.contracts.dataset import Dataset, Rejected, Row
from textgate.components.contracts.dataset_output import dataset_writer
from textgate.components.contracts.decision import GateDecision, JudgedScore, NextReference, Rule, SplitUses
from textgate.components.contracts.evaluation import (
    Estimate,
    Evaluation,
    EvaluationManifest,
    OutOfDomainSet,
)
from textgate.components.contracts.files import file_sha256, new_file, new_folder, write_file
from textgate.components.contracts.insight import Insight
from textgate.components.contracts.normalizer import TextNormalizer
from textgate.components.contracts.progress import Progress, ProgressLine, duration
from textgate.components.contracts.recipe import (
    Compute,
    EvaluateSettings,
    Export,
    Gate,
    Preprocess,
    Recipe,
    Resources,
    Source,
)
from textgate.components.contracts.recipe.base_model import FromBaseModel
from textgate.components.contracts.recipe.embedding_training import EmbeddingTraining, LogisticHead, MlpHead, SvmHead
from textgate.components.contracts.recipe.fine_tuning import (
    Adapter,
    Distillation,
    FineTuning,
    PromptedTraining,
    TransformerTraining,
)
from textgate.components.contracts.recipe.section import RecipeSection
from textgate.components.contracts.recipe.training import (
    EnsembleTraining,
    LinearTraining,
    Training,
    Word2VecTraining,
    bundle_references,
    replace_bundle_references,
)
from textgate.components.contracts.run_record import Promotion, RunRecord
from textgate.components.contracts.training_cost import TrainingCost
from textgate.components.redaction import redact
from textgate.components.step import ConflictError, DamagedError, InputError, StoreError

__all__ = [
    "Adapter",
    "Calibration",
    "Candidate",
    "Candidates",
    "Compute",
    "ConflictError",
    "DamagedError",
    "Dataset",
    "Distillation",
    "EmbeddingTraining",
    "EnsembleRuntime",
    "EnsembleTraining",
    "Estimate",
    "EvaluateSettings",
    "Evaluation",
    "EvaluationManifest",
    "Export",
    "FineTuning",
    "FromBaseModel",
    "Gate",
    "GateDecision",
    "InputError",
    "Insight",
    "JudgedScore",
    "LinearRuntime",
    "LinearTraining",
    "LogisticHead",
    "MlpHead",
    "ModelBundle",
    "NextReference",
    "OnnxRuntime",
    "OutOfDomainSet",
    "Preprocess",
    "Progress",
    "ProgressLine",
    "Promotion",
    "PromptedTraining",
    "Recipe",
    "RecipeSection",
    "Rejected",
    "Resources",
    "Row",
    "Rule",
    "RunRecord",
    "Source",
    "SplitUses",
    "StoreError",
    "SvmHead",
    "TextNormalizer",
    "Training",
    "TrainingCost",
    "TransformerTraining",
    "TransformersRuntime",
    "Word2VecTraining",
    "bundle_references",
    "dataset_writer",
    "duration",
    "file_sha256",
    "new_file",
    "new_folder",
    "redact",
    "replace_bundle_references",
    "write_file",
]
