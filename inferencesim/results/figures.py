"""The numbers of a summary by their paths, and which of two is the better one.

A path names a number as a summary has it: ``ttft_s.p99`` of the fleet, ``classes.chat.slo_attainment``,
``tasks.agent.cost_per_completed_task_usd``, ``pools.premium.utilisation``, ``providers.acme.cost_usd``.
Comparisons, sweeps, cost curves and differences of runs all call their numbers so.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import BaseModel

from inferencesim.errors import InputError, did_you_mean
from inferencesim.results.records.capacity import PoolSummary, ProviderSummary
from inferencesim.results.records.requests import ClassSummary, FleetSummary, Reason
from inferencesim.results.records.tasks import TaskSummary
from inferencesim.workload.graphs import task_classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inferencesim.results.records.summary import Summary
    from inferencesim.scenario.scenario import Scenario

#: Parts of a summary that are told apart by name, in the order they are shown in, and the word for one of each.
_PARTS = {"classes": "class", "tasks": "task", "pools": "pool", "providers": "provider"}

#: What is better the more there is of it, and the less, by name or ending; of the rest it depends on who asks.
_MORE = frozenset(
    ("slo_attainment", "prefix_hit_rate", "completed", "completed_in_window", "completed_tasks_in_window",
     "promises_kept", "good", "availability")
)  # fmt: skip
_MORE_ENDING = "_per_s"
_LESS = frozenset(
    ("rejected", "timed_out", "cancelled", "open", "open_share", "promises_missed", "promises_open", "failed",
     "preemptions", "lost_tools", "idle_share", "retries", "escalations", "people", "rate_limited", "real_time_factor",
     "usd_per_million_output_tokens", "usd_per_million_tokens")
)  # fmt: skip
_LESS_ENDINGS = ("_s", "_usd", "_j", "_g")

Direction = Literal["more", "less"]


def figures(summary: Summary) -> dict[str, float | None]:
    """Return all numbers of a summary by their paths; None where there is no such quantity."""
    found = dict(_numbers(summary.fleet, ""))
    for place in _PARTS:
        for part in getattr(summary, place):
            found |= _numbers(part, f"{place}.{part.name}.")
    return found


def scope_of(path: str) -> tuple[str, str]:
    """Return what a number is of (``fleet``, ``class chat``, ``pool premium``), and its path there."""
    place, _, rest = path.partition(".")
    if place not in _PARTS:
        return "fleet", path
    name, _, metric = rest.partition(".")
    return f"{_PARTS[place]} {name}", metric


def scope_rank(scope: str) -> int:
    """Return where a kind of scope comes among the others: the fleet first."""
    return ["fleet", *_PARTS.values()].index(scope.partition(" ")[0])


def metric_paths(scenarios: Iterable[Scenario]) -> tuple[str, ...]:
    """Return the paths of all numbers that summaries of some scenarios have, but for counts by reason."""
    found: dict[str, None] = dict.fromkeys(_numbers_of(FleetSummary))
    for scenario in scenarios:
        parts = (
            ("classes", ClassSummary, [each.name for each in scenario.workload]),
            ("tasks", TaskSummary, task_classes(scenario)),
            ("pools", PoolSummary, [each.name for each in scenario.pools]),
            ("providers", ProviderSummary, [each.name for each in scenario.providers]),
        )
        for place, record, names in parts:
            found |= dict.fromkeys(f"{place}.{name}.{path}" for name in names for path in _numbers_of(record))
    return tuple(found)


def require_metrics(metrics: Iterable[str], scenarios: Iterable[Scenario], where: str = "--metric") -> None:
    """Refuse a path that no summary of some scenarios has.

    Raises
    ------
    InputError
        With the nearest path that there is.
    """
    known = metric_paths(scenarios)
    for metric in metrics:
        if metric not in known:
            raise InputError(where, f"no summary has {metric!r}", did_you_mean(metric, known))


def better(metric: str) -> Direction | None:
    """Tell whether more or less of a figure is better; None where it depends on who asks."""
    # The name of a class or pool says nothing of what is measured.
    _, path = scope_of(metric)
    name = path.partition(".")[0]
    if name in _MORE or name.endswith(_MORE_ENDING):
        return "more"
    return "less" if name in _LESS or name.endswith(_LESS_ENDINGS) else None


def _numbers(record: BaseModel, prefix: str) -> Iterator[tuple[str, float | None]]:
    """Yield all numbers of a record, nested ones by their path."""
    for name in type(record).model_fields:
        value = getattr(record, name)
        if isinstance(value, BaseModel):
            yield from _numbers(value, f"{prefix}{name}.")
        elif value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            yield prefix + name, value
        elif isinstance(value, tuple):
            for entry in value:  # reasons of rejection, and what released requests: each a count of its own
                yield f"{prefix}{name}.{entry.reason if isinstance(entry, Reason) else entry.until}", entry.requests


@functools.cache
def _numbers_of(record: type[BaseModel]) -> tuple[str, ...]:
    """Return the paths of all numbers of a kind of record."""
    return tuple(_walk(record, ""))


def _walk(record: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in record.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        nested = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if nested is not None and Ellipsis not in kinds:
            yield from _walk(nested, f"{prefix}{name}.")
        elif int in kinds or float in kinds:
            yield prefix + name
