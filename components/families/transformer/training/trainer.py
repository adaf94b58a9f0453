"""``transformers.Trainer`` with reproducible length-grouped batches and teacher probabilities."""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import Trainer, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices

from textgate.components.families.transformer.training.loss import Loss
from textgate.components.families.transformer.training.throughput import Throughput


def token_count(example: dict[str, Any]) -> int:
    """Return the length of a tokenized example."""
    return len(example["input_ids"])


class LengthGroupedTrainer(Trainer):
    """Trainer that groups texts of similar length, in an order that depends on the seed and the epoch only.

    A training that is resumed, or that runs on more devices, sees the same texts in every update. The Trainer's own
    order depends on the random state of the process, which is lost when a training is resumed within an epoch.
    """

    def __init__(
        self, args: TrainingArguments, loss: Loss, throughput: Throughput | None = None, **others: Any
    ) -> None:
        # By default a single process wraps the model in DataParallel, with a full batch on every visible GPU.
        args._n_gpu = min(args.n_gpu, 1)
        super().__init__(args=args, compute_loss_func=loss, **others)
        self._loss, self._throughput = loss, throughput
        if throughput:
            self.add_callback(throughput)

    def _get_train_sampler(self, train_dataset: Any = None) -> "_LengthGroupedSampler":
        return _LengthGroupedSampler(self)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **others: Any) -> Any:
        """Pass the teacher's probabilities in ``inputs`` to the loss instead of to the model."""
        if self._throughput and model.training:
            self._throughput.count(inputs["attention_mask"])
        self.compute_loss_func = partial(self._loss, teacher=inputs.pop("teacher", None))
        return super().compute_loss(model, inputs, *arguments, **others)


class _LengthGroupedSampler(Sampler[int]):
    """Sampler of row indices, grouped by length, with the order of updates shuffled per epoch."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._lengths = [token_count(example) for example in trainer.train_dataset]
        args = trainer.args
        self._rows_per_update = args.train_batch_size * args.gradient_accumulation_steps * args.world_size

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        # Completed epochs; the value is fractional when a training is resumed within an epoch.
        epoch = int(self._trainer.state.epoch or 0)
        size = self._rows_per_update
        generator = torch.Generator().manual_seed(self._trainer.args.seed + epoch)
        rows = get_length_grouped_indices(self._lengths, size, generator=generator)
        # transformers sorts runs of many batches from long to short, so a short training would see long texts first.
        # Shuffle the updates, except for the first one, whose longest text shows at once whether memory suffices, and a
        # partial last one.
        updates = [rows[start : start + size] for start in range(0, len(rows), size)]
        full = len(rows) // size
        shuffled = [1 + index for index in torch.randperm(max(full - 1, 0), generator=generator).tolist()]
        return chain.from_iterable(updates[index] for index in [0, *shuffled, *range(max(full, 1), len(updates))])
