"""Tests of the model families."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Run torch on one thread: for tiny models the overhead of a second thread outweighs its work."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials for a store that is not there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
