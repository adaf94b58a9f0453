"""Full fine-tuning of a bidirectional encoder with the classification head of its architecture.

Devlin et al., BERT (NAACL 2019), section 4: the [CLS] state under a linear layer, every weight trained.
"""

from pathlib import Path

from textgate.components.contracts import (
    Dataset,
    InputError,
    ModelBundle,
    OnnxRuntime,
    TransformersRuntime,
    TransformerTraining,
)
from textgate.components.families import Surroundings
from textgate.serving import Predictor

# torch and transformers take seconds to import, so each function imports what it needs: merge needs neither.


def fit(
    dataset: Dataset, training: TransformerTraining, folder: Path, surroundings: Surroundings
) -> tuple[TransformersRuntime, dict[str, float]]:
    """See ``Family.fit``.

    Raises:
        InputError: the checkpoint cannot be loaded as an encoder.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

    from textgate.components.families.torch_predictor import TorchPredictor
    from textgate.components.families.training_loop import train
    from textgate.components.metrics import accuracy, f1

    labels, checkpoint = dataset.manifest.labels, surroundings.checkpoint
    set_seed(training.seed)
    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        model = AutoModelForSequenceClassification.from_pretrained(
            checkpoint,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: number for number, label in enumerate(labels)},
            # Dropout inside attention costs a random number for every pair of tokens and keeps the fused kernel away.
            attention_probs_dropout_prob=0.0,
        )
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the checkpoint {training.checkpoint} cannot be loaded as an encoder with its tokenizer: {reason}"
        ) from error
    max_tokens = min(training.max_tokens, model.config.max_position_embeddings)

    loss = train(model, tokenizer, dataset, training, max_tokens)

    _, texts, classes = dataset.columns("validation")
    predictor = TorchPredictor(model, tokenizer, dataset.normalizer, max_tokens)
    predicted = predictor.predict(texts).argmax(axis=1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return TransformersRuntime(max_tokens=max_tokens), {
        "train_loss": loss,
        "validation_f1": f1(classes, predicted, len(labels)),
        "validation_accuracy": accuracy(classes, predicted),
    }


def predictor(folder: Path, bundle: ModelBundle, checkpoint: Path | None) -> Predictor:
    """See ``Family.predictor``: the checkpoint on torch."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from textgate.components.families.torch_predictor import TorchPredictor

    model = AutoModelForSequenceClassification.from_pretrained(folder)
    return TorchPredictor(model, AutoTokenizer.from_pretrained(folder), bundle.normalizer, _max_tokens(bundle))


def merge(
    folder: Path, bundle: ModelBundle, checkpoint: Path | None, output: Path
) -> tuple[TransformersRuntime, str] | None:
    """See ``Family.merge``: every weight was trained, there is no adapter."""
    return None


def export(folder: Path, bundle: ModelBundle, target: str, output: Path) -> OnnxRuntime | None:
    """See ``Family.export``."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from textgate.components.families.onnx_graph import export_classifier

    max_tokens = _max_tokens(bundle)
    # The exporter follows eager attention into plain operators; the fused kernels differ from one torch to the next.
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager")
    return export_classifier(model, AutoTokenizer.from_pretrained(folder), max_tokens, target, output)


def _max_tokens(bundle: ModelBundle) -> int:
    if not isinstance(bundle.runtime, TransformersRuntime):
        raise InputError(
            f"the bundle {bundle.name} answers with {bundle.runtime.name}, not with the encoder it was trained as"
        )
    return bundle.runtime.max_tokens
