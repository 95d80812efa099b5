"""Commands as a user types them, in this process."""

from __future__ import annotations

from typer.testing import CliRunner

from inferencesim.cli import console
from inferencesim.cli.main import app


def invoke(*words, code=0):
    """Return the result of a command, which must end with this code and show no traceback."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def refused(*words):
    """Return the one line of an error."""
    result = invoke(*words, code=console.EXIT_INPUT)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line
