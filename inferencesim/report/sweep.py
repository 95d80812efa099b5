"""The table of a sweep: one line per combination of parameters, its replications averaged."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from inferencesim.report.formats import NOTHING, joules, seconds, share, significant, usd
from inferencesim.report.tables import new_table
from inferencesim.results.sweep import WITHOUT_FIGURES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from inferencesim.results.sweep import Sweep, SweptAxis, Trial

#: Figures of the table, with their heads and how they are written.
_COLUMNS: dict[str, tuple[str, Callable[[float | None], str]]] = {
    "cost_per_completed_request_usd": ("cost per\nrequest", usd),
    "slo_attainment": ("promises\nkept", share),
    "ttft_s.p99": ("TTFT\np99", seconds),
    "e2e_s.p99": ("E2E\np99", seconds),
    "output_tokens_per_s": ("output\ntokens/s", significant),
    "energy_per_completed_request_j": ("energy per\nrequest", joules),
}

#: Lines of failures that are written out.
_SHOWN_FAILURES = 5


def sweep_tables(sweep: Sweep) -> list[RenderableType]:
    """Return what ``sweep`` prints: the table, and what failed."""
    part = "" if sweep.shard is None else f", part {sweep.shard}"
    head = Text.assemble((sweep.name, "bold"), f"  {len(sweep.trials):,} trials{part}")
    parts: list[RenderableType] = [head, _table(sweep)]
    if any(trial.replication for trial in sweep.trials):
        parts.append(Text("Figures are means over replications; results.parquet has every trial."))
    return [*parts, *_failures(sweep)]


def combinations(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Return trials of equal parameters together, in their order."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(repr(trial.parameters), []).append(trial)
    return list(groups.values())


def axis_label(axis: SweptAxis) -> str:
    """Return an axis's path with its unit."""
    return f"{axis.path} ({axis.unit})" if axis.unit else axis.path


def setting_text(value: Any) -> str:
    """Return the setting of an axis as a person reads it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def mean_figure(trials: Sequence[Trial], name: str) -> float | None:
    """Return the mean of a figure over trials that have it; None if none has."""
    found = [value for trial in trials if (value := trial.result.figures.get(name)) is not None]
    return float(np.mean(found)) if found else None


def _table(sweep: Sweep) -> Table:
    # A fleet without promises keeps none, and has no column for them.
    known = {name for trial in sweep.trials for name, value in trial.result.figures.items() if value is not None}
    columns = {name: shown for name, shown in _COLUMNS.items() if name in known}
    heads = [head for head, _ in columns.values()]
    axes = [axis_label(axis).replace(".", ".\n") for axis in sweep.axes]
    table = new_table("Sweep", *axes, "state", *heads, left=len(axes) + 1)
    for group in combinations(sweep.trials):
        settings = (setting_text(value) for value in group[0].parameters.values())
        figures = (write(mean_figure(group, name)) for name, (_, write) in columns.items())
        table.add_row(*settings, _states(group), *figures)
    return table


def _states(group: Sequence[Trial]) -> str:
    """Return the state of all replications, or how many there are of each."""
    states = Counter(trial.result.state for trial in group)
    if len(states) == 1:
        return next(iter(states))
    return ", ".join(f"{number} {state}" for state, number in states.most_common()) or NOTHING


def _failures(sweep: Sweep) -> list[Text]:
    """Return why trials have no figures, the most frequent reason first."""
    reasons = Counter((trial.result.state, trial.result.why) for trial in sweep.failures)
    texts = [
        Text(f"{number} {state}: {why}", style="yellow")
        for (state, why), number in reasons.most_common(_SHOWN_FAILURES)
    ]
    if len(reasons) > _SHOWN_FAILURES:
        texts.append(Text(f"and {len(reasons) - _SHOWN_FAILURES} other reasons, in results.parquet"))
    if any(state in WITHOUT_FIGURES and state != "failed" for state, _ in reasons):
        texts.append(Text("Trials that crashed or were killed are tried again when the same sweep is started again."))
    return texts
