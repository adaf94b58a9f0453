"""Tests of the model families."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Run torch on one thread: for tiny models the overhead of a second thread outweighs its work."""
    import torch

    torch.set_num_threads(1)
