import io
import logging
import queue
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError

from textgate.components.contracts import InputError, TextNormalizer
from textgate.components.storage import EmbeddedStore, Store
from textgate.components.storage.feedback_log import SCHEMAS, Kind, read_feedback_log
from textgate.serving.feedback import REMEMBERED_REQUESTS, FeedbackLog
from textgate.serving.sampling import is_sampled

Messages = queue.Queue[str]
WAIT = 120
HOUR = 3600.0


def add_prediction(log: FeedbackLog, request: str, texts: list[str], model: str = "films", version: str = "v1") -> None:
    labels = ["good" if "good" in text else "bad" for text in texts]
    log.add_prediction(request, model, version, texts, labels, [0.5 + len(text) / 1000 for text in texts])


def read_rows(store: Store, kind: Kind = "feedback", model: str = "films") -> list[dict[str, Any]]:
    return list(read_feedback_log(store, kind, model).to_pylist())


def watch_puts(store: Store, event: str) -> Messages:
    """Return a queue that gets an item for each PUT of an object; ``event`` is an event of botocore."""
    seen: Messages = queue.Queue()
    store.client.meta.events.register(f"{event}.s3.PutObject", lambda **_: seen.put("put"))
    return seen


def store_without_retries(endpoint: str, credentials: dict[str, str], bucket: str = "textgate") -> Store:
    """Return a store whose client does not retry."""
    config = Config(s3={"addressing_style": "path"}, read_timeout=60, retries={"max_attempts": 0})
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
        config=config,
    )
    return Store(client, bucket, patience=0)


