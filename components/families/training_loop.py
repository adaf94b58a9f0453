"""The training loop of every transformer family: ``transformers.Trainer`` on accelerate.

Batches are grouped by length and padded to their longest text, which costs no accuracy and on short texts saves most of
the work of the published recipes' padding to max_length.
"""

import tempfile
from typing import Any

import torch
from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from textgate.components.contracts import Dataset, Progress, TransformerTraining
from textgate.components.families.torch_predictor import tokenize

_STEPS_PER_LOSS = 10


def train(model: Any, tokenizer: Any, dataset: Dataset, training: TransformerTraining, max_tokens: int) -> float:
    """Train ``model`` in place on the split ``train``; returns the mean training loss."""
    _, texts, classes = dataset.columns("train")
    examples: list[dict[str, Any]] = [
        {**columns, "labels": int(number)}
        for columns, number in zip(tokenize(tokenizer, texts, max_tokens), classes, strict=True)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=scratch,
                per_device_train_batch_size=training.batch_size,
                learning_rate=training.learning_rate,
                num_train_epochs=training.epochs,
                weight_decay=training.weight_decay,
                # A share of the steps where it is below 1: transformers 5 folded warmup_ratio into this name.
                warmup_steps=training.warmup,
                train_sampling_strategy="group_by_length",
                optim="adamw_torch_fused",
                seed=training.seed,
                save_strategy="no",
                logging_steps=_STEPS_PER_LOSS,
                # A loss that is not a number must reach the metrics: by default the Trainer hides it.
                logging_nan_inf_filter=False,
                report_to=[],
                disable_tqdm=True,
                use_cpu=not torch.cuda.is_available(),
                dataloader_pin_memory=torch.cuda.is_available(),
            ),
            train_dataset=examples,
            data_collator=DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer,
            callbacks=[_ShowsProgress(training)],
        )
        trainer.remove_callback(PrinterCallback)
        return float(trainer.train().training_loss)


class _ShowsProgress(TrainerCallback):
    """Rows trained, epoch and loss, through ``Progress``."""

    def __init__(self, training: TransformerTraining) -> None:
        self._training = training
        self._progress: Progress | None = None
        self._loss = ""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self._loss = f", loss {float(logs['loss']):.3f}"

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._progress is None:
            self._progress = Progress(total=state.max_steps * self._training.batch_size)
        note = f"epoch {state.epoch:.2f} of {self._training.epochs:g}{self._loss}"
        self._progress.update(state.global_step * self._training.batch_size, note)
