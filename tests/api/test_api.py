"""The public Python API, as a data scientist uses it: from a DataFrame to a promoted model that predicts."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pipelines.hub_server import HubServer, Repository, serve
from words import write_words

import textgate

BIN = Path(sysconfig.get_path("scripts"))
LINEAR = {"train": {"family": "linear", "min_df": 1}, "gate.min_f1": 0.5, "model": "reviews", "name": "reviews"}


def reviews(rows: int = 120) -> pd.DataFrame:
    """Return easy texts whose label is the word they end with."""
    random = np.random.default_rng(13)
    labels = ["bad", "good"] * (rows // 2)
    words = [" ".join(random.choice(["film", "plot", "cast", "scene", "score"], 4)) for _ in labels]
    return pd.DataFrame(
        {
            "review": [f"{text} {label} {i}" for i, (text, label) in enumerate(zip(words, labels, strict=True))],
            "verdict": labels,
        }
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> textgate.TrainingResult:
    recipe = textgate.open_recipe("quickstart-tfidf", LINEAR)
    output = tmp_path_factory.mktemp("trained")
    return textgate.train(recipe, reviews(), text="review", label="verdict", output=output)


def test_a_recipe_opens_with_settings_of_any_type() -> None:
    settings = {"train.C": 1, "train.ngrams": [1, 3], "preprocess.normalizer.lowercase": True, "description": "a: b"}
    recipe = textgate.open_recipe("quickstart-tfidf", settings)
    assert isinstance(recipe, textgate.Recipe)
    assert recipe.train.model_dump(include={"C", "ngrams"}) == {"C": 1.0, "ngrams": (1, 3)}
    assert recipe.preprocess.normalizer.lowercase
    assert recipe.description == "a: b"


def test_a_wrong_setting_is_one_sentence_that_names_the_key() -> None:
    with pytest.raises(textgate.InputError, match=r"unknown key train\.min_dff; did you mean train\.min_df\?"):
        textgate.open_recipe("quickstart-tfidf", {"train.min_dff": 1})


def test_training_from_a_data_frame_gives_a_model_and_its_evaluation(trained: textgate.TrainingResult) -> None:
    assert trained.model.bundle.labels == ["bad", "good"]
    assert trained.evaluation.manifest.f1.value > 0.9
    assert trained.evaluation.manifest.training_cost is not None
    assert trained.evaluation.manifest.training_cost.seconds > 0
    good, bad = trained.model.predict(["a good film", "a bad film"])
    assert (good.label, bad.label) == ("good", "bad")
    assert good.truncated is False
    assert good.score == good.probabilities["good"] > 0.5
    assert sum(good.probabilities.values()) == pytest.approx(1)


def test_probabilities_are_those_of_the_predictions(trained: textgate.TrainingResult) -> None:
    texts = ["good", "bad", "neither"]
    probabilities = trained.model.predict_proba(texts)
    assert probabilities.shape == (3, 2)
    assert [
        list(prediction.probabilities.values()) for prediction in trained.model.predict(texts)
    ] == probabilities.tolist()


def test_a_trained_model_loads_from_its_folder(trained: textgate.TrainingResult) -> None:
    loaded = textgate.load(trained.folder / "served")
    assert loaded.predict(["a good film"]) == trained.model.predict(["a good film"])


def test_evaluation_on_other_texts_has_intervals(trained: textgate.TrainingResult) -> None:
    metrics = textgate.evaluate(
        trained.model, ["good", "bad", "good bad", "bad"] * 10, ["good", "bad", "good", "good"] * 10
    )
    assert metrics["accuracy"].value in (0.5, 0.75)
    assert metrics["accuracy"].low < metrics["accuracy"].value < metrics["accuracy"].high


@pytest.mark.parametrize(
    ("texts", "labels", "sentence"),
    [
        ([], [], "evaluate takes a label for each text, not 0 texts and 0 labels"),
        (["x"], ["good", "bad"], "evaluate takes a label for each text, not 1 texts and 2 labels"),
        (["x"], ["great"], "the label 'great' is none of the model's labels: bad, good"),
    ],
)
def test_invalid_evaluation_input_is_one_sentence(
    trained: textgate.TrainingResult, texts: list[str], labels: list[str], sentence: str
) -> None:
    with pytest.raises(textgate.InputError, match=sentence):
        textgate.evaluate(trained.model, texts, labels)


def test_a_missing_column_is_one_sentence(tmp_path: Path) -> None:
    recipe = textgate.open_recipe("quickstart-tfidf", LINEAR)
    with pytest.raises(textgate.InputError, match="no column 'text'; they have review, verdict: name the columns"):
        textgate.train(recipe, reviews(), output=tmp_path / "out")


def test_an_output_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(textgate.InputError, match="is not empty"):
        textgate.train("quickstart-tfidf", output=tmp_path)


def test_a_run_promotes_a_model_that_loads_by_name(environment: dict[str, str], tmp_path: Path) -> None:
    recipe = textgate.open_recipe("quickstart-tfidf", {**LINEAR, "model": "api-reviews"})
    store = {"workspace": tmp_path / "workspace", "bucket": "api"}
    run = textgate.run(recipe, reviews(), text="review", label="verdict", **store)
    assert run.record.promotion is not None
    assert run.report.exists()
    for reference in ("api-reviews", "api-reviews@champion", f"api-reviews@{run.record.promotion.version}"):
        assert textgate.load(reference, **store).predict(["a good film"])[0].label == "good"
    with pytest.raises(textgate.InputError, match="did you mean api-reviews"):
        textgate.load("api-review", **store)


def test_a_recipe_with_a_relative_path_runs_and_records_the_full_path(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviews().to_csv(tmp_path / "reviews.csv", index=False)
    monkeypatch.chdir(tmp_path)
    source = {"uri": "reviews.csv", "text": "review", "label": "verdict"}
    recipe = textgate.open_recipe("quickstart-tfidf", {**LINEAR, "source": source, "model": "relative"})
    record = textgate.run(recipe, workspace="workspace", bucket="api").record
    assert record.promotion is not None
    assert record.recipe["source"]["uri"] == str(tmp_path / "reviews.csv")
    assert textgate.load("relative", workspace="workspace", bucket="api").bundle.labels == ["bad", "good"]


def test_a_published_model_loads_from_the_hub(tmp_path: Path) -> None:
    folder = write_words(tmp_path / "bundle")
    script = """
