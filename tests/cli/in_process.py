"""Commands of the CLI, run in the process of the tests."""

import json
from typing import Any

from click.testing import CliRunner, Result

from textgate.pipelines.cli import main


def run(*arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, arguments)


def run_json(*arguments: str) -> Any:
    """Run a command that succeeds, and return what it prints as JSON."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def fails(*arguments: str) -> str:
    """Run a command that fails, and return the sentence that it prints, which is all that it prints."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    (sentence,) = result.stderr.splitlines()
    assert sentence.startswith("Error: ")
    return sentence
