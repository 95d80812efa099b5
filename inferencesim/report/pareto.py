"""Cost against promises: which alternatives nobody beats at both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.report.plots import PALETTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from inferencesim.results.comparison import Comparison, Estimate

_COST, _KEPT = "cost_per_completed_task_usd", "slo_attainment"


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of those (cost, attainment) that no other beats at one without losing at the other."""
    return [
        place
        for place, (cost, kept) in enumerate(points)
        if not any(other != (cost, kept) and other[0] <= cost and other[1] >= kept for other in points)
    ]


def plot_pareto(found: Comparison) -> Figure:
    """Plot cost per completed task against promises kept, with intervals, and the front of the means.

    Alternatives that complete nothing, or promise nothing, have no place in it and are named.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 5.6), layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#E3E3E3", linewidth=0.8)
    axis.set_axisbelow(True)
    placed, missing = [], []
    for place, each in enumerate(found.alternatives):
        cost, kept = found.estimate(each.name, _COST), found.estimate(each.name, _KEPT)
        if cost is None or kept is None or cost.mean is None or kept.mean is None:
            missing.append(each.name)
            continue
        placed.append((1000.0 * cost.mean, 100.0 * kept.mean))
        unstable = "" if set(each.states) == {"stable"} else f" ({', '.join(each.states)})"
        axis.errorbar(
            *placed[-1], xerr=1000.0 * _half(cost), yerr=100.0 * _half(kept), fmt="o", capsize=3, markersize=7,
            color=PALETTE[place % len(PALETTE)], label=each.name + unstable,
        )  # fmt: skip
    best = sorted(placed[place] for place in front(placed))
    if best:
        axis.plot(
            *zip(*best, strict=True), "o--", color="#5A5A5A", linewidth=1.0, markersize=13, markerfacecolor="none",
            label="nobody is better at both",
        )  # fmt: skip
        axis.legend(frameon=False, fontsize=9)
    axis.set_xlabel("USD per 1,000 completed tasks, idle time included: further left is cheaper")
    axis.set_ylabel("promises kept (%)")
    axis.ticklabel_format(useOffset=False)
    note = (
        f"mean of {found.replications} replications; bars: {100.0 * found.confidence:g} % intervals of each by itself"
    )
    if missing:
        note += f"; no such figures: {', '.join(missing)}"
    axis.set_title(note, loc="left", fontsize=10)
    return figure


def _half(one: Estimate) -> float:
    return 0.0 if one.low is None or one.high is None else (one.high - one.low) / 2.0
