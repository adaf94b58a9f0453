"""Hostile bundles are refused with one sentence that names the fault, in bounded time and memory."""

import base64
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from inference.hostile_bundles import FAULTS, HOSTILE, TOKENIZER, write_ensemble, write_linear, write_onnx
from safetensors.numpy import save_file

from textgate.components.contracts import InputError, ModelBundle
from textgate.components.inference import LoadedBundle, PartialPrediction, PredictionError, load_bundle
from textgate.components.inference.failures import failures_as
from textgate.components.inference.onnx import OnnxPredictor
from textgate.components.inference.tokenizer import check_tokenizer, read_tokenizer

TEXTS = ["good", "bad bad", "neither", ""]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_bundle_is_refused_with_its_fault(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "bundles" / "bundle"
    HOSTILE[name](folder)
    started = time.process_time()
    with pytest.raises(InputError, match=FAULTS[name]) as error:
        load_bundle(folder, threads=1).warm_up(TEXTS)
    assert time.process_time() - started < 5
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("write", [write_linear, write_onnx, write_ensemble])
def test_the_good_bundles_are_served(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle", threads=1)
    loaded.warm_up(TEXTS)
    probabilities = loaded.predict_proba(TEXTS)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert probabilities[:2].argmax(axis=1).tolist() == [1, 0]
    np.testing.assert_allclose(probabilities[2:], 0.5)


def test_a_manifest_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bundle.json")
    with pytest.raises(InputError, match=r"bundle\.json is a pipe"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("temperature", [0.01, 0.05, 20, 100])
def test_every_temperature_that_the_calibration_may_fit_is_loaded(temperature: float, tmp_path: Path) -> None:
    write_linear(tmp_path / "bundle")
    bundle = ModelBundle.load(tmp_path / "bundle")
    calibration = bundle.calibration.model_copy(update={"temperature": temperature})
    bundle.model_copy(update={"calibration": calibration}).write(tmp_path / "bundle")
    assert np.isfinite(load_bundle(tmp_path / "bundle").predict_proba(TEXTS)).all()


def write_tokenizer(path: Path, **changes: object) -> Path:
    path.write_text(json.dumps({**TOKENIZER, **changes}))
    return path


def precompiled(longest: int) -> dict[str, str]:
    """Return a normalizer whose table has a replacement of ``longest`` characters."""
    table = (4).to_bytes(4, "little") + bytes(4) + b"x" * longest + b"\0"
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}


REGEX = {"type": "Replace", "pattern": {"Regex": "x*"}, "content": "y"}


@pytest.mark.parametrize(
    "steps",
    [
        [precompiled(257)],
        [precompiled(20), precompiled(20)],
        [REGEX] * 9,
        [{"type": "Replace", "pattern": {"String": ""}, "content": "x" * 16}, *[REGEX] * 4],
        [{"type": "Prepend", "prepend": "x" * 300}],
        [{"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [REGEX] * 9}]}],
    ],
)
def test_a_normalizer_that_can_lengthen_a_text_beyond_measure_is_refused(
    steps: list[dict[str, object]], tmp_path: Path
) -> None:
    path = write_tokenizer(tmp_path / "tokenizer.json", normalizer={"type": "Sequence", "normalizers": steps})
    with pytest.raises(InputError, match="can lengthen a text more than 256 times"):
        read_tokenizer(path, 16)


def test_the_normalizer_of_a_sentencepiece_model_is_read(tmp_path: Path) -> None:
    # As in ALBERT's and XLM-RoBERTa's tokenizer.json.
    replacements = [
        {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
    ]
    steps = [*replacements, {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]
    path = write_tokenizer(tmp_path / "tokenizer.json", normalizer={"type": "Sequence", "normalizers": steps})
    assert check_tokenizer(read_tokenizer(path, 16), 16_384) == 2


def test_a_tokenizer_that_takes_quadratic_time_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The real limit is 2 s, for 65,536 characters.
    monkeypatch.setattr("textgate.components.inference.tokenizer._SECONDS", 0.1)
    slow = {"type": "Replace", "pattern": {"Regex": "a+$"}, "content": "a"}
    tokenizer = read_tokenizer(write_tokenizer(tmp_path / "tokenizer.json", normalizer=slow), 16)
    with pytest.raises(InputError, match=r"takes [0-9.]+ s for 12,000 times 'a'"):
        check_tokenizer(tokenizer, 12_000)


class Broken:
    """Predictor that raises an error, or returns probabilities that are not numbers."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        raise self.error or ValueError("unexpected")

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        yield PartialPrediction(np.arange(1), np.full((1, 2), 0.5), np.zeros(1, dtype=np.bool_), 1)
        raise self.error or ValueError("unexpected")


class PanicException(BaseException):
    """As PyO3 raises it for a panic in Rust."""


@pytest.mark.parametrize("error", [PanicException("index out of bounds"), RecursionError("deep"), MemoryError()])
def test_a_failing_model_raises_an_exception_and_never_a_panic(error: BaseException, tmp_path: Path) -> None:
    write_linear(tmp_path / "bundle")
    broken = LoadedBundle(ModelBundle.load(tmp_path / "bundle"), Broken(error))
    with pytest.raises(PredictionError, match="the model 'hostile' failed: "):
        broken.predict_proba(TEXTS)
    batches = broken.predict_batches(TEXTS)
    assert next(batches).rows.tolist() == [0]
    with pytest.raises(PredictionError, match="the model 'hostile' failed: "):
        next(batches)
    with pytest.raises(InputError, match="failed: "):
        broken.warm_up(TEXTS)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_passes(interruption: type[BaseException], tmp_path: Path) -> None:
    write_linear(tmp_path / "bundle")
    broken = LoadedBundle(ModelBundle.load(tmp_path / "bundle"), Broken(interruption()))
    with pytest.raises(interruption):
        broken.warm_up(TEXTS)
    with pytest.raises(interruption), failures_as(InputError, "the bundle cannot be loaded"):
        raise interruption


def test_a_panic_in_the_tokenizer_is_a_prediction_error_for_that_text_only(tmp_path: Path) -> None:
    HOSTILE["tokenizer-with-a-slow-pattern"](tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle", threads=1)
    assert loaded.predict(["good"])[0].label == "good"
    with pytest.raises(PredictionError, match="retry-limit"):
        loaded.predict_proba(["a" * 100 + "!"])
    assert loaded.predict(["good"])[0].label == "good"


def test_output_that_is_not_finite_names_the_guilty_texts(tmp_path: Path) -> None:
    HOSTILE["logits-nan"](tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle", threads=1)
    with pytest.raises(PredictionError, match="not finite for the texts with the index 0, 1"):
        loaded.predict_proba(["good", "good"])


def test_a_linear_model_whose_sums_overflow_names_the_guilty_texts(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write_linear(folder)
    largest = np.finfo(np.float64).max
    arrays = {"idf": np.ones(2), "weights": np.full((2, 2), largest), "bias": np.full(2, largest)}
    save_file(arrays, folder / "model.safetensors")
    ModelBundle.parse((folder / "bundle.json").read_bytes(), "here").write(folder)
    loaded = load_bundle(folder, threads=1)
    assert loaded.predict_proba(["neither"]).tolist() == [[0.5, 0.5]]
    with pytest.raises(PredictionError, match="not finite for the texts with the index 1"):
        loaded.predict_proba(["neither", "good"])


@pytest.fixture
def predictor(tmp_path: Path) -> OnnxPredictor:
    write_onnx(tmp_path / "bundle")
    inner = load_bundle(tmp_path / "bundle", threads=1).predictor
    assert isinstance(inner, OnnxPredictor)
    return inner


def test_a_text_is_cut_before_it_is_normalized(predictor: OnnxPredictor) -> None:
    cut = 16_384
    texts = [" " * (cut - 4) + "good", " " * (cut - 3) + "good", "good " * 17, "good " * 16, "good" + " " * cut]
    batches = list(predictor.batches(texts))
    truncated = dict(
        zip(
            *(np.concatenate(parts).tolist() for parts in zip(*((b.rows, b.truncated) for b in batches), strict=True)),
            strict=True,
        )
    )
    assert truncated == {0: False, 1: True, 2: True, 3: False, 4: True}
    probabilities = predictor.predict_proba(texts)
    # The second text ends with "goo", an unknown word.
    assert probabilities[1].tolist() == [0.5, 0.5]
    np.testing.assert_array_equal(probabilities[4], probabilities[0])
    assert probabilities[0, 1] > 0.5


def test_a_megabyte_of_hostile_text_takes_no_longer_than_what_is_read(predictor: OnnxPredictor) -> None:
    predictor.predict_proba(["warm"])
    for piece in ("\u0301\u0323\u0334", "a\u0301", "漢", " ", "good "):
        started = time.process_time()
        predictor.predict_proba([piece * (1_000_000 // len(piece))])
        assert time.process_time() - started < 0.5, piece
