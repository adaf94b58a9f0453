"""No command prints a character that controls the terminal, whatever names, labels, texts and errors hold."""

import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.table import Table
from words import linear_bundle, write_words

from textgate.components.storage import Registry, Store
from textgate.pipelines.cli import main
from textgate.pipelines.runners.display import Display
from textgate.pipelines.terminal import Console, PrintableStream, printable

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
CODES = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xD800, 0xDFFF]
CLEAR, TITLE, LINK, MARKUP = "\x1b[2J", "\x1b]0;owned\x07", "\x1b]8;;http://x\x1b\\", "[red]"
CLIPBOARD = "\x9b31m\x9d52;c;YQ==\x9c"
HOSTILE = f"{CLEAR}{TITLE}{LINK}{CLIPBOARD}{MARKUP}\r\x08\x7f\u202egood\u2066"
SHOWN = (
    r"\x1b[2J\x1b]0;owned\x07\x1b]8;;http://x\x1b\\u009b31m\u009d52;c;YQ==\u009c[red]"
    r"\x0d\x08\u007f\u202egood\u2066"
)


def run(*arguments: str, lines: str = "") -> Result:
    """Run a command as on a terminal, for which click strips nothing."""
    return CliRunner().invoke(main, arguments, input=lines, color=True)


def assert_harmless(result: Result) -> str:
    """Assert that the output has no control character but newline and tab; return it."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert CONTROL.findall(result.output) == []
    return result.output


@pytest.fixture
def hostile_model(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model with a hostile label, whose audit log has a hostile reason; commands run in ``tmp_path``."""
    monkeypatch.setenv("TEXTGATE_BUCKET", store.bucket)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.chdir(tmp_path)
    folder = write_words(tmp_path / "bundle")
    linear_bundle(HOSTILE, ["bad", HOSTILE]).write(folder)
    registry = Registry(store)
    version = registry.publish("words", folder)
    registry.update_channel("words", version, run="run", reason=HOSTILE, expected=None)
    return version


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "words", f"good {HOSTILE}"),
        ("explain", "words", f"good {HOSTILE}", "--label", HOSTILE),
        ("models", "show", "words"),
        ("models", "history", "words"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_labels_texts_and_reasons_are_escaped(hostile_model: str, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    # ``explain`` colours the words.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", result.output)
    assert CONTROL.findall(plain) == []
    assert r"\u202e" in plain
    if arguments[0] != "explain":
        assert plain == result.output
        assert SHOWN in plain


@pytest.mark.parametrize(
    "arguments", [("predict", "words", f"good {HOSTILE}"), ("models", "show", "words"), ("models", "history", "words")]
)
def test_json_is_escaped_and_holds_the_same_values(hostile_model: str, arguments: tuple[str, ...]) -> None:
    result = run(*arguments, "--json")
    output = json.loads(assert_harmless(result))
    if arguments[0] == "predict":
        (prediction,) = output["predictions"]
        assert (prediction["text"], prediction["label"]) == (f"good {HOSTILE}", HOSTILE)
    else:
        assert output["moves"][0]["reason"] == HOSTILE


def test_a_registry_with_hostile_names_is_listed_without_markup(store: Store, hostile_model: str) -> None:
    name = "[link=http:x]a\x1b[31m\u009b2J\u202e"
    champion = store.get("models/words/channels/champion.json")
    assert champion is not None
    store.put(f"models/{name}/channels/champion.json", champion.data)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", run("models", "list").output)
    assert CONTROL.findall(shown) == []
    assert r"[link=http:x]a\x1b[31m\u009b2J\u202e" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        (HOSTILE,),
        (f"--{HOSTILE}",),
        ("models", "list", f"--{HOSTILE}"),
        ("models", "list", HOSTILE),
        ("predict", HOSTILE, "a text"),
        ("predict", f"words@{HOSTILE}", "a text"),
        ("explain", "words", "good", "--label", f"another{HOSTILE}"),
        ("models", "show", f"words{HOSTILE}"),
        ("models", "move", "words", "shadow", HOSTILE),
        ("run", f"{HOSTILE}.yaml"),
        ("run", "quickstart", "--set", f"{HOSTILE}=1"),
        ("run", "quickstart", "--source", HOSTILE),
        ("recipes", "show", HOSTILE),
        ("init", f"{HOSTILE}.csv"),
        ("serve", "words", "--keys", HOSTILE),
        ("serve", "words", "--port", HOSTILE),
    ],
    ids=lambda arguments: " ".join(printable(argument)[:20] for argument in arguments),
)
def test_errors_are_escaped(hostile_model: str, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert "\\x1b" in assert_harmless(result)


def test_columns_labels_and_names_of_a_file_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "films\u009b31m\u202e\x1b[2J.csv"
    rows = [f"a film of number {index},{'good' if index % 2 else CLEAR + 'bad'}" for index in range(40)]
    Path(name).write_text("\n".join([f"review{CLEAR},sentiment\u202e", *rows]) + "\n", "utf-8")
    shown = assert_harmless(run("init", name, "--output", "recipe.yaml"))
    assert r"text column 'review\x1b[2J'" in shown
    assert r"\x1b[2Jbad" in shown


class _Hostile(BaseHTTPRequestHandler):
    """Server that refuses every request with a message that clears the screen."""

    def do_GET(self) -> None:
        body = json.dumps({"error": HOSTILE, "message": HOSTILE, "code": 3}).encode()
        self.send_response(400)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def hostile_server() -> Iterator[str]:
    """Address of a server whose error messages are hostile."""
    server = HTTPServer(("127.0.0.1", 0), _Hostile)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_error_message_of_a_server_is_escaped(hostile_server: str) -> None:
    result = run("schedule", "list", "--endpoint", hostile_server)
    assert result.exit_code in (1, 2)
    assert SHOWN.replace(r"\x0d", " ") in assert_harmless(result)  # white space is made one line


def test_the_traceback_of_a_bug_is_escaped() -> None:
    code = (
        "from textgate.pipelines.cli import main\n"
        "def broken(**options): raise RuntimeError('\\x1b[2J\\x9b\\u202e')\n"
        "main.commands['doctor'].callback = broken\n"
        "main(['doctor'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("RuntimeError: \\x1b[2J\\u009b\\u202e\n")


def test_every_control_character_is_escaped_and_nothing_else() -> None:
    for code in CODES:
        shown = printable(f"a{chr(code)}b")
        if chr(code) in "\t\n":
            assert shown == f"a{chr(code)}b"
        else:
            assert shown == (f"a\\x{code:02x}b" if code < 0x20 else f"a\\u{code:04x}b")
    ordinary = "a\tb\n é 漢字 \U0001f469\u200d\U0001f467 \u05d0\u200f \\x1b"
    assert printable(ordinary) == ordinary


def test_a_stream_and_a_console_on_it_share_the_rule() -> None:
    terminal = io.StringIO()
    stream = PrintableStream(terminal)
    print(HOSTILE, file=stream)
    stream.writelines([CLEAR, "\n"])
    table = Table("head", box=None, pad_edge=False)
    table.add_row(MARKUP + CLEAR)
    console = Console(file=stream)  # type: ignore[arg-type]
    console.print(table)
    console.print(":smile: 12", CLEAR)
    assert terminal.getvalue() == f"{SHOWN}\n\\x1b[2J\nhead        \n[red]\\x1b[2J\n:smile: 12 \\x1b[2J\n"


def test_live_lines_escape_the_names_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    terminal = io.StringIO()
    display = Display(terminal)
    display.step_started(f"train ({TITLE})")
    display.step_progress(f"train ({TITLE})", f"loss {CLIPBOARD}")
    display.step_ended(f"train ({TITLE})", "done", 1.0)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert set(CONTROL.findall(shown)) <= {"\r"}  # rich moves the cursor to the start of the live lines
    assert r"train (\x1b]0;owned" in shown
    assert r"loss \u009b31m" in shown
