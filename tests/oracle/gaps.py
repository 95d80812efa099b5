"""Gaps between tokens, of every token, beside the kernel's histogram."""

from __future__ import annotations

import numpy as np

from inferencesim.jit import plain
from inferencesim.kernel.gaps import BINS, bin_of


def exact_bins(twin):
    """Return the histogram of all gaps, by class: tokens that come together with another are in bin 0."""
    bins = np.zeros((len(twin.source.kinds), BINS))
    for replica in twin.replicas:
        for index, gaps in replica.gaps.items():
            for gap in gaps:
                bins[index, 0 if gap == 0.0 else plain(bin_of)(gap)] += 1
    return bins


def assert_same_gaps(real, twin, bins_off=0, share=0.0, rounding=1e-6):
    """Assert that the histograms agree, but for so many bins, and for this share of a class's gaps beyond those."""
    ours, exact = real.fleet.gaps, exact_bins(twin)
    np.testing.assert_allclose(ours.sum(axis=1), exact.sum(axis=1), atol=rounding)
    np.testing.assert_allclose(ours[:, 0], exact[:, 0], atol=rounding)
    allowed = share * exact.sum(axis=1, keepdims=True) + rounding
    lower, upper = (np.cumsum(table[:, 1:], axis=1) for table in (ours, exact))
    last = BINS - 1 - bins_off
    assert (lower[:, :last] <= upper[:, bins_off:] + allowed).all()
    assert (upper[:, :last] <= lower[:, bins_off:] + allowed).all()
