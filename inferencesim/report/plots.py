"""Plots of a run over time, and of several runs side by side."""

# Matplotlib takes a second to import: only inside the functions, and without pyplot, whose state is global.

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from inferencesim.errors import InputError
from inferencesim.report.formats import seconds, significant
from inferencesim.report.side_by_side import cause_text, labels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from inferencesim.results.findings import ClassPromises
    from inferencesim.results.records.requests import ClassSummary
    from inferencesim.results.records.summary import Summary
    from inferencesim.results.run import Run

#: Okabe and Ito's palette, told apart under every common colour blindness; black and yellow left out.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

#: Tol's light scheme, likewise told apart, under black text; for causes, since the colours above are runs.
_CAUSES = ("#77AADD", "#EE8866", "#EEDD88", "#FFAABB", "#99DDFF", "#44BB99", "#BBCC33")
_OTHER_CAUSES = "#DDDDDD"

_GREY = "#5A5A5A"
_RUN_PANELS = (
    ("waiting", "requests waiting", 1.0),
    ("batch", "batch size per replica", 1.0),
    ("kv_usage", "KV cache in use (%)", 100.0),
    ("utilisation", "busy time (%)", 100.0),
    ("power_w", "power (kW)", 1e-3),
)
#: Where a pool has a prefix cache.
_CACHE_PANELS = (("prefix_hit_rate", "prompt tokens cached (%)", 100.0),)


def plot_run(run: Run) -> Figure:
    """Plot queue, batch, KV, utilisation and power of every pool over time, and cache hits where there is a cache."""
    from matplotlib.figure import Figure

    series = run.series
    caches = "prefix_hit_rate" in series and series["prefix_hit_rate"].notna().any()
    panels = _RUN_PANELS + _CACHE_PANELS * bool(caches)
    figure = Figure(figsize=(10, 2.2 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True)
    unit, size = ("h", 3600.0) if run.manifest.scenario["horizon"] >= 7200.0 else ("min", 60.0)
    names = [profile.pool for profile in run.manifest.profiles]
    window = run.summary.window if run.complete else None
    for axis, (column, label, scale) in zip(axes, panels, strict=True):
        tidy(axis)
        axis.set_ylabel(label)
        if window is not None:
            for edge in (window.from_s, window.to_s):
                axis.axvline(edge / size, color=_GREY, linewidth=0.8, linestyle=":")
        if series.empty:
            continue
        for place, name in enumerate(names):
            own = series[series["pool"] == name]
            colour = PALETTE[place % len(PALETTE)]
            # Nobody may have been admitted between two samples: the line goes on from one that was known to the next.
            known = own[own[column].notna()]
            axis.plot(known["time_s"] / size, known[column] * scale, color=colour, linewidth=1.4, label=name)
        axis.set_ylim(bottom=0)
        if scale == 100.0:
            axis.set_ylim(0, 105)
    axes[-1].set_xlabel(f"simulated time ({unit}); dotted: the measurement window")
    handles, texts = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, texts, loc="outside upper right", ncols=len(texts), frameon=False)
    figure.suptitle(f"{run.manifest.name}, seed {run.manifest.seed}, {run.manifest.placement}", x=0.02, ha="left")
    return figure