import sys, textgate
print(textgate.load(sys.argv[1]).predict(["a good film"])[0].label)
"""
    hub = HubServer(token="hf_token")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    commit = {**files, "README.md": b"a card", "notes.txt": b"not in the manifest"}
    hub.repositories["us/words"] = Repository(private=False, branches={"main": [commit]})
    server = serve(hub)
    settings = {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": hub.token,
        "TEXTGATE_DOWNLOADS": str(tmp_path / "new"),
    }
    process = subprocess.run(
        [sys.executable, "-c", script, "hf://us/words"], env={**os.environ, **settings}, capture_output=True, text=True
    )
    server.shutdown()
    assert process.stdout == "good\n", process.stderr


def test_importing_textgate_imports_nothing_heavy() -> None:
    script = """
import sys, textgate
print(textgate.__version__, sorted({"torch", "pydantic", "kfp", "numpy"} & set(sys.modules)))
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == f"{textgate.__version__} []"


def test_every_public_name_is_documented() -> None:
    for name in textgate.__all__:
        if name != "__version__":
            assert getattr(textgate, name).__doc__, name
    with pytest.raises(AttributeError, match="module 'textgate' has no attribute 'lod'"):
        _ = textgate.lod


USER_SCRIPT = """
import textgate

recipe: textgate.Recipe = textgate.open_recipe("quickstart", {"train.epochs": 1})
result: textgate.TrainingResult = textgate.train(recipe)
run: textgate.LocalRun = textgate.run(recipe)
model: textgate.LoadedBundle = textgate.load("quickstart@champion")
predictions: list[textgate.Prediction] = model.predict(["a text"])
label: str = predictions[0].label
accuracy: float = textgate.evaluate(model, ["a text"], ["positive"])["accuracy"].low
version: str = textgate.__version__
error: type[Exception] = textgate.InputError
shape: tuple[int, ...] = model.predict_proba(["a text"]).shape
"""


@pytest.fixture(scope="module", params=["editable", "wheel"])
def interpreter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a Python that has textgate installed: as `make` installs it, or from its wheel."""
    if request.param == "editable":
        yield Path(sys.executable)
        return
    folder = tmp_path_factory.mktemp("wheel")
    root = Path(__file__).parents[2]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, root], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", wheel], check=True)
    # Everything but textgate comes from the environment of the tests.
    purelib = Path(sysconfig.get_path("purelib"))
    site = next((folder / "venv" / "lib").glob("*/site-packages"))
    for path in purelib.iterdir():
        if "textgate" not in path.name and not (site / path.name).exists():
            (site / path.name).symlink_to(path)
    yield python


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_type_checker_resolves_every_public_name_in_a_users_script(
    checker: str, interpreter: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(USER_SCRIPT)
    command = {
        "mypy": [str(BIN / "mypy"), "--strict", f"--python-executable={interpreter}", str(script)],
        "pyright": [str(BIN / "pyright"), "--pythonpath", str(interpreter), str(script)],
    }[checker]
    assert all(name in USER_SCRIPT for name in textgate.__all__)
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout
    script.write_text(USER_SCRIPT + "wrong: int = model.predict(['a text'])\n")
    wrong = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 1, wrong.stdout
