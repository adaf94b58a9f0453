"""Training loop of all transformers: ``transformers.Trainer`` on accelerate.

Batches are grouped by length and padded to their longest text. Compared with padding to ``max_length``, as in the
published recipes, this costs no accuracy and saves most of the work on short texts.
"""

import json
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from textgate.components.contracts import Dataset, FineTuning
from textgate.components.families import Checkpoints, TrainingContext
from textgate.components.families.distributed import (
    all_reduce_min,
    barrier,
    is_local_main_process,
    is_multi_node,
    shared_temporary_folder,
    world_size,
)
from textgate.components.families.transformer.model.precision import resolve_precision
from textgate.components.families.transformer.torch_predictor import tokenize
from textgate.components.families.transformer.training.batch_size import probe_batch_size
from textgate.components.families.transformer.training.callbacks import (
    LogBeforeCheckpoint,
    PrintProgress,
    StoreCheckpoint,
)
from textgate.components.families.transformer.training.history import history, mean_loss
from textgate.components.families.transformer.training.loss import build_loss
from textgate.components.families.transformer.training.sharding import fsdp_options
from textgate.components.families.transformer.training.throughput import Throughput
from textgate.components.families.transformer.training.tracking import tracking_callbacks
from textgate.components.families.transformer.training.trainer import LengthGroupedTrainer, token_count
from textgate.components.families.transformer.training.training_state import unpack_checkpoint
from textgate.components.metrics import f1

_UPDATES_PER_LOG = 10
_MAX_LOADER_WORKERS = 4
_STATE_BYTES = {"adamw": 8, "adamw_8bit": 2, "paged_adamw_8bit": 2, "paged_adamw_32bit": 8}
"""Bytes of AdamW's two moments per trained weight, by the recipe's optimizer."""


def train(
    model: Any,
    tokenizer: Any,
    dataset: Dataset,
    training: FineTuning,
    max_tokens: int,
    context: TrainingContext,
    teacher: npt.NDArray[Any] | None = None,
) -> tuple[float, list[dict[str, float]]]:
    """Train ``model`` in place on the split ``train``.

    If the training is longer than ``evaluate_every`` epochs, F1 on the split ``validation`` is measured at that
    interval, each measurement saves a checkpoint to resume from, and the model ends with the weights of the best F1.

    Args:
        model: Classifier, with an adapter or without.
        tokenizer: Its tokenizer.
        dataset: Dataset with the splits ``train`` and ``validation``.
        training: The recipe's training section.
        max_tokens: Length in tokens to truncate texts to.
        context: Where checkpoints and logs are written.
        teacher: Teacher's probabilities (texts, labels) for the split ``train``, from ``teacher_probabilities``.

    Returns:
        The mean training loss, and ``ModelBundle.history``.
    """
    examples = _examples(tokenizer, dataset, "train", max_tokens)
    collate = DataCollatorWithPadding(tokenizer)
    labels = len(dataset.manifest.labels)
    plan = _plan(model, collate, examples, training)
    print(
        f"training in {plan.precision}, {training.batch_size} texts an update, {plan.micro_batch_size} at once on "
        f"{plan.devices} device(s)",
        flush=True,
    )
    # Added after the batch size was probed, because the model does not take this column.
    if teacher is not None:
        examples = [{**example, "teacher": row.tolist()} for example, row in zip(examples, teacher, strict=True)]
    with shared_temporary_folder() as scratch:
        output = scratch / "checkpoints"
        output.mkdir(exist_ok=True)
        trainer = LengthGroupedTrainer(
            model=model,
            args=_training_arguments(model, training, plan, output),
            train_dataset=examples,
            # Sorted by length, which saves padding and does not change F1.
            eval_dataset=sorted(_examples(tokenizer, dataset, "validation", max_tokens), key=token_count),
            data_collator=collate,
            processing_class=tokenizer,
            loss=build_loss(training, [example["labels"] for example in examples], labels),
            throughput=Throughput(model, plan.precision, context.meter) if context.meter else None,
            compute_metrics=lambda output: {"f1": f1(output.label_ids, output.predictions.argmax(axis=1), labels)},
            callbacks=_callbacks(training, plan, context, scratch),
        )
        trainer.remove_callback(PrinterCallback)
        _restore_checkpoint(context.checkpoints, scratch, output)
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(output)))
        log = trainer.state.log_history
        return mean_loss(log), history(log)


@dataclass(frozen=True)
class _Plan:
    """Batch sizes and evaluation interval that follow from the recipe, the data and the devices."""

    precision: str
    devices: int
    micro_batch_size: int
    """Rows per forward pass on a device."""
    eval_interval: int
    """Updates between two evaluations on the validation split."""
    evaluates: bool
    """False if the training ends before the first evaluation."""


