"""Gaps between tokens, counted in a histogram per class: no token is stored.

All sequences of a batch make their tokens at the ends of its steps. So a run of
decode steps adds, for each class in the batch, sequences × steps gaps at once,
at the mean step time of the run. A step that verifies drafts makes several
tokens together: one after a gap, the others after none. Sequences that waited
(for other prompts to be prefilled, or for their KV) have a longer first gap.

Bins are logarithmic, 32 to an octave: a percentile read from them is within 2.2 %.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.jit import inner, inner_inlined

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Fleet

#: Lower edge of bin 1, seconds; bin 0 holds the tokens that come together with another.
SHORTEST_S = 1e-5
BINS_PER_OCTAVE = 32
#: Up to 2²⁷ times the shortest: twenty minutes.
BINS = 1 + 27 * BINS_PER_OCTAVE

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
    if gap_s < SHORTEST_S:
        return 1
    return min(BINS - 1, 1 + int(math.log2(gap_s / SHORTEST_S) * BINS_PER_OCTAVE))


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
