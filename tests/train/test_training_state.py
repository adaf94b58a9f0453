"""Packing of the Trainer's checkpoints without pickle."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import get_scheduler
from transformers.trainer_pt_utils import safe_globals

from textgate.components.families.transformer.training.training_state import pack_checkpoint, unpack_checkpoint

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
numbers = st.integers() | st.booleans() | st.floats() | st.none() | st.text(max_size=5)
tensors = st.builds(
    lambda shape, dtype, seed: torch.randint(0, 200, shape, generator=torch.Generator().manual_seed(seed)).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(DTYPES),
    st.integers(0, 9),
)
arrays = st.integers(1, 5).map(lambda size: np.arange(size, dtype=np.uint32))  # a dtype that the Trainer loads
states = st.recursive(
    numbers | tensors | tensors.map(lambda tensor: tensor.mT if tensor.ndim > 1 else tensor) | arrays,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.integers() | st.text(max_size=3) | st.tuples(st.integers()), inner, max_size=4)
    ),
    max_leaves=12,
)


def round_trip(folder: Path, **states: Any) -> dict[str, Any]:
    """Save each state like the Trainer, pack and unpack the checkpoint, and load the states like the Trainer."""
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    for name, state in states.items():
        torch.save(state, checkpoint / f"{name}.pt")
    pack_checkpoint(checkpoint, folder / "stored")
    unpack_checkpoint(folder / "stored", folder / "restored")
    with safe_globals():
        return {name: torch.load(folder / "restored" / f"{name}.pt", weights_only=True) for name in states}


def identical(left: Any, right: Any) -> bool:
    """Return True if both are equal in type, structure and every bit."""
    if type(left) is not type(right):
        return False
    match left:
        case torch.Tensor():
            return left.dtype == right.dtype and left.shape == right.shape and left.equal(right)
        case np.ndarray():
            return left.dtype == right.dtype and left.tobytes() == right.tobytes() and left.shape == right.shape
        case float():
            return left.hex() == right.hex()
        case list() | tuple():
            return len(left) == len(right) and all(map(identical, left, right))
        case dict():
            return identical(list(left), list(right)) and all(identical(left[key], right[key]) for key in left)
    return bool(left == right)


@given(state=states)
@settings(deadline=None, max_examples=50)
def test_any_nested_state_survives_a_round_trip(state: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    restored = round_trip(tmp_path_factory.mktemp("state"), optimizer=state)
    assert identical(restored["optimizer"], state)


def test_views_of_one_storage_survive_a_round_trip(tmp_path: Path) -> None:
    storage = torch.arange(12.0)
    state = {0: storage, 1: storage[3:7], 2: storage.view(3, 4).T}
    assert identical(round_trip(tmp_path, optimizer=state)["optimizer"], state)


def test_training_continues_identically_after_a_round_trip(tmp_path: Path) -> None:
    def start() -> tuple[torch.nn.Module, torch.optim.Optimizer, Any]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(0.5), torch.nn.Linear(16, 2))
        groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=0.1, fused=True)
        return model, optimizer, get_scheduler("cosine", optimizer, num_warmup_steps=2, num_training_steps=20)

    def train_five_updates(model: torch.nn.Module, optimizer: torch.optim.Optimizer, schedule: Any) -> None:
        for _ in range(5):
            model(torch.from_numpy(np.random.standard_normal((4, 8))).float() * random.random()).sum().backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()

    model, optimizer, schedule = start()
    train_five_updates(model, optimizer, schedule)
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    restored = round_trip(
        tmp_path,
        optimizer=optimizer.state_dict(),
        scheduler=schedule.state_dict(),
        rng_state={"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.random.get_rng_state()},
        scaler=torch.amp.GradScaler("cpu").state_dict(),
    )
    assert identical(restored["optimizer"], optimizer.state_dict())
    train_five_updates(model, optimizer, schedule)

    restored_model, second_optimizer, second_schedule = start()
    restored_model.load_state_dict(weights)
    second_optimizer.load_state_dict(restored["optimizer"])
    second_schedule.load_state_dict(restored["scheduler"])
    random.setstate(restored["rng_state"]["python"])
    np.random.set_state(restored["rng_state"]["numpy"])
    torch.random.set_rng_state(restored["rng_state"]["cpu"])
    train_five_updates(restored_model, second_optimizer, second_schedule)
    assert identical(dict(restored_model.state_dict()), dict(model.state_dict()))
    assert identical(second_optimizer.state_dict(), optimizer.state_dict())
    assert second_schedule.get_last_lr() == schedule.get_last_lr()


def test_a_packed_checkpoint_contains_no_pickle_and_the_same_weights(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    (checkpoint / "deeper").mkdir(parents=True)
    torch.save({"lr": 0.1}, checkpoint / "scheduler.pt")
    torch.save(Path("anything"), checkpoint / "training_args.bin")
    (checkpoint / "deeper/model.safetensors").write_bytes(b"weights")
    pack_checkpoint(checkpoint, tmp_path / "stored")
    stored = {path.relative_to(tmp_path / "stored").as_posix(): path for path in (tmp_path / "stored").rglob("*.*")}
    assert set(stored) == {"deeper/model.safetensors", "training_state.json", "training_state.safetensors"}
    assert stored["deeper/model.safetensors"].read_bytes() == b"weights"


def test_an_object_that_only_pickle_could_store_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="contains a complex, which cannot be stored without pickle"):
        round_trip(tmp_path, optimizer={"lr": 1j})
