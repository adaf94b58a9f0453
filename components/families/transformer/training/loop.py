"""The training loop of every transformer: ``transformers.Trainer`` on accelerate.

Batches are grouped by length and padded to their longest text, which costs no accuracy and on short texts saves most of
the work of the published recipes' padding to max_length.
"""

import json
import math
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Sampler
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_pt_utils import get_length_grouped_indices
from transformers.trainer_utils import get_last_checkpoint

from textgate.components.contracts import Dataset, FineTuning, Progress
from textgate.components.families import Checkpoints, TrainingContext
from textgate.components.families.processes import (
    is_first_on_machine,
    is_main_process,
    on_several_machines,
    process_count,
    shared_scratch,
    smallest,
    wait_for_all,
)
from textgate.components.families.transformer.training.batch_size import probe_batch_size
from textgate.components.families.transformer.training.loss import Loss, update_loss
from textgate.components.families.transformer.model.precision import resolve
from textgate.components.families.transformer.training.sharding import fsdp_options
from textgate.components.families.transformer.torch_predictor import tokenize
from textgate.components.families.transformer.training.tracking import trackers
from textgate.components.families.transformer.training.history import history, mean_loss
from textgate.components.families.transformer.training.training_state import with_pickle, without_pickle
from textgate.components.metrics import f1

_UPDATES_PER_LOSS = 10


def train(
    model: Any,
    tokenizer: Any,
    dataset: Dataset,
    training: FineTuning,
    max_tokens: int,
    context: TrainingContext,
    teacher: npt.NDArray[np.float64] | None = None,
) -> tuple[float, list[dict[str, float]]]:
    """Train ``model`` in place on the split ``train``; returns the mean training loss and ``ModelBundle.history``.

    Where the training is longer than ``evaluate_every`` epochs, the weights it ends with are those of the best F1 on
    the split ``validation``, and every measurement leaves a checkpoint from which a killed training goes on.
    ``teacher`` (texts, labels) is what a teacher says of the texts, by ``ask_teacher``.
    """
    examples = _examples(tokenizer, dataset, "train", max_tokens)
    collate = DataCollatorWithPadding(tokenizer)
    devices, labels = process_count(), len(dataset.manifest.labels)
    precision = resolve(training.precision)
    per_device = _rows_at_once(model, collate, examples, training, training.batch_size // devices)
    print(
        f"training in {precision}, {training.batch_size} texts an update, {per_device} at once on {devices} device(s)",
        flush=True,
    )
    # After the batch size was probed: a model takes no such column.
    if teacher is not None:
        examples = [{**example, "teacher": row.tolist()} for example, row in zip(examples, teacher, strict=True)]
    updates_per_epoch = math.ceil(len(examples) / training.batch_size)
    interval = max(1, round(updates_per_epoch * training.evaluate_every))
    measures = interval < math.ceil(updates_per_epoch * training.epochs)
    with shared_scratch() as scratch:
        output = scratch / "checkpoints"
        output.mkdir(exist_ok=True)
        callbacks = [_ShowsProgress(training), _LogsWhole(), *trackers(context.logs)]
        if context.checkpoints:
            callbacks.append(_KeepsCheckpoints(context.checkpoints, scratch))
        if measures and training.early_stopping:
            callbacks.append(EarlyStoppingCallback(training.early_stopping))
        trainer = _Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=str(output),
                per_device_train_batch_size=per_device,
                per_device_eval_batch_size=2 * per_device,
                gradient_accumulation_steps=training.batch_size // (per_device * devices),
                learning_rate=training.learning_rate,
                lr_scheduler_type=_schedule(training),
                num_train_epochs=training.epochs,
                weight_decay=training.weight_decay,
                # A share of the updates where it is below 1: transformers 5 folded warmup_ratio into this name.
                warmup_steps=training.warmup,
                bf16=precision == "bf16",
                fp16=precision == "fp16",
                optim="adamw_torch_fused",
                seed=training.seed,
                eval_strategy="steps" if measures else "no",
                save_strategy="steps" if measures else "no",
                eval_steps=interval,
                save_steps=interval,
                save_total_limit=1,
                save_on_each_node=on_several_machines(),
                load_best_model_at_end=measures,
                metric_for_best_model="f1",
                greater_is_better=True,
                logging_steps=_UPDATES_PER_LOSS,
                # A loss that is not a number must reach the metrics: by default the Trainer hides it.
                logging_nan_inf_filter=False,
                report_to="none",
                # How long early stopping has waited already.
                restore_callback_states_from_checkpoint=True,
                disable_tqdm=True,
                remove_unused_columns=False,
                label_names=["labels"],
                use_cpu=not torch.cuda.is_available(),
                dataloader_pin_memory=torch.cuda.is_available(),
                ddp_find_unused_parameters=False,
                **fsdp_options(model, training),
            ),
            train_dataset=examples,
            # By length: padding is saved, and F1 does not know the order.
            eval_dataset=sorted(_examples(tokenizer, dataset, "validation", max_tokens), key=_length),
            data_collator=collate,
            processing_class=tokenizer,
            loss=update_loss(training, [example["labels"] for example in examples], labels),
            compute_metrics=lambda answers: {"f1": f1(answers.label_ids, answers.predictions.argmax(axis=1), labels)},
            callbacks=callbacks,
        )
        trainer.remove_callback(PrinterCallback)
        restored = context.checkpoints is not None
        if context.checkpoints and is_first_on_machine():
            restored = _restore(context.checkpoints, scratch, output)
        # Where the checkpoint has reached some machines only, all begin anew.
        if not smallest(restored) and is_first_on_machine():
            shutil.rmtree(output)
            output.mkdir()
        wait_for_all()
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(output)))
        log = trainer.state.log_history
        return mean_loss(log), history(log)


