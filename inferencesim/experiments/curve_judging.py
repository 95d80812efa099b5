"""Old and new values of a curve: which means have changed by more than chance *and* more than their limits.

A difference is tested against its limit, not against zero: a check fails only where the whole confidence interval of
the change lies beyond the limit (a minimum-effect test: Murphy and Myors, "Testing the hypothesis that treatments have
negligible effects", Journal of Applied Psychology 84, 1999; intervals beside a limit: Wellek, *Testing Statistical
Hypotheses of Equivalence and Noninferiority*, 2nd ed., 2010). So a change as large as the limit raises an alarm as
rarely as none at all. With m comparisons each interval has the confidence 1 − rate / m (Bonferroni), and the chance of
any false alarm is at most the stated rate, whatever loads and figures have in common.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.results.curve import rounded
from inferencesim.results.curve_check import CurveDifference
from inferencesim.results.figures import better
from inferencesim.statistics.intervals import bonferroni, paired_interval
from inferencesim.statistics.welch import welch_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inferencesim.experiments.curve_points import Seen
    from inferencesim.results.curve import Limit
    from inferencesim.results.curve_check import CurveConclusion
    from inferencesim.statistics.intervals import Interval


def judge(
    old: Sequence[Seen], new: Sequence[Seen], limits: Mapping[str, Limit], rate: float, *, paired: bool
) -> tuple[CurveDifference, ...]:
    """Compare what was seen at the same loads, figure by figure.

    Parameters
    ----------
    old, new : sequence of Seen
        In the same order of loads.
    limits : mapping of str to Limit
    rate : float
        Of false alarms, over all of it.
    paired : bool
        Whether replications of the same number met the same random numbers.
    """
    confidence = bonferroni(1.0 - rate, len(old) * len(limits))
    return tuple(
        _difference(before, after, metric, limit, confidence, paired=paired)
        for before, after in zip(old, new, strict=True)
        for metric, limit in limits.items()
    )


def _difference(
    before: Seen, after: Seen, metric: str, limit: Limit, confidence: float, *, paired: bool
) -> CurveDifference:
    old, new = _values(before, metric), _values(after, metric)
    if old is None or new is None:
        return CurveDifference(
            load=before.load, metric=metric, old=None if old is None else float(old.mean()),
            new=None if new is None else float(new.mean()), difference=None, low=None, high=None, limit=None,
            # A figure that neither has is no change.
            conclusion="equal" if before.values[metric] == after.values[metric] else "missing",
        )  # fmt: skip
    mean = float(old.mean())
    size = limit.around(mean)
    interval = paired_interval(new, old, confidence) if paired else welch_interval(new, old, confidence)
    equal = paired and bool(np.array_equal(old, new))
    return CurveDifference(
        load=before.load,
        metric=metric,
        old=mean,
        new=float(new.mean()),
        difference=interval.estimate,
        low=interval.low,
        high=interval.high,
        limit=size,
        conclusion="equal" if equal else _conclusion(metric, interval, size),
    )


def _values(seen: Seen, metric: str) -> np.ndarray | None:
    """Return the values as a file holds them, so that equal runs are equal; None where a replication lacks one."""
    values = seen.values[metric]
    return None if None in values else np.array([rounded(value) for value in values if value is not None])


def _conclusion(metric: str, interval: Interval, limit: float) -> CurveConclusion:
    if -limit <= interval.low and interval.high <= limit:
        return "within the limit"
    if interval.low <= limit and interval.high >= -limit:
        return "no change shown"
    more, wanted = interval.low > limit, better(metric)
    if wanted is None:
        return "higher" if more else "lower"
    return "better" if more == (wanted == "more") else "worse"
