"""Ctrl-C at a moment when no table is half emptied."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType


class DeferredInterrupt:
    """Holds Ctrl-C back, inside its ``with`` block, until :meth:`at_a_safe_moment`.

    An interrupt in the middle of a flush would write rows twice, or lose them.
    The second Ctrl-C is not held back. Outside the main thread, and where
    somebody else handles the signal, nothing is changed.

    Parameters
    ----------
    progress : callable, optional
        Called at every safe moment.
    """

    def __init__(self, progress: Callable[[float, float], None] | None) -> None:
        self._progress = progress
        self._pending = False
        self._holding = False

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._hold)
            self._holding = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._holding:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._holding = False
        if self._pending and kind is None:
            raise KeyboardInterrupt

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self._pending:
            signal.default_int_handler(number, frame)
        self._pending = True

    def at_a_safe_moment(self, now_s: float, horizon_s: float) -> None:
        """Raise the interrupt that was held back, or report progress.

        Raises
        ------
        KeyboardInterrupt
            If Ctrl-C was pressed since the last safe moment.
        """
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt
        if self._progress is not None:
            self._progress(now_s, horizon_s)
