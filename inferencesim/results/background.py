"""Work done beside its caller: by one thread, in order, and never more than a few pieces behind."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future


class Background:
    """Does what it is given, one job after another; after one that fails, none.

    Parameters
    ----------
    at_most : int
        Jobs that may be waiting or under way; who gives one more waits for the first of them.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._given: deque[Future[None]] = deque()
        self._failed = False

    def do(self, job: Callable[[], None]) -> None:
        """Take a job, and raise what an earlier one has failed with."""
        while len(self._given) >= self._at_most or (self._given and self._given[0].done()):
            self._given.popleft().result()
        self._given.append(self._thread.submit(self._unless_failed, job))

    def settle(self) -> None:
        """Wait until all is done, and raise what one has failed with, unless that was raised before."""
        while self._given:
            self._given.popleft().result()

    def close(self) -> None:
        """Wait until all is done, whether or not it fails."""
        self._thread.shutdown()

    def _unless_failed(self, job: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            job()
        except BaseException:
            self._failed = True
            raise
