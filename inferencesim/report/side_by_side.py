"""Summaries side by side: one column each."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from inferencesim.report.formats import count, grams, joules, seconds, share, usd
from inferencesim.report.tables import new_table, state_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from inferencesim.results.findings import Cause, ClassPromises
    from inferencesim.results.records.capacity import PoolSummary, ProviderSummary
    from inferencesim.results.records.requests import ClassSummary
    from inferencesim.results.records.summary import Summary
    from inferencesim.results.records.tasks import TaskSummary

Part = TypeVar("Part", "ClassSummary", "TaskSummary", "PoolSummary", "ProviderSummary")

_CLASS_LINES: tuple[tuple[str, Callable[[ClassSummary], str]], ...] = (
    ("cost per completed request", lambda one: usd(one.cost_per_completed_request_usd)),
    ("promises kept", lambda one: share(one.slo_attainment)),
    ("TTFT p50", lambda one: seconds(one.ttft_s.p50)),
    ("TTFT p99", lambda one: seconds(one.ttft_s.p99)),
    ("ITL p99", lambda one: seconds(one.itl_s.p99)),
)
_TASK_LINES: tuple[tuple[str, Callable[[TaskSummary], str | None]], ...] = (
    ("cost per completed task", lambda one: usd(one.cost_per_completed_task_usd)),
    ("promises kept", lambda one: None if one.slo_attainment is None else share(one.slo_attainment)),
    ("good answers", lambda one: None if one.good in (None, 1.0) else share(one.good)),
    ("answered by people", lambda one: share(one.people) if one.people else None),
    ("latency p50", lambda one: seconds(one.task_latency_s.p50)),
    ("latency p99", lambda one: seconds(one.task_latency_s.p99)),
)
_POOL_LINES: tuple[tuple[str, Callable[[PoolSummary], str]], ...] = (
    ("requests placed", lambda one: count(one.arrived)),
    ("utilisation", lambda one: share(one.utilisation)),
    ("MFU", lambda one: share(one.mfu)),
    ("MBU", lambda one: share(one.mbu)),
    ("energy", lambda one: joules(one.energy_j)),
)
_PROVIDER_LINES: tuple[tuple[str, Callable[[ProviderSummary], str]], ...] = (
    ("requests sent", lambda one: count(one.arrived)),
    ("ruled out by limits", lambda one: count(one.rate_limited)),
    ("cost", lambda one: usd(one.cost_usd)),
)


def labels(summaries: Sequence[Summary]) -> list[str]:
    """Return what tells summaries apart: variant, placement, balancing, scenario or seed; else a number."""
    candidates: tuple[Callable[[Summary], str], ...] = (
        lambda each: (each.variant or "").replace("_", " "),
        lambda each: each.policies.placement.policy,
        lambda each: f"{each.policies.placement.policy}/{each.policies.balancing.policy}",
        lambda each: each.name,
        lambda each: f"{each.name} seed {each.seed}",
    )
    for candidate in candidates:
        names = [candidate(each) for each in summaries]
        if len(set(names)) == len(names) and all(names):
            return names
    return [f"{number}: {each.name}" for number, each in enumerate(summaries, 1)]


def side_by_side(summaries: Sequence[Summary]) -> list[Table]:
    """Return tables with one column per summary: the fleet, then tasks, classes, pools and providers."""
    names = labels(summaries)
    return [
        _fleet(summaries, names),
        *_parts("Tasks", names, [each.tasks for each in summaries], _TASK_LINES),
        *_parts("Classes", names, [each.classes for each in summaries], _CLASS_LINES),
        *_parts("Pools", names, [each.pools for each in summaries], _POOL_LINES),
        *_parts("Outside providers", names, [each.providers for each in summaries], _PROVIDER_LINES),
    ]


def _fleet(summaries: Sequence[Summary], names: Sequence[str]) -> Table:
    fleets = [each.fleet for each in summaries]
    table = new_table("Fleet", "", *names)
    table.add_row("verdict", *(state_text(each.verdict) for each in summaries))
    table.add_row("cost per completed request", *(usd(each.cost_per_completed_request_usd) for each in fleets))
    if any(each.tasks for each in summaries):
        table.add_row("cost per completed task", *(usd(each.cost_per_completed_task_usd) for each in fleets))
    table.add_row("cost per M output tokens", *(usd(each.usd_per_million_output_tokens) for each in fleets))
    table.add_row("promises kept", *(share(each.slo_attainment) for each in fleets))
    table.add_row("idle share of cost", *(share(each.idle_share) for each in fleets))
    energy = (joules(each.energy_per_completed_request_j) for each in fleets)
    table.add_row("energy per completed request", *energy)
    # That of providers is unknown, and with it the energy of a request.
    table.add_row("site energy of the own fleet", *(joules(each.site_energy_j) for each in fleets))
    table.add_row("CO2e", *(grams(each.carbon_g) for each in fleets))
    return table


def _parts(
    title: str,
    names: Sequence[str],
    parts: Sequence[Sequence[Part]],
    lines: Sequence[tuple[str, Callable[[Part], str | None]]],
) -> list[Table]:
    """Return a table with a block of lines per part of that name; no table without parts, no line that is all None."""
    table = new_table(title, "", *names)
    for name in dict.fromkeys(one.name for each in parts for one in each):
        found = [next((one for one in each if one.name == name), None) for each in parts]
        cells = {label: [None if one is None else text(one) for one in found] for label, text in lines}
        for label, texts in cells.items():
            if any(text is not None for text in texts):
                table.add_row(f"{name}  {label}", *(text or "" for text in texts))
        table.add_section()
    return [table] if table.rows else []


def cause_text(cause: Cause) -> str:
    """Return what broke and on what the time went."""
    return f"{cause.what}: {cause.by}" if cause.by else cause.what


def broken_by_cause(summaries: Sequence[Summary], broken: Sequence[Sequence[ClassPromises]]) -> Table:
    """Return how many promises of requests broke for which cause, one column per summary.

    Parameters
    ----------
    summaries : sequence of Summary
    broken : sequence of sequence of ClassPromises
        Of each run, what became of the promises of its classes.
    """
    counts: dict[tuple[str, str], list[int]] = {}
    for column, classes in enumerate(broken):
        for each in classes:
            for cause in each.causes:
                counts.setdefault((each.name, cause_text(cause)), [0] * len(summaries))[column] += cause.requests
    table = new_table(
        "Broken promises, by cause", "class", "what broke: on what the time went", *labels(summaries), left=2
    )
    before = ""
    for (name, why), numbers in sorted(counts.items(), key=lambda item: (item[0][0], -sum(item[1]))):
        if before and name != before:
            table.add_section()
        table.add_row("" if name == before else name, why, *(count(number) for number in numbers))
        before = name
    return table
