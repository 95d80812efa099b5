"""What ``plan`` and ``max-rate`` print, and the picture of a front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from inferencesim.report.formats import NOTHING, count, seconds, share, significant, usd, watts
from inferencesim.report.tables import new_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from rich.console import RenderableType
    from rich.table import Table

    from inferencesim.results.fleet_plan import FleetChoice, FleetPlan, MaxRate

#: The colours of little and much power in the picture.
_POWER_COLOURS = "viridis"


def plan_tables(found: FleetPlan, *, front: bool = False) -> list[RenderableType]:
    """Return what ``plan`` prints: the answer, what it keeps, what binds, what more load costs, and the screen."""
    whose = f"of {', '.join(found.classes)}" if found.classes else "of every class, and of all together"
    parts: list[RenderableType] = [
        Text.assemble((found.name, "bold"), f"  seed {found.seed}: {share(found.slo)} of the promises {whose}, "
                      f"at {share(found.confidence)} confidence in {found.replications} fresh replications"),
        _verdict(found),
    ]  # fmt: skip
    fleets = [("answer", found.answer), ("runner-up", found.runner_up), ("nearest", found.best)]
    fleets += [("not confirmed", one) for one in found.rejected]
    parts.append(_fleets("Fleets", [(word, one) for word, one in fleets if one is not None]))
    chosen = found.answer or found.best
    if chosen is not None:
        parts.append(_kept(chosen))
    if found.needs:
        parts.append(_needs(found))
    if found.marginal is not None:
        parts.append(_more_load(found))
    if front:
        parts.append(_fleets("Front", [(str(place), one) for place, one in enumerate(found.front, 1)]))
    parts.append(_screened(found))
    parts.append(Text(f"{NOTHING}: not within its promises, or without work that the lower bound counts."))
    parts += [Text(f"{one.name} was no candidate: {one.why}") for one in found.removed]
    parts.append(Text(f"{count(found.simulations)} simulations in {seconds(found.seconds)}."))
    return parts


def _verdict(found: FleetPlan) -> Text:
    """Return the answer in a sentence or two."""
    if found.answer is None:
        return Text.assemble(("no fleet found", "bold red"), f": {found.stopped}.")
    bound = NOTHING if found.bound_usd_per_h is None else f"{usd(found.bound_usd_per_h)}/h"
    gap = "" if found.gap is None else f", {share(found.gap)} below the answer" if found.gap < 0 else (
        f", the answer is {share(found.gap)} above it"
    )  # fmt: skip
    return Text.assemble(
        (found.answer.text, "bold green"),
        f": {usd(found.answer.usd_per_h)}/h. Lower bound {bound}{gap}. Search: {found.stopped}.",
    )


def _fleets(title: str, fleets: Sequence[tuple[str, FleetChoice]]) -> Table:
    heads = ("", "fleet", "cost/h", "power", "bought", "worst class", "kept", "at least", "runs")
    table = new_table(title, *heads, left=2)
    for word, one in fleets:
        worst = one.worst
        table.add_row(
            word, one.text, usd(one.usd_per_h), watts(one.energy_w), share(one.provider_share),
            NOTHING if worst is None else worst.name, share(None if worst is None else worst.mean),
            share(None if worst is None or one.replications == 1 else worst.lower), count(one.replications),
        )  # fmt: skip
    return table


def _kept(chosen: FleetChoice) -> Table:
    table = new_table("Promises kept", "class", "mean", "at least")
    for one in chosen.kept:
        table.add_row(one.name, share(one.mean), share(one.lower if chosen.replications > 1 else None))
    return table


def _needs(found: FleetPlan) -> Table:
    table = new_table("What binds: one less of each", "without one", "class", "keeps", "", left=2)
    table.columns[3].justify = "left"
    for one in found.needs:
        table.add_row(one.candidate, one.class_name or NOTHING, share(one.kept), one.why)
    return table


def _more_load(found: FleetPlan) -> Text:
    """Say what more load costs."""
    more = found.marginal
    assert more is not None
    times = f"{100.0 * (more.load - 1.0):.3g} % more load"
    if more.fleet is None or more.usd_per_h_per_percent is None:
        return Text(f"{times}: no fleet was found in the time and within the bounds.")
    at_most = "" if more.complete else "at most "
    return Text(
        f"{times}: {more.fleet.text} for {usd(more.fleet.usd_per_h)}/h, hence 1 % more load costs {at_most}"
        f"{usd(more.usd_per_h_per_percent)}/h (counts are whole numbers: the mean over ten steps of 1 %)."
    )


def _screened(found: FleetPlan) -> Table:
    table = new_table("What a replica does at most, without queues", "candidate", "class", "requests/s", "cost/1000",
                      left=2)  # fmt: skip
    for one in found.screened:
        table.add_row(one.candidate, one.class_name, significant(one.requests_per_s), usd(one.usd_per_1000))
    return table


def max_rate_tables(found: MaxRate) -> list[RenderableType]:
    """Return what ``max-rate`` prints."""
    whose = f"the load of {', '.join(found.classes)}" if found.classes else "the load"
    table = new_table("By replication", "replication", "times the load", "what gives way")
    for place, (factor, name) in enumerate(zip(found.factors, found.binding, strict=True)):
        table.add_row(str(place), significant(factor), name or NOTHING)
    parts: list[RenderableType] = [
        Text.assemble(
            (found.name, "bold"), f"  seed {found.seed}: carries ",
            (f"{significant(found.factor)} times {whose}", "bold"),
            f", {significant(found.lower)} to {significant(found.upper)} at {share(found.confidence)} confidence, with "
            f"{share(found.slo)} of the promises of every class kept.",
        ),
        table,
    ]  # fmt: skip
    if found.at_limit:
        parts.append(Text("The highest load that was tried is carried: the limit is further up."))
    parts.append(Text(f"{count(found.simulations)} simulations in {seconds(found.seconds)}; "
                      f"each replication's limit is found within {share(found.tolerance)}."))  # fmt: skip
    return parts


def plot_front(found: FleetPlan) -> Figure:
    """Plot cost against the worst class's attainment of all fleets on the front; colours are power."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axis = figure.subplots()
    front = [one for one in found.front if one.worst is not None]
    kept = [100.0 * one.worst.mean for one in front if one.worst is not None]
    costs = [one.usd_per_h for one in front]
    marks = axis.scatter(costs, kept, c=[one.energy_w / 1e3 for one in front], cmap=_POWER_COLOURS, s=60, zorder=3)
    figure.colorbar(marks, ax=axis, label="site power (kW)")
    for place, (cost, height) in enumerate(zip(costs, kept, strict=True), 1):
        axis.annotate(str(place), (cost, height), xytext=(7, -4), textcoords="offset points", fontsize=9)
    names = "\n".join(f"{place}  {one.text}" for place, one in enumerate(front, 1))
    axis.text(0.98, 0.03, names, transform=axis.transAxes, ha="right", va="bottom", fontsize=8, multialignment="left")
    axis.axhline(100.0 * found.slo, color="#5A5A5A", linewidth=0.8, linestyle=":")
    if found.bound_usd_per_h is not None:
        axis.axvline(found.bound_usd_per_h, color="#5A5A5A", linewidth=0.8, linestyle="--")
    axis.set_xlabel("US dollars per hour (dashed: lower bound)")
    axis.set_ylabel("promises kept by the worst class (%; dotted: asked for)")
    axis.set_title(found.name)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#E3E3E3", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.margins(x=0.15)
    return figure