def _plan(model: Any, collate: Any, examples: Sequence[dict[str, Any]], training: FineTuning) -> _Plan:
    devices = world_size()
    precision = resolve_precision(training.precision)
    micro_batch_size = _micro_batch_size(model, collate, examples, training, training.batch_size // devices)
    updates_per_epoch = math.ceil(len(examples) / training.batch_size)
    eval_interval = max(1, round(updates_per_epoch * training.evaluate_every))
    evaluates = eval_interval < math.ceil(updates_per_epoch * training.epochs)
    return _Plan(precision, devices, micro_batch_size, eval_interval, evaluates)


def _micro_batch_size(
    model: Any, collate: Any, examples: Sequence[dict[str, Any]], training: FineTuning, rows_per_update: int
) -> int:
    """Return the rows per forward pass: a divisor of the ``rows_per_update`` of one device."""
    if training.micro_batch_size == "auto":
        longest, state_bytes = collate([max(examples, key=token_count)]), _STATE_BYTES[training.optimizer]
        return all_reduce_min(probe_batch_size(model, longest, rows_per_update, state_bytes))
    limit = training.micro_batch_size or rows_per_update
    return max(rows for rows in range(1, rows_per_update + 1) if rows_per_update % rows == 0 and rows <= limit)


def _training_arguments(model: Any, training: FineTuning, plan: _Plan, output: Path) -> TrainingArguments:
    strategy = "steps" if plan.evaluates else "no"
    return TrainingArguments(
        output_dir=str(output),
        per_device_train_batch_size=plan.micro_batch_size,
        per_device_eval_batch_size=2 * plan.micro_batch_size,
        gradient_accumulation_steps=training.batch_size // (plan.micro_batch_size * plan.devices),
        learning_rate=training.learning_rate,
        lr_scheduler_type="constant_with_warmup" if training.schedule == "constant" else training.schedule,
        num_train_epochs=training.epochs,
        weight_decay=training.weight_decay,
        # Below 1 it is a fraction of the updates: transformers 5 merged warmup_ratio into warmup_steps.
        warmup_steps=training.warmup,
        bf16=plan.precision == "bf16",
        fp16=plan.precision == "fp16",
        optim="adamw_torch_fused" if training.optimizer == "adamw" else training.optimizer,
        seed=training.seed,
        eval_strategy=strategy,
        save_strategy=strategy,
        eval_steps=plan.eval_interval,
        save_steps=plan.eval_interval,
        save_total_limit=1,
        save_on_each_node=is_multi_node(),
        load_best_model_at_end=plan.evaluates,
        metric_for_best_model="f1",
        greater_is_better=True,
        logging_steps=_UPDATES_PER_LOG,
        # By default the Trainer hides a loss that is NaN. It must reach the metrics.
        logging_nan_inf_filter=False,
        report_to="none",
        # Restores the patience counter of early stopping.
        restore_callback_states_from_checkpoint=True,
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        dataloader_num_workers=_loader_workers(),
        ddp_find_unused_parameters=False,
        **fsdp_options(model, training),
    )


def _loader_workers() -> int:
    """Return the number of processes that pad batches beside this one.

    On a GPU, padding in this process would delay the kernels that it launches. On a CPU, the model needs every core.
    The batches are the same, and so is the state of the random generators. The workers end with each epoch: those of
    ``persistent_workers`` would not draw the seed that an iteration over the batches draws.
    """
    if not torch.cuda.is_available():
        return 0
    return min(_MAX_LOADER_WORKERS, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _callbacks(training: FineTuning, plan: _Plan, context: TrainingContext, scratch: Path) -> list[TrainerCallback]:
    callbacks = [PrintProgress(training), LogBeforeCheckpoint(), *tracking_callbacks(context)]
    if context.checkpoints:
        callbacks.append(StoreCheckpoint(context.checkpoints, scratch))
    if plan.evaluates and training.early_stopping:
        callbacks.append(EarlyStoppingCallback(training.early_stopping))
    return callbacks


def _examples(tokenizer: Any, dataset: Dataset, split: str, max_tokens: int) -> list[dict[str, Any]]:
    """Return the tokenized texts of ``split`` with their class index in ``labels``."""
    _, texts, classes = dataset.columns(split)
    return [
        {**columns, "labels": int(index)}
        for columns, index in zip(tokenize(tokenizer, texts, max_tokens), classes, strict=True)
    ]


def _restore_checkpoint(checkpoints: Checkpoints | None, scratch: Path, output: Path) -> None:
    """Download the checkpoint of an interrupted training to ``output`` on every machine.

    If a machine finds none, all machines start from the beginning.
    """
    restored = checkpoints is not None
    if checkpoints and is_local_main_process():
        restored = _download_checkpoint(checkpoints, scratch, output)
    if not all_reduce_min(restored) and is_local_main_process():
        shutil.rmtree(output)
        output.mkdir()
    barrier()


def _download_checkpoint(checkpoints: Checkpoints, scratch: Path, output: Path) -> bool:
    """Download and unpack the stored checkpoint to ``output``. Return False if there is none."""
    stored = scratch / "restored"
    if not checkpoints.restore(stored):
        return False
    for folder in stored.iterdir():
        unpack_checkpoint(folder, output / folder.name)
        path = output / folder.name / "trainer_state.json"
        state = json.loads(path.read_text("utf-8"))
        if best := state["best_model_checkpoint"]:
            state["best_model_checkpoint"] = str(output / Path(best).name)
        path.write_text(json.dumps(state), "utf-8")
    shutil.rmtree(stored)
    last = json.loads((Path(get_last_checkpoint(str(output))) / "trainer_state.json").read_text("utf-8"))
    print(f"resuming at update {last['global_step']} of {last['max_steps']}", flush=True)
    return True
