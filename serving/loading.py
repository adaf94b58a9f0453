"""From the folder of a bundle to a version that is checked and warmed up.

Loading a bundle may raise anything, end in a Rust panic, or not end at all. ``open_version`` turns each of these into
an InputError, so that a bad bundle harms no other model.
"""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from textgate.components.contracts import InputError, OnnxRuntime
from textgate.components.inference import LoadedBundle, load_bundle
from textgate.components.inference.device import Device
from textgate.components.inference.failures import describe
from textgate.serving.served_model import ServedVersion

OPEN_SECONDS = 120.0
"""Longest time that a bundle may take to load and to warm up."""
_WARM_UP_TEXTS = [" ".join(["warm", "up"] * pairs) for pairs in (1, 2, 8, 32)]


class OpeningTimeoutError(InputError):
    """A bundle that does not end loading; its thread goes on, so it must not be tried again and again."""


def open_version(model: str, version: str, folder: Path, threads: int, device: Device = "cpu") -> ServedVersion:
    """Load a bundle, run it on a few texts, and measure its processing time.

    Args:
        model: Name of the model.
        version: Version that the folder must contain.
        folder: Folder of the bundle.
        threads: Number of threads that predict.
        device: Device that runs ONNX graphs.

    Raises:
        InputError: The folder does not contain the version, or the version cannot be served, for whatever reason.
    """
    opened: list[ServedVersion] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            opened.append(_open(model, version, folder, threads, device))
        except BaseException as error:  # PyO3's PanicException is no Exception
            failed.append(error)

    # A thread of its own, because a graph may contain an endless loop.
    thread = threading.Thread(target=work, name=f"open-{model}", daemon=True)
    thread.start()
    thread.join(OPEN_SECONDS)
    if failed:
        raise InputError(describe(failed[0])) from failed[0]
    if not opened:
        raise OpeningTimeoutError(f"the bundle did not load and warm up within {OPEN_SECONDS:g} s")
    return opened[0]


def _open(model: str, version: str, folder: Path, threads: int, device: Device) -> ServedVersion:
    loaded = load_bundle(folder, threads=1, device=device)
    if not loaded.bundle.fingerprint.startswith(version):
        raise InputError(f"the version {version} contains the bundle {loaded.bundle.fingerprint[:12]}")
    # On a GPU, the threads share one session.
    parallel = loaded if device == "cuda" else _load_parallel(folder, loaded, threads)
    served = ServedVersion(model, version, loaded, parallel)
    loaded.warm_up(_WARM_UP_TEXTS)
    seconds = []
    for _ in range(2):
        _check(loaded, served.parallel.predict_proba(_WARM_UP_TEXTS))
        started = time.perf_counter()
        _check(loaded, loaded.predict_proba(_WARM_UP_TEXTS))
        seconds.append(time.perf_counter() - started)
    # The first run allocates memory.
    served.record_timing(min(seconds), sum(map(served.cost, _WARM_UP_TEXTS)))
    return served


def _check(loaded: LoadedBundle, probabilities: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> None:
    """Raise InputError unless there is one finite probability for each warm-up text and label."""
    expected = (len(_WARM_UP_TEXTS), len(loaded.bundle.labels))
    if probabilities.shape != expected:
        raise InputError(
            f"the model returns {probabilities.shape[-1]} probabilities for {len(loaded.bundle.labels)} labels"
        )
    if not np.isfinite(probabilities).all():
        raise InputError("the model returns probabilities that are no finite numbers")


def _load_parallel(folder: Path, loaded: LoadedBundle, threads: int) -> LoadedBundle:
    """Return the bundle of ``loaded`` with a predictor that uses all threads."""
    runtime = loaded.bundle.runtime
    if threads == 1 or not isinstance(runtime, OnnxRuntime):
        return loaded
    from textgate.components.inference.onnx import OnnxPredictor

    return replace(loaded, predictor=OnnxPredictor(folder, loaded.bundle.normalizer, runtime, threads, in_server=True))
