"""What outside providers have billed, by provider, owner and class."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.ledger.book import TokenPrices
    from inferencesim.ledger.columns import Columns


class Bills:
    """Tokens and money of the requests at providers, summed one request after another.

    Owner 0 are the requests that came by themselves; then come the classes of tasks.

    Parameters
    ----------
    prices : TokenPrices
    classes, task_classes : int

    Attributes
    ----------
    usd : ndarray of float64, shape (providers, owners, classes)
    prompt_tokens, cached_tokens, output_tokens : ndarray of int64, shape (providers, owners, classes)
        Sent (those found in the prompt cache included), found there, and made; of answers that come as a whole,
        those of the completed.
    """

    def __init__(self, prices: TokenPrices, classes: int, task_classes: int) -> None:
        self._prices = prices
        shape = (len(prices.names), 1 + task_classes, classes)
        self.usd: NDArray[np.float64] = np.zeros(shape)
        self.prompt_tokens: NDArray[np.int64] = np.zeros(shape, np.int64)
        self.cached_tokens: NDArray[np.int64] = np.zeros(shape, np.int64)
        self.output_tokens: NDArray[np.int64] = np.zeros(shape, np.int64)

    def copy(self) -> Bills:
        """Return the sums so far, to go on with apart."""
        return copy.deepcopy(self)

    def add(self, requests: Columns) -> None:
        """Add some requests."""
        if not self._prices.names:
            return
        at = np.flatnonzero(self._prices.is_billed(requests))
        _, owners, classes = self.usd.shape
        cells = (requests["provider"][at] * owners + requests["owner"][at] + 1) * classes + requests["class_index"][at]
        np.add.at(self.usd.reshape(-1), cells, self._prices.usd(requests)[at])
        for name, sums in (
            ("prompt_tokens", self.prompt_tokens),
            ("cached_tokens", self.cached_tokens),
            ("generated_tokens", self.output_tokens),
        ):
            np.add.at(sums.reshape(-1), cells, requests[name][at])
