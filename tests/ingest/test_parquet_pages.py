"""Parquet files whose cells, pages or dictionaries unpack to far more than their bytes in the file."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textgate.components.contracts import InputError, Source
from textgate.components.ingest import parquet_pages
from textgate.components.ingest.local_source import read_local
from textgate.components.ingest.parquet_pages import batch_rows

READ = """
import resource, sys
from pathlib import Path
from textgate.components.contracts import Source
from textgate.components.ingest.local_source import read_local
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    count = sum(1 for _ in read_local(Path(sys.argv[1]), Source(uri="x"), ["text", "label"]))
except Exception as error:
    count = error
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, sep="|")
"""


def write(path: Path, texts: list[str], **options: object) -> Path:
    pq.write_table(pa.table({"text": texts, "label": ["a"] * len(texts)}), path, **options)
    return path


def rows_of(path: Path) -> int:
    with pq.ParquetFile(path) as file:
        return batch_rows(file, path, ["text", "label"], 256)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["none", "snappy", "zstd", "gzip"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_pages_of_ordinary_files_are_found_and_read_in_full_batches(
    tmp_path: Path, version: str, codec: str, dictionary: bool
) -> None:
    texts = [f"text {index} {'word ' * (index % 50)}" for index in range(20_000)]
    options = {
        "data_page_version": version,
        "compression": codec,
        "use_dictionary": dictionary,
        "row_group_size": 7_000,
    }
    path = write(tmp_path / "a.parquet", texts, **options, data_page_size=4_096)
    assert rows_of(path) == 256
    with pq.ParquetFile(path) as file, path.open("rb") as stream:
        for group in range(file.metadata.num_row_groups):
            chunk = file.metadata.row_group(group).column(0)
            pages = list(parquet_pages._pages(stream, chunk))
            assert sum(page.values or 0 for page in pages) == chunk.num_values
            assert len(pages) > 3
            assert sum(page.size for page in pages) <= chunk.total_uncompressed_size
            assert [page.values is None for page in pages] == [dictionary] + [False] * (len(pages) - 1)
    assert [row.columns["text"] for row in read_local(path, Source(uri="x"), ["text", "label"]) if row.columns] == texts


def test_a_cell_that_unpacks_beyond_the_limit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.parquet", ["short", "x" * 2_000_000], compression="zstd")
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(parquet_pages, "MAX_PAGE_BYTES", 1_000_000)
    with pytest.raises(InputError, match=r"a\.parquet: a page of the column 'text' has 2,0..,... bytes when unpacked"):
        list(read_local(path, Source(uri="x"), ["text", "label"]))
    assert [row.columns for row in read_local(path, Source(uri="x", text="label"), ["label"])] == [{"label": "a"}] * 2


def test_large_cells_are_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_pages, "MAX_PAGE_BYTES", 1 << 20)
    plain = [f"{index}{'x' * (64 << 10)}" for index in range(10)]
    path = write(tmp_path / "plain.parquet", plain, use_dictionary=False)
    assert 12 <= rows_of(path) <= 16
    assert rows_of(write(tmp_path / "dictionary.parquet", ["x" * (64 << 10)] * 500)) == 15


def test_a_dictionary_of_a_large_text_takes_bounded_memory(tmp_path: Path) -> None:
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000, pa.int32()), pa.array(["x" * (8 << 20)]))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": text, "label": ["a"] * 1_000}), path, compression="zstd", store_schema=False)
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    rows, megabytes = done.stdout.strip().split("|")
    assert (rows, int(megabytes) < 1_024) == ("1000", True), done.stdout


def test_a_damaged_page_header_is_an_input_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [f"text {index}" for index in range(1_000)])
    with pq.ParquetFile(path) as file:
        chunk = file.metadata.row_group(0).column(0)
        start = chunk.dictionary_page_offset
    content = bytearray(path.read_bytes())
    for damage in (b"\xff" * 40, b"\x15\x04\x15\x01\x15\x01\x00", b"\x1c" * 40, b"\x15" + b"\x80" * 40):
        content[start : start + len(damage)] = damage
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.parquet is damaged: it is not readable as Parquet"):
            list(read_local(path, Source(uri="x"), ["text", "label"]))