def plot_comparison(summaries: Sequence[Summary], broken: Sequence[Sequence[ClassPromises]]) -> Figure:
    """Plot several runs side by side: cost, promises, TTFT, utilisation, energy, and why promises broke.

    Parameters
    ----------
    summaries : sequence of Summary
    broken : sequence of sequence of ClassPromises
        Of each run, what became of the promises of its classes.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    names = labels(summaries)
    colours = [PALETTE[place % len(PALETTE)] for place in range(len(summaries))]
    classes = [each.name for each in summaries[0].classes]
    pools = list(dict.fromkeys(pool.name for each in summaries for pool in each.pools))
    work = _work_of(summaries[0])
    figure = Figure(figsize=(13, 11), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    # Apart, so that the names of runs beside the lower panel take no room from the upper ones.
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(8.2, 2.8)).flat
    grid = upper.subplots(2, 3)

    axis = grid[0, 0]
    values = [each.fleet.cost_per_completed_request_usd for each in summaries]
    tidy(axis)
    places = range(len(summaries))
    heights = [1000.0 * (value or 0.0) for value in values]
    bars = axis.bar(places, heights, color=colours, width=0.62)
    axis.bar_label(bars, [significant(height) for height in heights], padding=2, fontsize=9, color=_GREY)
    axis.set_xticks(places, ["" for _ in names])
    axis.set_title("Cost per completed request", loc="left")
    axis.set_ylabel("USD per 1,000, idle time included")
    axis.margins(y=0.12)

    axis = grid[0, 1]
    promising = [name for name in classes if any(_class(each, name).slo_attainment is not None for each in summaries)]
    columns = [[_class(each, name).slo_attainment for name in promising] for each in summaries]
    _grouped(axis, promising, columns, colours, scale=100.0, text=_whole)
    axis.set_title("Promises kept (SLO attainment)", loc="left")
    axis.set_ylabel("% of arrived requests")
    axis.set_ylim(0, 112)
    axis.set_yticks(range(0, 101, 20))
    if any((each.fleet.open_share or 0.0) > 0.005 for each in summaries):
        axis.set_xlabel("open at the end counts as not kept", fontsize=9, color=_GREY)

    _latencies(grid[0, 2], summaries, classes, colours)

    axis = grid[1, 0]
    columns = [[_usd_per_completed(each, name) for name in work] for each in summaries]
    _grouped(axis, work, columns, colours, scale=1000.0, text=lambda value: significant(value, 2))
    axis.set_title("Cost per completed task, by class", loc="left")
    if summaries[0].tasks:
        # A task of many calls costs a hundred times what a request does.
        axis.set_yscale("log")
    axis.set_ylabel("USD per 1,000, share of idle time included")

    axis = grid[1, 1]
    used = [[_of_pool(each, name, "utilisation") for name in pools] for each in summaries]
    _grouped(axis, pools, used, colours, scale=100.0)
    axis.set_title("Utilisation, by pool", loc="left")
    axis.set_ylabel("% of replica time busy")
    axis.set_ylim(0, 108)
    axis.set_yticks(range(0, 101, 20))

    axis = grid[1, 2]
    joules = [[_of_pool(each, name, "energy_j") for name in pools] for each in summaries]
    _grouped(axis, pools, joules, colours, scale=1.0 / 3.6e6)
    axis.set_title("Energy, by pool", loc="left")
    axis.set_ylabel("kWh in the window, idle included")

    _causes(lower.subplots(), names, broken)

    from matplotlib.patches import Patch

    handles = [
        Patch(color=colour, label=name if each.verdict.state == "stable" else f"{name} ({each.verdict.state})")
        for name, colour, each in zip(names, colours, summaries, strict=True)
    ]
    upper.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=11)
    window = summaries[0].window
    upper.suptitle(
        f"{summaries[0].name}: the same load, seed {summaries[0].seed}, {seconds(window.length_s)} measured",
        x=0.01, ha="left", fontsize=13, fontweight="bold",
    )  # fmt: skip
    return figure


def _latencies(axis: Axes, summaries: Sequence[Summary], classes: Sequence[str], colours: Sequence[str]) -> None:
    """Draw p50 to p99 of TTFT as a line per class and run, on a logarithmic axis."""
    from matplotlib.ticker import NullFormatter

    tidy(axis)
    width = 0.8 / len(summaries)
    for place, (each, colour) in enumerate(zip(summaries, colours, strict=True)):
        for row, name in enumerate(classes):
            ttft = _class(each, name).ttft_s
            if ttft.p50 is None or ttft.p99 is None:
                continue
            x = row + (place - (len(summaries) - 1) / 2.0) * width
            axis.plot([x, x], [ttft.p50, ttft.p99], color=colour, linewidth=3.5, alpha=0.45, solid_capstyle="butt")
            axis.plot([x], [ttft.p50], "o", color=colour, markersize=6.5)
            axis.plot([x], [ttft.p99], "_", color=colour, markersize=13, markeredgewidth=2.6)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda value, _: _seconds_tick(value))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xticks(range(len(classes)), classes)
    axis.set_title("TTFT, by class", loc="left")
    axis.set_ylabel("log; dot p50, bar p99")


def _causes(axis: Axes, names: Sequence[str], broken: Sequence[Sequence[ClassPromises]]) -> None:
    """Draw a bar per run: which share of its broken promises each cause has, and how many broke."""
    import pandas as pd

    tidy(axis)
    counts = pd.DataFrame([_by_cause(classes) for classes in broken]).fillna(0.0)
    totals = counts.sum(axis=1)
    shares = 100.0 * counts.div(totals.where(totals > 0.0, 1.0), axis=0)
    ranked = shares.sum().sort_values(ascending=False).index
    shown = shares[ranked[: len(_CAUSES)]].assign(other=shares[ranked[len(_CAUSES) :]].sum(axis=1))
    left = 0.0 * totals
    for why, colour in zip(shown, [*_CAUSES[: len(shown.columns) - 1], _OTHER_CAUSES], strict=True):
        bars = axis.barh(range(len(names)), shown[why], left=left, height=0.72, color=colour, label=why)
        texts = [f"{width:.0f}" if width >= 2.0 else "" for width in shown[why]]
        axis.bar_label(bars, texts, label_type="center", fontsize=9)
        left += shown[why]
    for row, total in enumerate(totals):
        axis.text(left[row] + 0.7, row, f"of {total:,.0f}" if total else "none", va="center", fontsize=9, color=_GREY)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlim(0, 109)
    axis.set_xticks(range(0, 101, 20))
    axis.grid(visible=False)
    axis.set_title("Broken promises, by cause", loc="left")
    axis.set_xlabel("% of the run's broken promises; what broke: on what the time went")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), frameon=False, fontsize=9)


def _by_cause(classes: Sequence[ClassPromises]) -> dict[str, int]:
    """Return how many promises broke by each cause, of all classes together."""
    found: dict[str, int] = {}
    for each in classes:
        for cause in each.causes:
            found[cause_text(cause)] = found.get(cause_text(cause), 0) + cause.requests
    return found


def _class(summary: Summary, name: str) -> ClassSummary:
    return next(each for each in summary.classes if each.name == name)


def _work_of(summary: Summary) -> list[str]:
    """Return what users asked for: tasks, and classes whose requests are tasks of their own."""
    called = {row.class_name for row in summary.ledger if row.task_class is not None}
    return [each.name for each in summary.classes if each.name not in called] + [each.name for each in summary.tasks]


def _usd_per_completed(summary: Summary, name: str) -> float | None:
    tasks = [each.cost_per_completed_task_usd for each in summary.tasks if each.name == name]
    return tasks[0] if tasks else _class(summary, name).cost_per_completed_request_usd


def _of_pool(summary: Summary, name: str, field: str) -> float | None:
    """Return a figure of a pool, None where the fleet has none of that name."""
    return next((float(getattr(each, field)) for each in summary.pools if each.name == name), None)


def _grouped(
    axis: Axes,
    groups: Sequence[str],
    columns: Sequence[Sequence[float | None]],
    colours: Sequence[str],
    *,
    scale: float,
    text: Callable[[float], str] | None = None,
) -> None:
    """Draw one group of bars per name, one bar per run."""
    tidy(axis)
    width = 0.8 / len(columns)
    for place, (column, colour) in enumerate(zip(columns, colours, strict=True)):
        xs = [row + (place - (len(columns) - 1) / 2.0) * width for row in range(len(groups))]
        heights = [scale * (value or 0.0) for value in column]
        bars = axis.bar(xs, heights, width=0.92 * width, color=colour)
        if text is not None and len(groups) * len(columns) <= 16:
            axis.bar_label(bars, [text(height) for height in heights], padding=2, fontsize=7.5, color=_GREY)
    axis.set_xticks(range(len(groups)), groups)


def _whole(per_cent: float) -> str:
    """Return a whole number rounded down: only what is 100 is called so."""
    return f"{math.floor(per_cent + 1e-9)}"


def _seconds_tick(value: float) -> str:
    return f"{value:g} s" if value >= 1.0 else f"{1e3 * value:g} ms"


def tidy(axis: Axes) -> None:
    """Leave only what helps to read a panel: no box, a light grid behind."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#E3E3E3", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(length=0, labelsize=9)
    axis.title.set_fontsize(11)


def make_room(path: Path) -> None:
    """Make the folder of a picture, so that a wrong name is known before there is anything to draw.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise _unwritable(path, problem) from problem


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG and return where.

    Raises
    ------
    InputError
        If it cannot be written there.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    make_room(path)
    FigureCanvasAgg(figure)
    try:
        # Without the version of Matplotlib among the metadata, equal figures are equal files.
        figure.savefig(path, dpi=130, format="png", metadata={"Software": None})
    except OSError as problem:
        raise _unwritable(path, problem) from problem
    return path


def _unwritable(path: Path, problem: OSError) -> InputError:
    return InputError(str(path), f"cannot be written ({problem.strerror})", "Name another file.")
