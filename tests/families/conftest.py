"""Tiny models train on one thread."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """A tiny model spends its time on handing work to a second thread."""
    import torch

    torch.set_num_threads(1)
