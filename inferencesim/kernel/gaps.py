"""Gaps between tokens, counted in a histogram per class: no token is stored.

All sequences of a batch make their tokens at the ends of its steps. So a run of
decode steps adds, for each class in the batch, sequences × steps gaps at once,
at the mean step time of the run. A step that verifies drafts makes several
tokens together: one after a gap, the others after none. Sequences that waited
(for other prompts to be prefilled, or for their KV) have a longer first gap.

An octave has 64 bins of equal width, as in HdrHistogram: a percentile read from them is within 1.6 %. The bits of
a float hold octave and place, so that no logarithm is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.jit import inner, inner_inlined

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Fleet

#: Lower edge of bin 1, seconds; bin 0 holds the tokens that come together with another.
SHORTEST_S = 2.0**-17
BINS_PER_OCTAVE = 64
#: Up to 2²⁷ times the shortest: 17 minutes.
BINS = 1 + 27 * BINS_PER_OCTAVE

#: Of the 52 bits of a float's fraction, those below a bin.
_BELOW = 52 - 6
_SHORTEST = int(np.float64(SHORTEST_S).view(np.int64)) >> _BELOW

#: Of one class, the sequences that decode at a replica.
MIXTURE = np.dtype(
    [
        ("sequences", np.int64),
        ("tokens", np.float64),  # they make per step
        ("joined", np.int64),  # of them, those without a step so far
        ("late_s", np.float64),  # of those together: what their first gap has beyond the replica's own pause
    ]
)


@inner_inlined
def bin_of(gap_s: float) -> int:
    """Return the bin of a gap."""
    place = (np.float64(gap_s).view(np.int64) >> _BELOW) - _SHORTEST
    return max(1, min(1 + int(place), BINS - 1))


@inner_inlined
def begin_gaps(fleet: Fleet, slot: int, replica: int, late_s: float) -> None:
    """Count a sequence in that made its last token `late_s` before now."""
    s = fleet.slots[slot]
    m = fleet.mixture[replica, s["class_index"]]
    m["sequences"] += 1
    m["tokens"] += s["rate"]
    m["joined"] += 1
    m["late_s"] += late_s - fleet.replicas[replica]["stall_s"]


@inner_inlined
def end_gaps(fleet: Fleet, slot: int, replica: int) -> None:
    """Count a sequence out."""
    s = fleet.slots[slot]
    m = fleet.mixture[replica, s["class_index"]]
    if s["began"] == fleet.replicas[replica]["step"] and m["joined"] > 0:
        m["late_s"] -= m["late_s"] / m["joined"]
        m["joined"] -= 1
    m["sequences"] -= 1
    m["tokens"] -= s["rate"]
    if m["sequences"] == 0:
        m["tokens"] = 0.0


@inner_inlined
def record_gap(fleet: Fleet, class_index: int, gap_s: float) -> None:
    """Count the gap before one token."""
    fleet.gaps[class_index, bin_of(gap_s)] += 1.0


@inner_inlined
def record_provided(fleet: Fleet, class_index: int, gaps: int, gap_s: float) -> None:
    """Count the gaps between the tokens of a provider's answer; 0 seconds where it comes as a whole."""
    if gaps > 0:
        fleet.gaps[class_index, bin_of(gap_s) if gap_s > 0.0 else 0] += gaps


@inner
def record_gaps(fleet: Fleet, replica: int, steps: int, step_s: float) -> None:
    """Count the gaps before the tokens of so many decode steps."""
    r = fleet.replicas[replica]
    usual = bin_of(step_s)
    for index in range(fleet.mixture.shape[1]):
        m = fleet.mixture[replica, index]
        sequences = m["sequences"]
        if sequences == 0:
            continue
        fleet.gaps[index, usual] += sequences * steps
        fleet.gaps[index, 0] += (m["tokens"] - sequences) * steps
        if r["stall_s"] > 0.0 or m["late_s"] != 0.0:
            fleet.gaps[index, usual] -= sequences
            fleet.gaps[index, bin_of(r["stall_s"] + step_s)] += sequences - m["joined"]
            if m["joined"] > 0:
                fleet.gaps[index, bin_of(r["stall_s"] + step_s + m["late_s"] / m["joined"])] += m["joined"]
        m["joined"] = 0
        m["late_s"] = 0.0
    r["stall_s"] = 0.0
