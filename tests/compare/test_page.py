"""HTML page of a comparison."""

import re
from pathlib import Path

import pytest
from compare.systems import estimate, system

from textgate.components.compare.page import write_comparison_page
from textgate.components.contracts.comparison import ComparedSystem, Comparison, CostLimits, SystemPair
from textgate.components.contracts.training_cost import AcceleratorUse, EarlierTraining, TrainingCost
from textgate.pipelines import recipes
from textgate.pipelines.cli.compare import _table
from textgate.pipelines.terminal import Console

HOSTILE = "<script>alert(1)</script>"


def page(folder: Path, systems: list[ComparedSystem], winner: str | None, pairs: list[SystemPair]) -> str:
    path = folder / "comparison.html"
    recipe_list = [recipes.load("quickstart"), recipes.load("toxic-lsa")]
    write_comparison_page(path, comparison_of(systems, winner, pairs), recipe_list)
    return path.read_text("utf-8")


def comparison_of(systems: list[ComparedSystem], winner: str | None, pairs: list[SystemPair]) -> Comparison:
    return Comparison(
        dataset="1" * 64,
        labels=["bad", HOSTILE],
        rows=1_280,
        validation_rows=853,
        limits=CostLimits(max_size_mb=50),
        systems=systems,
        pairs=pairs,
        winner=winner,
        as_good=[],
        message=f"{winner} wins" if winner else "nothing won",
    )


def test_the_page_shows_the_winner_both_plots_every_pair_and_the_error_of_a_failed_system(tmp_path: Path) -> None:
    difference = SystemPair(
        first="quickstart",
        second="toxic-lsa",
        f1_difference=estimate(0.1),
        p_value=0.0125,
        p_holm=0.0375,
        significant=True,
    )
    systems = [
        system("quickstart", 0.8, latency_ms=5, seconds=100, size_mb=23),
        system("toxic-lsa", 0.7, latency_ms=0.1, seconds=3),
        system("odd", failed=f"the label {HOSTILE} is none"),
    ]
    html = page(tmp_path, systems, "quickstart", [difference])
    assert "<h1>quickstart</h1>" in html
    for name in ("latency", "training"):
        (plot,) = re.findall(rf'<figure id="{name}".*?</figure>', html, re.DOTALL)
        assert len(re.findall("<circle", plot)) == 2
    for text in (
        "0.8000",
        "0.7800 to 0.8200",
        "0.7500",
        "by F1 on the 853 validation texts",
        "23.0 MB",
        "1m40s",
        "+0.1000",
        "0.0125",
        "0.0375",
        "50 MB",
    ):
        assert text in html
    assert "the label &lt;script&gt;alert(1)&lt;/script&gt; is none" in html
    # A single file without scripts and external resources.
    assert "<script" not in html
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"|url\(|@import', html) == []


def test_without_a_winner_the_page_says_so_and_has_no_plot(tmp_path: Path) -> None:
    html = page(tmp_path, [system("odd", failed="it was killed by signal 9")], None, [])
    assert "<h1>No winner</h1>" in html
    assert "it was killed by signal 9" in html
    assert "<figure" not in html


def test_the_training_of_an_ensemble_is_shown_with_that_of_its_members(tmp_path: Path) -> None:
    member = EarlierTraining(bundle="quickstart", role="member", cost=TrainingCost(seconds=3_600, peak_memory=1))
    unknown = EarlierTraining(bundle="quickstart-tfidf", role="member", cost=None)
    ensemble = system("quickstart-ensemble", 0.8)
    assert ensemble.metrics
    cost = ensemble.metrics.training.model_copy(update={"seconds": 60.0, "earlier": [member, unknown]})
    ensemble = ensemble.model_copy(update={"metrics": ensemble.metrics.model_copy(update={"training": cost})})
    comparison = Comparison(
        dataset="1" * 64,
        labels=["bad", "good"],
        rows=1_280,
        validation_rows=853,
        limits=CostLimits(),
        systems=[ensemble, system("quickstart", 0.7)],
        pairs=[],
        winner="quickstart-ensemble",
        as_good=[],
        message="quickstart-ensemble wins",
    )
    path = tmp_path / "comparison.html"
    write_comparison_page(path, comparison, [recipes.load("quickstart-ensemble"), recipes.load("quickstart")])
    html = path.read_text("utf-8")
    note = ", including its member quickstart, without its member quickstart-tfidf of unknown cost"
    assert html.count(note) == 2, "in the table, and above for the winner"
    assert html.count("1h01m") == 2


def test_memory_and_speed_on_a_gpu_are_shown_where_a_system_was_trained_on_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use = AcceleratorUse(name="NVIDIA L4", peak_allocated=1, peak_reserved=7_100_000_000, tokens_per_second=1_234.5)
    on_cpu, on_gpu = system("quickstart", 0.8), system("toxic-lsa", 0.7)
    assert on_gpu.metrics
    training = on_gpu.metrics.training.model_copy(update={"accelerator_use": use})
    on_gpu = on_gpu.model_copy(update={"metrics": on_gpu.metrics.model_copy(update={"training": training})})
    figures = "7.1 GB of GPU memory, 1,234 tokens/s"
    failed = system("odd", failed="it was killed by signal 9")
    for systems, shown in (([on_cpu, on_gpu, failed], True), ([on_cpu, failed], False)):
        html = page(tmp_path, systems, "quickstart", [])
        assert html.count(figures) == shown
        Console(soft_wrap=True, width=200).print(_table(comparison_of(systems, "quickstart", [])))
        table = capsys.readouterr().out
        assert ("training on GPU" in table) == shown
        assert table.count(figures) == shown
        assert "failed" in table
    assert figures in page(tmp_path, [on_gpu], "toxic-lsa", []).split("<figure")[0]
