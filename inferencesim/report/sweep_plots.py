"""Plots of a sweep: every figure against every parameter, as small multiples."""

# Matplotlib takes a second to import: only inside the functions.

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from inferencesim.report.plots import PALETTE, save, tidy
from inferencesim.report.sweep import axis_label, mean_figure, setting_text
from inferencesim.results.figures import scope_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from inferencesim.results.sweep import Sweep, SweptAxis, Trial

_COLUMNS = 4

#: Inches of a panel, and around all of them.
_PANEL_WIDTH, _PANEL_HEIGHT, _MARGIN = 3.6, 2.4, 0.7

#: Values of another parameter that are told apart by colour, at most.
_COLOURS = len(PALETTE)


#: Differences of what arithmetic makes of equal figures: relative, and of figures that are zero.
_ROUNDING, _NOTHING = 1e-9, 1e-15


def save_sweep_plots(sweep: Sweep, folder: Path) -> list[Path]:
    """Write one picture per axis and part of the fleet (all of it, each class, each pool), and return where.

    Raises
    ------
    InputError
        If they cannot be written there.
    """
    paths = []
    for axis in sweep.axes:
        for scope, figures in _varying(sweep).items():
            path = folder / f"{_as_name(axis.path)}--{_as_name(scope)}.png"
            paths.append(save(plot_against(sweep, axis, scope, figures), path))
    return paths


def plot_against(sweep: Sweep, axis: SweptAxis, scope: str, figures: Sequence[str]) -> Figure:
    """Plot some figures of one scope against one axis: a dot per trial, lines through the means.

    With one other axis of few values there is a line for each of them; with
    more, one line through the means over everything else.
    """
    from matplotlib.figure import Figure

    rows = math.ceil(len(figures) / _COLUMNS)
    width, height = _PANEL_WIDTH * _COLUMNS, _PANEL_HEIGHT * rows + 2.0 * _MARGIN
    picture = Figure(figsize=(width, height))
    # Layouts that look for overlaps take a quarter of a minute for so many panels.
    edges = {"left": _MARGIN / width, "right": 1.0 - 0.2 * _MARGIN / width}
    edges |= {"bottom": _MARGIN / height, "top": 1.0 - _MARGIN / height}
    panels = picture.subplots(
        rows, _COLUMNS, squeeze=False, gridspec_kw=edges | {"wspace": 0.32, "hspace": 0.42}
    ).ravel()
    places = _places(sweep, axis)
    lines = _lines(sweep, axis)
    for panel, name in zip(panels, figures, strict=False):
        for (label, trials), colour in zip(lines, PALETTE, strict=False):
            _draw(panel, axis, places, name, trials, label, colour)
        tidy(panel)
        panel.set_title(scope_of(name)[1], loc="left", fontsize=9)
        if axis.unit is None:
            panel.set_xticks(range(len(places)), [setting_text(value) for value in places])
        elif axis.logarithmic:
            panel.set_xscale("log")
    for panel in panels[len(figures) :]:
        panel.set_visible(False)
    handles, texts = panels[0].get_legend_handles_labels()
    if len(lines) > 1:
        picture.legend(handles, texts, loc="upper right", ncols=len(texts), frameon=False, fontsize=9)
    picture.supxlabel(axis_label(axis), fontsize=10, y=0.15 * _MARGIN / height)
    picture.suptitle(f"{sweep.name}: {scope}", x=0.01, y=1.0 - 0.2 * _MARGIN / height, ha="left", fontweight="bold")
    return picture


def _draw(
    panel: Axes, axis: SweptAxis, places: dict[Any, float], name: str, trials: Sequence[Trial], label: str, colour: str
) -> None:
    points = [
        (places[_hashable(trial.parameters[axis.path])], value)
        for trial in trials
        if (value := trial.result.figures.get(name)) is not None
    ]
    panel.plot([x for x, _ in points], [y for _, y in points], ".", color=colour, alpha=0.35, markersize=5)
    means = []
    for value, x in places.items():
        there = [trial for trial in trials if _hashable(trial.parameters[axis.path]) == value]
        mean = mean_figure(there, name)
        if mean is not None:
            means.append((x, mean))
    panel.plot([x for x, _ in means], [y for _, y in means], color=colour, linewidth=1.4, label=label)


def _varying(sweep: Sweep) -> dict[str, list[str]]:
    """Return the figures that differ between trials, by scope: what never changes needs no picture."""
    values: dict[str, set[float]] = {}
    for trial in sweep.trials:
        for name, value in trial.result.figures.items():
            if value is not None:
                values.setdefault(name, set()).add(value)
    found: dict[str, list[str]] = {}
    for name, different in values.items():
        if not math.isclose(min(different), max(different), rel_tol=_ROUNDING, abs_tol=_NOTHING):
            found.setdefault(scope_of(name)[0], []).append(name)
    return found


def _places(sweep: Sweep, axis: SweptAxis) -> dict[Any, float]:
    """Return where each value of an axis is drawn: by its number, or one after the other."""
    values = dict.fromkeys(_hashable(trial.parameters[axis.path]) for trial in sweep.trials)
    if axis.unit is None:
        return {value: float(place) for place, value in enumerate(values)}
    return {value: float(value) for value in sorted(values)}


def _lines(sweep: Sweep, axis: SweptAxis) -> list[tuple[str, list[Trial]]]:
    """Return the trials of each line with its label."""
    others = [each for each in sweep.axes if each.path != axis.path]
    if len(others) == 1:
        (other,) = others
        values = dict.fromkeys(_hashable(trial.parameters[other.path]) for trial in sweep.trials)
        if len(values) <= _COLOURS:
            return [
                (f"{axis_label(other)} {setting_text(value)}", list(_with(sweep, other, value))) for value in values
            ]
    return [("mean", list(sweep.trials))]


def _with(sweep: Sweep, axis: SweptAxis, value: Any) -> Iterator[Trial]:
    return (trial for trial in sweep.trials if _hashable(trial.parameters[axis.path]) == value)


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, (dict, list)) else value


def _as_name(path: str) -> str:
    return re.sub(r"[^\w\-]+", "_", path).strip("_")
