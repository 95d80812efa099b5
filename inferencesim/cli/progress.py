"""The progress of a simulation on stderr: a spinner while the kernel is compiled, then a bar."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from inferencesim.cli.console import say

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID


class RunProgress:
    """Shows how far simulations are; silent where stderr is no terminal, but for the compilation.

    Called as ``progress(now_s, horizon_s)``, the first time when everything is
    compiled and about to start.

    Parameters
    ----------
    time_left : bool
        Whether to show the time left, not the time spent: where what is counted are pieces of about one size.
    """

    def __init__(self, *, time_left: bool = False) -> None:
        self._time_left = time_left
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._label = "simulating"
        self._watching = contextlib.ExitStack()
        #: Whether anything has been simulated yet.
        self.begun = False

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        if console.is_terminal:
            times = [MofNCompleteColumn(), TimeRemainingColumn()]
            self._bar = Progress(
                SpinnerColumn(), TextColumn("{task.description}"), BarColumn(),
                *(times if self._time_left else [TimeElapsedColumn()]),
                console=console, transient=True,
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task("preparing …", total=None)
        from inferencesim.simulation.compiling import compilation_watched

        self._watching.enter_context(compilation_watched(self._compiles))
        return self

    def _compiles(self, functions: int) -> None:
        """Say that something is compiled, and how far that is."""
        from inferencesim.simulation.compiling import COMPILING

        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=f"{COMPILING} {functions:,} functions")
        elif functions == 1:
            say(COMPILING)

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watching.close()
        if self._bar is not None:
            self._bar.stop()

    def label(self, text: str) -> None:
        """Name what is simulated next."""
        self._label = text

    def __call__(self, now_s: float, horizon_s: float) -> None:
        """Show that `now_s` of `horizon_s` have been simulated."""
        self.begun = True
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=self._label, completed=now_s, total=horizon_s)


class CountProgress(RunProgress):
    """Shows how many simulations were made, where nobody knows how many it will be."""

    def __call__(self, done: float, _: float) -> None:
        """Show that `done` simulations have been made."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=f"{done:,.0f} simulations")
