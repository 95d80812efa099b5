"""How commands speak: results on stdout, everything else on stderr, errors in one line."""

from __future__ import annotations

import enum
import functools
import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, ParamSpec, TypeVar

import typer

from inferencesim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console, RenderableType

    from inferencesim.workload.traces.record import MalformedRow

P = ParamSpec("P")
R = TypeVar("R")

#: Exit codes: a mistake of the user's, a mistake of ours, an audit that found something, Ctrl-C.
EXIT_INPUT, EXIT_BUG, EXIT_FOUND, EXIT_INTERRUPTED = 2, 1, 3, 130

#: Set to 1, it shows the traceback of an unexpected error.
DEBUG_VARIABLE = "INFERENCESIM_DEBUG"

#: Columns where output goes to no terminal, whose width nobody knows.
_FILE_WIDTH = 160

_SHOWN_ROWS = 5


class Format(enum.StrEnum):
    """What is written to stdout."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="table, or one JSON document on stdout.")]
JobsOption = Annotated[int | None, typer.Option("--jobs", metavar="N", help="Processes; default one per core.")]


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what a command raises into one line on stderr and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except InputError as problem:
            say(f"error: {problem}")
            raise typer.Exit(EXIT_INPUT) from None
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except Exception as problem:
            if os.environ.get(DEBUG_VARIABLE) == "1":
                raise
            text = " ".join(str(problem).split()) or "no message"
            say(
                f"internal error: {type(problem).__name__}: {text}. This is a bug in inferencesim: please report it, "
                f"with what {DEBUG_VARIABLE}=1 shows."
            )
            raise typer.Exit(EXIT_BUG) from None

    return run


def say(text: str) -> None:
    """Write one line to stderr."""
    typer.echo(text, err=True)


def show(parts: Iterable[RenderableType], *, err: bool = False) -> None:
    """Print tables and texts to stdout, or to stderr where stdout carries a document; too wide a table in parts."""
    from inferencesim.report.tables import NamedTable, fitted

    console = _console(err)
    for part in parts:
        for each in fitted(part, console.width) if isinstance(part, NamedTable) else [part]:
            console.print(each)


def _console(err: bool) -> Console:
    """Return a console on stdout or stderr, as wide as the terminal."""
    from rich.console import Console

    known = "COLUMNS" in os.environ or (sys.stderr if err else sys.stdout).isatty()
    width = Console(stderr=err).width if known else _FILE_WIDTH
    return Console(stderr=err, width=width, soft_wrap=False, highlight=False, markup=False)


def emit(document: object) -> None:
    """Write the command's one JSON document to stdout."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def say_malformed(rows: tuple[MalformedRow, ...]) -> None:
    """Name the first malformed rows of traces, and how many there are."""
    for row in rows[:_SHOWN_ROWS]:
        say(f"{row.file}:{row.line}: {row.reason}")
    if rows:
        more = f", the first {_SHOWN_ROWS} above" if len(rows) > _SHOWN_ROWS else ""
        say(f"warning: {len(rows):,} malformed trace rows were left out{more}; --strict makes them an error.")


def require_positive(option: str, number: int | None) -> None:
    """Refuse a number below one, if the option was given.

    Raises
    ------
    InputError
        At the option.
    """
    if number is not None and number < 1:
        raise InputError(option, f"{number} is not above zero", "Give a whole number from 1 on.")


def processes(jobs: int | None) -> int:
    """Return how many processes :data:`JobsOption` asks for.

    Raises
    ------
    InputError
        If it is below one.
    """
    require_positive("--jobs", jobs)
    return jobs or os.cpu_count() or 1


def require_writable(path: str, force: bool) -> None:
    """Refuse what :func:`write_text` would refuse, before anything long begins.

    Raises
    ------
    InputError
        If the file exists and `force` is false, or its folder cannot be written.
    """
    from pathlib import Path

    if path == "-":
        return
    if Path(path).exists() and not force:
        raise _exists(path)
    folder = Path(path).parent
    if Path(path).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(path, "cannot be written", "Name another file.")


def write_text(path: str, text: str, force: bool) -> None:
    """Write a new file, or to stdout where `path` is ``-``.

    Raises
    ------
    InputError
        If it exists and `force` is false, or cannot be written.
    """
    from pathlib import Path

    if path == "-":
        typer.echo(text, nl=not text.endswith("\n"))
        return
    try:
        with Path(path).open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as problem:
        raise InputError(path, f"cannot be written ({problem.strerror})", "Name another file.") from None
    say(f"wrote {path}")


def _exists(path: str) -> InputError:
    return InputError(path, "exists already", "Name another file, or overwrite it with --force.")
