"""Measure rows per second and peak memory of ingest and preprocess, beside `datasets` and pandas reading the same file.

    python tests/benchmarks/data.py HEADLINES [--rows 100000 1000000 10000000]

HEADLINES is a JSON-lines file with the field `text`, such as the `.jsonl.gz` of the clickbait headlines. Writes CSV
files of the given numbers of rows: headlines whose words are resampled from all headlines, and 5 % near duplicates in
which a word of an earlier row is changed. Each reader runs in a process of its own; its peak memory is the resident
set, with pages of mapped files. Steal is the share of the CPU time that went to other machines. 10 million rows need
12 GB of disk and take about an hour on two cores.
"""

import argparse
import csv
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

NEAR_DUPLICATES = 0.05
STAGES = ["ingest", "preprocess", "preprocess, near_duplicates: null", "datasets", "pandas"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("headlines", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--stage", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        run_stage(arguments.stage[0], Path(arguments.stage[1]))
        return
    print("| rows | reader | seconds | rows/s | peak memory | steal |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            write_data(arguments.headlines, Path(folder) / "data.csv", rows)
            for stage in STAGES:
                print(f"| {rows:,} | {stage} | {measure(arguments.headlines, stage, Path(folder), rows)} |", flush=True)


def write_data(headlines: Path, path: Path, rows: int) -> None:
    """Write a CSV file with the columns text and label."""
    with gzip.open(headlines, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"].split() for line in file]
    lengths, words = [len(text) for text in texts], [word for text in texts for word in text]
    rng, recent = random.Random(13), [texts[0]] * 1_000
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(rows):
            if rng.random() < NEAR_DUPLICATES:
                text = list(rng.choice(recent))
                text[rng.randrange(len(text))] = rng.choice(words)
            else:
                text = rng.choices(words, k=rng.choice(lengths))
                recent[number % len(recent)] = text
            writer.writerow([" ".join(text), "ab"[number % 2]])


def measure(headlines: Path, stage: str, folder: Path, rows: int) -> str:
    """Run a stage in a process of its own and return the cells of its row: seconds, rows/s, peak memory, steal."""
    command = [sys.executable, __file__, str(headlines), "--stage", stage, str(folder)]
    before, started = psutil.cpu_times(), time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds, after = time.perf_counter() - started, psutil.cpu_times()
    if status:
        sys.exit(f"{stage} failed with status {status}")
    steal = (after.steal - before.steal) / (sum(after[:8]) - sum(before[:8]))
    return f"{seconds:.1f} | {rows / seconds:,.0f} | {usage.ru_maxrss / 2**10:,.0f} MiB | {steal:.1%}"


def run_stage(stage: str, folder: Path) -> None:
    """Read the file with one reader."""
    data = folder / "data.csv"
    if stage == "datasets":
        from datasets import load_dataset

        load_dataset("csv", data_files=str(data), cache_dir=str(folder / "cache"))
    elif stage == "pandas":
        import pandas

        pandas.read_csv(data)
    elif stage == "ingest":
        from textgate.components.contracts import Source
        from textgate.components.ingest.ingest import ingest_source

        ingest_source(Source(uri=str(data)), folder / "raw", folder / "downloads")
    else:
        from textgate.components.contracts import Preprocess
        from textgate.components.preprocess.preprocess import preprocess_dataset

        settings = Preprocess(near_duplicates=None) if stage.endswith("null") else Preprocess()
        preprocess_dataset(folder / "raw", settings, folder / stage)


if __name__ == "__main__":
    main()