def _examples(tokenizer: Any, dataset: Dataset, split: str, max_tokens: int) -> list[dict[str, Any]]:
    _, texts, classes = dataset.columns(split)
    return [
        {**columns, "labels": int(number)}
        for columns, number in zip(tokenize(tokenizer, texts, max_tokens), classes, strict=True)
    ]


def _length(example: dict[str, Any]) -> int:
    return len(example["input_ids"])


def _rows_at_once(model: Any, collate: Any, examples: list[dict[str, Any]], training: FineTuning, share: int) -> int:
    """Texts in one batch of a device, of the ``share`` of an update that falls to it."""
    if training.micro_batch_size == "auto":
        return smallest(probe_batch_size(model, collate([max(examples, key=_length)]), share))
    most = training.micro_batch_size or share
    return max(rows for rows in range(1, share + 1) if share % rows == 0 and rows <= most)


def _schedule(training: FineTuning) -> str:
    return "constant_with_warmup" if training.schedule == "constant" else training.schedule


def _restore(checkpoints: Checkpoints, scratch: Path, output: Path) -> bool:
    """Bring what was kept of this training, if it was killed, into ``output``; False when nothing was."""
    stored = scratch / "restored"
    if not checkpoints.restore(stored):
        return False
    for kept in stored.iterdir():
        with_pickle(kept, output / kept.name)
        path = output / kept.name / "trainer_state.json"
        state = json.loads(path.read_text("utf-8"))
        if best := state["best_model_checkpoint"]:
            state["best_model_checkpoint"] = str(output / Path(best).name)
        path.write_text(json.dumps(state), "utf-8")
    shutil.rmtree(stored)
    last = json.loads((Path(get_last_checkpoint(str(output))) / "trainer_state.json").read_text("utf-8"))
    print(f"resuming at update {last['global_step']} of {last['max_steps']}", flush=True)
    return True


class _Trainer(Trainer):
    """Draws batches of like length in an order that hangs on nothing but the seed and the epoch.

    So a resumed training, and one on more devices, sees the same texts in every update. The Trainer's own order comes
    from the process's random state, which nobody has any more who resumes within an epoch.
    """

    def __init__(self, args: TrainingArguments, loss: Loss, **others: Any) -> None:
        # By itself it would spread one process over every GPU there is, each with a whole batch.
        args._n_gpu = min(args.n_gpu, 1)
        super().__init__(args=args, compute_loss_func=loss, **others)
        self._loss = loss

    def _get_train_sampler(self, train_dataset: Any = None) -> "_LengthGrouped":
        return _LengthGrouped(self)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **others: Any) -> Any:
        """What a teacher says of the texts is for the loss, not for the model."""
        self.compute_loss_func = partial(self._loss, teacher=inputs.pop("teacher", None))
        return super().compute_loss(model, inputs, *arguments, **others)


class _LengthGrouped(Sampler[int]):
    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._lengths = [_length(example) for example in trainer.train_dataset]
        args = trainer.args
        self._update = args.train_batch_size * args.gradient_accumulation_steps * args.world_size

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        # Epochs that have ended; within one that is resumed the number is a fraction.
        epoch = int(self._trainer.state.epoch or 0)
        generator = torch.Generator().manual_seed(self._trainer.args.seed + epoch)
        rows = get_length_grouped_indices(self._lengths, self._update, generator=generator)
        # It orders many batches from long to short, so that few updates would all see long texts first. The first
        # batch stays, which has the longest text and so shows at once whether memory is enough, and a last partial one.
        updates = [rows[start : start + self._update] for start in range(0, len(rows), self._update)]
        full = len(rows) // self._update
        shuffled = [1 + place for place in torch.randperm(max(full - 1, 0), generator=generator).tolist()]
        return chain.from_iterable(updates[place] for place in [0, *shuffled, *range(max(full, 1), len(updates))])


class _LogsWhole(TrainerCallback):
    """Logs the loss before a checkpoint and at the end, so that no update is missing from what is logged.

    A checkpoint does not hold the losses that were summed up since the last entry.
    """

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_log |= control.should_save or control.should_training_stop


class _KeepsCheckpoints(TrainerCallback):
    """Brings what the Trainer saved to where it outlives this process: the last checkpoint, and the best."""

    def __init__(self, checkpoints: Checkpoints, scratch: Path) -> None:
        self._checkpoints, self._scratch = checkpoints, scratch

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        wait_for_all()  # each has written its random state
        # After the last update there is nothing to resume.
        if not is_main_process() or control.should_training_stop:
            return
        stored = self._scratch / "stored"
        for checkpoint in Path(args.output_dir).glob("checkpoint-*"):
            without_pickle(checkpoint, stored / checkpoint.name)
        self._checkpoints.keep(stored)


class _ShowsProgress(TrainerCallback):
    """Rows trained, epoch, loss and F1, through ``Progress``."""

    def __init__(self, training: FineTuning) -> None:
        self._training = training
        self._progress: Progress | None = None
        self._loss = self._f1 = ""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self._loss = f", loss {float(logs['loss']):.3f}"

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **_: Any
    ) -> None:
        if metrics and state.is_world_process_zero:
            self._f1 = f", validation F1 {metrics['eval_f1']:.4f}"
            print(f"epoch {state.epoch:.2f}{self._loss}{self._f1}", flush=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        if self._progress is None:
            self._progress = Progress(total=state.max_steps * self._training.batch_size)
        note = f"epoch {state.epoch:.2f} of {self._training.epochs:g}{self._loss}{self._f1}"
        self._progress.update(state.global_step * self._training.batch_size, note)