@pytest.fixture
def messages() -> Iterator[Messages]:
    """Messages that the feedback log writes to the server log, as they come."""
    seen: Messages = queue.Queue()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.put(record.getMessage())

    logger, handler = logging.getLogger("textgate.serving"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield seen
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """A store that the test may stop."""
    store = EmbeddedStore(tmp_path)
    store.start()
    yield store
    store.stop()


def test_feedback_has_the_prediction_it_refers_to(store: Store) -> None:
    log, before = FeedbackLog(store), datetime.now(UTC)
    add_prediction(log, "r1", ["a good film", "dull"])
    add_prediction(log, "r1", ["dull"], model="other", version="v9")
    add_prediction(log, "r2", ["dull"])
    add_prediction(log, "r2", ["good, after all"], version="v2")
    for request, index, label in [
        ("r1", 0, "bad"),
        ("r1", 1, "bad"),
        ("r2", 0, "good"),
        ("r1", 2, "bad"),
        ("r3", 0, "bad"),
    ]:
        log.add_feedback(request, index, "films", label)
    log.add_feedback("r1", 0, "other", "good")
    log.close()

    found = read_feedback_log(store, "feedback", "films")
    assert found.schema == SCHEMAS["feedback"]
    assert [tuple(row.values())[1:] for row in found.to_pylist()] == [
        ("r1", 0, "films", "bad", "v1", "good", 0.511),
        ("r1", 1, "films", "bad", "v1", "bad", 0.504),
        ("r2", 0, "films", "good", "v2", "good", 0.515),
        ("r1", 2, "films", "bad", None, None, None),
        ("r3", 0, "films", "bad", None, None, None),
    ]
    times = found["time"].to_pylist()
    assert before <= times[0] <= times[-1] <= datetime.now(UTC)
    assert [tuple(row.values())[1:] for row in read_rows(store, model="other")] == [
        ("r1", 0, "other", "good", "v9", "bad", 0.504)
    ]
    assert read_rows(store, "predictions") == []
    assert log.dropped == 0
    days = "|".join({before.date().isoformat(), datetime.now(UTC).date().isoformat()})
    for item in store.objects(""):
        assert re.fullmatch(rf"feedback/(films|other)/({days})/[0-9a-f-]{{36}}\.parquet", item.key)


def test_predictions_of_a_share_of_the_requests_are_written(store: Store) -> None:
    log = FeedbackLog(store, share=0.4, rows=7)
    request_ids = [f"request {number}" for number in range(50)]
    for request in request_ids:
        add_prediction(log, request, [f"good {request}", "dull", "???"])
    log.close()
    found = read_feedback_log(store, "predictions", "films")
    assert found.schema == SCHEMAS["predictions"]
    expected = [
        (request, index, "films", "v1", text, label, 0.5 + len(text) / 1000)
        for request in request_ids
        if is_sampled(request, 0.4, "predictions")
        for index, (text, label) in enumerate([(f"good {request}", "good"), ("dull", "bad"), ("???", "bad")])
    ]
    assert [tuple(row.values())[1:] for row in found.to_pylist()] == expected
    assert 0 < len(expected) < 150


def test_only_the_last_requests_are_remembered(store: Store) -> None:
    log = FeedbackLog(store)
    for number in range(REMEMBERED_REQUESTS + 1):
        add_prediction(log, str(number), ["a good film"])
        if number == 1:
            add_prediction(log, "0", ["a good film"])
    for number in range(3):
        log.add_feedback(str(number), 0, "films", "bad")
    # A request with many texts displaces several others.
    for number in range(500):
        add_prediction(log, f"many {number}", ["dull"] * 1_024)
    for request in ("many 0", "many 499", str(REMEMBERED_REQUESTS)):
        log.add_feedback(request, 1, "films", "good")
    log.close()
    found = {row["request_id"]: row["predicted"] for row in read_rows(store)}
    assert found == {
        "0": "good",
        "1": None,
        "2": "good",
        "many 0": None,
        "many 499": "bad",
        str(REMEMBERED_REQUESTS): None,
    }


def test_rows_are_written_if_they_are_many_long_or_old(store: Store) -> None:
    written = watch_puts(store, "after-call")
    many = FeedbackLog(store, rows=3, seconds=HOUR)
    for index in range(3):
        many.add_feedback("many", index, "films", "bad")
    written.get(timeout=WAIT)
    assert len(read_rows(store)) == 3

    long = FeedbackLog(store, share=1.0, seconds=HOUR, memory=4_000_000)
    add_prediction(long, "long", ["x" * 1_000_000])
    written.get(timeout=WAIT)
    assert len(read_rows(store, "predictions")) == 1

    old = FeedbackLog(store, seconds=0.05)
    old.add_feedback("old", 0, "films", "bad")
    written.get(timeout=WAIT)
    assert len(read_rows(store)) == 4
    for log in (many, long, old):
        log.close()
        log.close()
    assert written.empty()
    assert len(read_rows(store)) == 4


def test_rows_from_several_threads_are_all_written(store: Store) -> None:
    log, start = FeedbackLog(store, rows=7), threading.Barrier(4)

    def note(thread: int) -> None:
        start.wait()
        for number in range(250):
            log.add_feedback(f"{thread}", number, "films", "bad")

    threads = [threading.Thread(target=note, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close(WAIT)
    found = sorted((row["request_id"], row["index"]) for row in read_rows(store))
    assert found == [(str(thread), number) for thread in range(4) for number in range(250)]


def test_after_an_outage_the_store_gets_every_row_once(embedded: EmbeddedStore, messages: Messages) -> None:
    store = store_without_retries(embedded.start().endpoint, embedded.environment())
    store.ensure_bucket()
    attempts = watch_puts(store, "before-call")
    embedded.stop()
    log = FeedbackLog(store, rows=2, seconds=0.05)
    for number in range(2):
        log.add_feedback(str(number), 0, "films", "bad")
    assert messages.get(timeout=WAIT) == "the store is away: feedback is kept and tried again"
    for number in range(2, 5):
        log.add_feedback(str(number), 0, "films", "bad")
    for _ in range(5):
        attempts.get(timeout=WAIT)
    assert messages.empty()
    embedded.start()
    assert messages.get(timeout=WAIT) == "the store is back: feedback is written again"
    log.add_feedback("5", 0, "films", "bad")
    log.close()
    assert [row["request_id"] for row in read_rows(store)] == [str(number) for number in range(6)]
    assert log.dropped == 0
    assert messages.empty()


def test_an_object_whose_response_was_lost_is_not_duplicated(store: Store, messages: Messages) -> None:
    lost = iter([True, True])

    def lose(**_: object) -> None:
        if next(lost, False):
            raise ReadTimeoutError(endpoint_url="http://store")

    store.client.meta.events.register("after-call.s3.PutObject", lose)
    log = FeedbackLog(replace(store, patience=0), rows=1, seconds=0.05)
    log.add_feedback("r", 0, "films", "bad")
    assert messages.get(timeout=WAIT).startswith("the store is away")
    assert messages.get(timeout=WAIT).startswith("the store is back")
    log.close()
    assert [row["request_id"] for row in read_rows(store)] == ["r"]


def test_during_an_outage_the_oldest_rows_are_dropped(embedded: EmbeddedStore) -> None:
    store = store_without_retries(embedded.start().endpoint, embedded.environment())
    store.ensure_bucket()
    attempts = watch_puts(store, "before-call")
    embedded.stop()
    log = FeedbackLog(store, rows=1, seconds=HOUR, memory=20_000)
    for number in range(20):
        log.add_feedback(str(number), 0, "films", "bad")
        attempts.get(timeout=WAIT)
    embedded.start()
    log.close(WAIT)
    kept = [int(row["request_id"]) for row in read_rows(store)]
    assert 2 < len(kept) < 15
    assert kept == list(range(20))[-len(kept) :]
    assert log.dropped == 20 - len(kept)


def test_rows_lost_in_an_outage_are_logged_and_counted(
    store: Store, environment: dict[str, str], messages: Messages
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        log = FeedbackLog(store_without_retries(f"http://127.0.0.1:{taken.getsockname()[1]}", environment), share=1.0)
        add_prediction(log, "r1", ["a good film", "dull"])
        log.add_feedback("r1", 0, "films", "bad")
        log.close(WAIT)
    assert log.dropped == 3
    assert messages.get_nowait().startswith("the store is away")
    assert messages.get_nowait() == "feedback is lost: the store stayed away until the end"
    assert messages.empty()


def test_a_store_that_hangs_blocks_nothing(environment: dict[str, str], messages: Messages) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        hanging = store_without_retries(f"http://127.0.0.1:{server.getsockname()[1]}", environment)
        log = FeedbackLog(hanging, share=1.0, rows=1, memory=100_000)
        log.add_feedback("first", 0, "films", "bad")
        connection, _ = server.accept()
        # The thread waits for the store now; new rows are still accepted at once, up to the memory limit.
        for number in range(1_000):
            add_prediction(log, str(number), ["a good film"])
        assert 800 < log.dropped < 1_000
        log.close(0.01)
        assert messages.get_nowait() == "feedback was not written in time"
        connection.close()
    assert messages.get(timeout=WAIT).startswith("the store is away")
    assert messages.get(timeout=WAIT).startswith("feedback is lost")
    assert log.dropped == 1_001


ODD = ["", "\ud800", "a\udfffé", "\ud83d\ude00", "\x00\x1b", "漢字 👩‍👩‍👧", "x" * 100_000, "\u202e"]


def test_odd_texts_are_stored_as_the_normalizer_reads_them(store: Store) -> None:
    log = FeedbackLog(store, share=1.0)
    add_prediction(log, "odd \ud800", ODD)
    for index, text in enumerate(ODD):
        log.add_feedback("odd \ud800", index, "films", text)
    log.close()
    plain = TextNormalizer(unicode="none", collapse_whitespace=False)
    predicted, corrected = read_rows(store, "predictions"), read_rows(store)
    assert [plain(row["text"]) for row in predicted] == [plain(text) for text in ODD]
    assert [plain(row["label"]) for row in corrected] == [plain(text) for text in ODD]
    assert {row["request_id"] for row in predicted + corrected} == {"odd \ufffd"}
    assert [row["predicted"] for row in corrected] == ["bad"] * len(ODD)


def test_a_row_that_cannot_be_stored_affects_no_other(store: Store, messages: Messages) -> None:
    log = FeedbackLog(store, rows=1)
    for index in (-1, 2**31, 10**30):
        log.add_feedback("r1", index, "films", "bad")
    assert log.dropped == 3
    log.add_feedback("r1", 0, "films", 5)  # type: ignore[arg-type]
    assert messages.get(timeout=WAIT) == "feedback is lost: it cannot be stored"
    log.add_feedback("r1", 2**31 - 1, "films", "bad")
    log.close()
    assert [(row["index"], row["label"]) for row in read_rows(store)] == [(2**31 - 1, "bad")]
    assert log.dropped == 4


def parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def test_rows_are_read_in_order_from_a_given_time(store: Store) -> None:
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    # Two servers wrote rows, each every second hour, from 20:00.
    for server in range(2):
        for day in ("2026-03-01", "2026-03-02"):
            hours = [midnight + timedelta(hours=hour) for hour in range(-4, 4) if hour % 2 == server]
            values = [
                {"time": time, "request_id": f"{time:%H}", "index": 0, "model": "films", "label": "bad"}
                for time in hours
                if time.date().isoformat() == day
            ]
            table = pa.Table.from_pylist(values, schema=SCHEMAS["feedback"])
            store.put(f"feedback/films/{day}/{server}.parquet", parquet(table))
    # Another model whose name has the same prefix.
    store.put("feedback/films-2/2026-03-02/0.parquet", b"not read")

    def hours_since(since: datetime | None) -> list[str]:
        return list(read_feedback_log(store, "feedback", "films", since)["request_id"].to_pylist())

    assert hours_since(None) == ["20", "21", "22", "23", "00", "01", "02", "03"]
    assert hours_since(midnight - timedelta(hours=1)) == ["23", "00", "01", "02", "03"]
    assert hours_since(midnight + timedelta(microseconds=1)) == ["01", "02", "03"]
    tokyo = (midnight + timedelta(hours=2)).astimezone(timezone(timedelta(hours=9)))
    assert hours_since(tokyo) == ["02", "03"]
    assert hours_since(midnight + timedelta(days=1)) == []
    empty = read_feedback_log(store, "predictions", "films")
    assert (empty.num_rows, empty.schema) == (0, SCHEMAS["predictions"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"damaged", r"feedback/films/2026-03-01/x\.parquet is not a readable Parquet file"),
        (parquet(pa.table({"time": [1]})), r"x\.parquet has other columns than time, request_id, index, model, label"),
        (parquet(SCHEMAS["predictions"].empty_table()), "has other columns than"),
    ],
)
def test_an_invalid_object_is_reported_with_its_key(data: bytes, message: str, store: Store) -> None:
    store.put("feedback/films/2026-03-01/x.parquet", data)
    with pytest.raises(InputError, match=message):
        read_feedback_log(store, "feedback", "films")
    assert read_feedback_log(store, "feedback", "films", datetime(2026, 3, 2, tzinfo=UTC)).num_rows == 0
