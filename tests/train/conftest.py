"""A preprocessed dataset of easy texts, and a training that saves checkpoints within its epochs."""

import json
import random
import shutil
import struct
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from textgate.components.contracts import Row, TextNormalizer, TransformerTraining, dataset_writer

WORDS = [f"word{index}" for index in range(40)]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(13)
    path = tmp_path_factory.mktemp("data") / "dataset"
    with dataset_writer(path, ["train", "validation", "test"]) as writer:
        for index in range(200):
            label = ["bad", "good"][index % 2]
            text = " ".join([*rng.sample(WORDS, rng.randint(2, 12)), label])
            split = "validation" if index % 5 == 4 else "train"
            writer.add(split, Row(str(index), text, label))
        writer.finish("made up", ["bad", "good"], normalizer=TextNormalizer(lowercase=True))
    return path


@pytest.fixture
def training(tiny_encoder: Path) -> TransformerTraining:
    """20 updates per epoch of 2 batches each; evaluated and saved every 7 updates, so not at the end of an epoch."""
    return TransformerTraining(
        family="transformer",
        base_model=str(tiny_encoder),
        max_tokens=16,
        epochs=2,
        evaluate_every=0.35,
        batch_size=8,
        micro_batch_size=4,
        learning_rate=5e-3,
        precision="fp32",
    )


@pytest.fixture
def without_dropout(tiny_encoder: Path, tmp_path: Path) -> Path:
    """The tiny encoder without dropout, whose masks differ between processes, so that results are comparable."""
    folder = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


Scalars = Callable[[Path], dict[str, dict[int, float]]]


@pytest.fixture(scope="session")
def scalars() -> Scalars:
    """Function that reads the scalars of a TensorBoard folder, by tag and update, without the durations."""

    def read(logs: Path) -> dict[str, dict[int, float]]:
        scalars: dict[str, dict[int, float]] = defaultdict(dict)
        (path,) = logs.glob("events.out.tfevents.*")
        data = path.read_bytes()
        while data:
            # TFRecord format: length, checksum of the length, data, checksum of the data (tensorflow.org, "TFRecord").
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[12 + length + 4 :]
            for value in event.summary.value:
                if value.tag in ("train/loss", "train/grad_norm", "train/learning_rate", "eval/loss", "eval/f1"):
                    scalars[value.tag][event.step] = value.simple_value
        return dict(scalars)

    return read
