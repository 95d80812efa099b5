"""inferencesim: a discrete-event simulator of heterogeneous AI-inference fleets.

The public names below are imported when they are first used, so that a command
that needs none of them starts at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferencesim.api import compare, simulate
    from inferencesim.errors import InputError
    from inferencesim.experiments.curves import Curve
    from inferencesim.experiments.planning.fleet_plan import plan
    from inferencesim.experiments.planning.max_rate import max_rate
    from inferencesim.experiments.sweep import sweep
    from inferencesim.results.comparison import Comparison
    from inferencesim.results.difference import difference
    from inferencesim.results.records.summary import Summary
    from inferencesim.results.run import Run
    from inferencesim.results.sweep import Sweep
    from inferencesim.scenario.loading import load_scenario
    from inferencesim.scenario.scenario import Scenario

__all__ = [
    "Comparison",
    "Curve",
    "InputError",
    "Run",
    "Scenario",
    "Summary",
    "Sweep",
    "__version__",
    "compare",
    "difference",
    "load_scenario",
    "max_rate",
    "plan",
    "simulate",
    "sweep",
]

_HOMES = {
    "Comparison": "inferencesim.results.comparison",
    "Curve": "inferencesim.experiments.curves",
    "InputError": "inferencesim.errors",
    "Run": "inferencesim.results.run",
    "Scenario": "inferencesim.scenario.scenario",
    "Summary": "inferencesim.results.records.summary",
    "Sweep": "inferencesim.results.sweep",
    "compare": "inferencesim.api",
    "difference": "inferencesim.results.difference",
    "load_scenario": "inferencesim.scenario.loading",
    "max_rate": "inferencesim.experiments.planning.max_rate",
    "plan": "inferencesim.experiments.planning.fleet_plan",
    "simulate": "inferencesim.api",
    "sweep": "inferencesim.experiments.sweep",
}


def __getattr__(name: str) -> object:
    import importlib

    if name == "__version__":
        from importlib import metadata

        return metadata.version("inferencesim")
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
