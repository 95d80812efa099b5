"""The tables of one summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from inferencesim.report.formats import count, grams, joules, seconds, share, significant, usd, watts
from inferencesim.report.tables import new_table, verdict_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType
    from rich.table import Table

    from inferencesim.results.records.capacity import PoolSummary
    from inferencesim.results.records.requests import Statistics, TimeParts
    from inferencesim.results.records.summary import Summary

_TIME_PARTS: tuple[tuple[str, Callable[[TimeParts], float | None]], ...] = (
    ("queue", lambda parts: parts.waiting_s),
    ("prefill", lambda parts: parts.prefill_s),
    ("decode", lambda parts: parts.decode_s),
    ("transfer", lambda parts: parts.transfer_s),
    ("preempted", lambda parts: parts.preempted_s),
    ("network", lambda parts: parts.network_s),
)
_OUTCOMES: tuple[tuple[str, Callable[[Statistics], int]], ...] = (
    ("rejected", lambda one: one.rejected),
    ("timed out", lambda one: one.timed_out),
    ("cancelled", lambda one: one.cancelled),
    ("failed", lambda one: one.failed),
    ("open", lambda one: one.open),
)
_EVENTS: tuple[tuple[str, Callable[[PoolSummary], int]], ...] = (
    ("preemptions", lambda one: one.preemptions),
    ("handed over", lambda one: one.handed_over),
)
_STEPS: tuple[tuple[str, tuple[str, Callable[[float | None], str]]], ...] = (
    ("calls", ("calls", significant)),
    ("retries", ("retries", significant)),
    ("escalations", ("escalations", significant)),
    ("people", ("people", significant)),
    ("prompt tokens", ("prompt_tokens", significant)),
    ("output tokens", ("generated_tokens", significant)),
    ("widest fan-out", ("fan_out", significant)),
    ("tools", ("tools", significant)),
    ("lost tools", ("lost_tools", significant)),
    ("tool time", ("tool_s", seconds)),
    ("waiting for cores", ("tool_wait_s", seconds)),
)


def summary_tables(summary: Summary) -> list[RenderableType]:
    """Return what ``show`` prints: verdict, fleet, classes, pools, and how far to trust them."""
    policies, window = summary.policies, summary.window
    head = Text.assemble(
        (summary.name, "bold"),
        f"  seed {summary.seed}, placement {policies.placement.policy}, balancing {policies.balancing.policy}, "
        f"window {seconds(window.from_s)} to {seconds(window.to_s)}",
    )
    parts: list[RenderableType] = [head]
    if summary.question:
        parts.append(Text(summary.question, style="italic"))
    parts.append(verdict_text(summary.verdict))
    if policies.oracle:
        who = ", ".join(policies.oracles)
        parts.append(Text(f"Read this as a bound: no real system knows what these do: {who}.", style="yellow"))
    parts.append(_fleet_table(summary))
    if summary.tasks:
        parts += [_task_table(summary), _step_table(summary)]
    parts += [_class_table(summary), _time_table(summary), *_mean_intervals(summary)]
    if summary.fleet.to_finish is not None:
        parts.append(_open_table(summary))
    parts += [_pool_table(summary), _inside_table(summary)]
    if summary.tools:
        parts.append(_tools_table(summary))
    if summary.providers:
        parts += [_provider_table(summary), *_break_even(summary)]
    parts.append(_error_table(summary))
    reasons = [
        f"{each.name}: " + ", ".join(f"{reason.requests:,} {reason.reason}" for reason in each.rejections)
        for each in summary.classes
        if each.rejections
    ]
    if reasons:
        parts.append(Text("Rejected - " + "; ".join(reasons)))
    held = [
        f"{each.name}: " + ", ".join(f"{of.requests:,} until {of.until} ({seconds(of.mean_s)})" for of in each.held)
        for each in summary.classes
        if each.held
    ]
    if held:
        parts.append(Text("Held, and for how long on average - " + "; ".join(held)))
    if summary.malformed_trace_rows:
        what = f"{summary.malformed_trace_rows:,} malformed trace rows were left out"
        first = "".join(f", the first {row.file}:{row.line}: {row.reason}" for row in summary.first_malformed_rows[:1])
        parts.append(Text(f"{what}{first}.", style="yellow"))
    parts += [Text(f"{note.file}: {note.text}.") for note in summary.trace_notes]
    return parts


def _fleet_table(summary: Summary) -> Table:
    fleet = summary.fleet
    table = new_table("Fleet", "", "", "", "", "", "", left=0, together=2)
    table.show_header = False
    for place, column in enumerate(table.columns):
        column.justify = "left" if place % 2 == 0 else "right"
    cells = [
        ("replicas (chips)", f"{fleet.replicas:,} ({fleet.chips:,})"),
        ("utilisation", share(fleet.utilisation)),
        ("promises kept", share(fleet.slo_attainment)),
        ("cost", usd(fleet.cost_usd)),
        ("of it idle", share(fleet.idle_share)),
        ("per completed request", usd(fleet.cost_per_completed_request_usd)),
        *[("per completed task", usd(fleet.cost_per_completed_task_usd))] * bool(summary.tasks),
        ("per M output tokens", usd(fleet.usd_per_million_output_tokens)),
        ("per M tokens", usd(fleet.usd_per_million_tokens)),
        ("output tokens/s", significant(fleet.output_tokens_per_s)),
        ("energy", joules(fleet.energy_j)),
        ("at the site", joules(fleet.site_energy_j)),
        ("CO2e", grams(fleet.carbon_g)),
    ]
    if summary.providers:
        cells.append(("of it to providers", usd(fleet.provider_usd)))
    egress_usd = sum(pool.egress_usd for pool in summary.pools)
    if egress_usd > 0.0:
        cells.append(("of it egress", usd(egress_usd)))
    for start in range(0, len(cells), 3):
        table.add_row(*(text for cell in cells[start : start + 3] for text in cell))
    return table


def _task_table(summary: Summary) -> Table:
    """Return what became of each class of tasks; outcomes that none met are left out."""
    met = [name for name in ("failed", "timed_out", "open") if any(getattr(each, name) for each in summary.tasks)]
    judged = any(each.good is not None and each.good < 1.0 for each in summary.tasks)
    columns = ["arrived", "completed", *(name.replace("_", " ") for name in met), *["good"] * judged, "promises kept"]
    table = new_table("Tasks", "task", *columns, "latency p50", "latency p99", "USD/completed task", "wasted")
    for each in summary.tasks:
        table.add_row(
            each.name, count(each.arrived), count(each.completed), *(count(getattr(each, name)) for name in met),
            *[share(each.good)] * judged, share(each.slo_attainment),
            seconds(each.task_latency_s.p50), seconds(each.task_latency_s.p99),
            usd(each.cost_per_completed_task_usd), usd(each.wasted_usd),
        )  # fmt: skip
    return table


def _step_table(summary: Summary) -> Table:
    """Return what a completed task of each class takes; columns that hold nothing are left out."""
    shown = [(name, text) for name, text in _STEPS if any(getattr(each, text[0]) for each in summary.tasks)]
    table = new_table("Of a completed task, on average", "task", *(name for name, _ in shown))
    for each in summary.tasks:
        table.add_row(each.name, *(write(getattr(each, field)) for _, (field, write) in shown))
    return table


def _tools_table(summary: Summary) -> Table:
    table = new_table(
        "Tools", "tools", "hardware", "nodes (cores)", "utilisation", "power", "cost", "of it idle", left=2
    )
    for each in summary.tools:
        table.add_row(
            each.name, each.hardware, f"{each.nodes:,} ({each.cores:,})", share(each.utilisation),
            watts(each.power_w), usd(each.cost_usd), share(each.idle_usd / each.cost_usd if each.cost_usd else None),
        )  # fmt: skip
    return table


def _class_table(summary: Summary) -> Table:
    """Return what became of each class; outcomes that nobody met are left out."""
    met = [(name, of) for name, of in _OUTCOMES if any(of(each) for each in summary.classes)]
    latencies = ["TTFT p50", "TTFT p99", "TPOT p50", "E2E p50", "E2E p99"]
    columns = ["arrived", "completed", *(name for name, _ in met), "promises kept", *latencies]
    table = new_table("Classes", "class", *columns, "USD/request")
    for each in summary.classes:
        table.add_row(
            each.name, count(each.arrived), count(each.completed), *(count(of(each)) for _, of in met),
            share(each.slo_attainment), seconds(each.ttft_s.p50), seconds(each.ttft_s.p99), seconds(each.tpot_s.p50),
            seconds(each.e2e_s.p50), seconds(each.e2e_s.p99), usd(each.cost_per_completed_request_usd),
        )  # fmt: skip
    return table


def _time_table(summary: Summary) -> Table:
    """Return where the time of each class's completed requests went; columns that hold nothing are left out."""
    classes = summary.classes
    parts = [(name, part) for name, part in _TIME_PARTS if any(part(each.time_parts) for each in classes)]
    cached = any(each.prefix_hit_rate is not None for each in classes)
    spoken = any(each.real_time_factor.p50 is not None for each in classes)
    columns = [name for name, _ in parts] + ["E2E mean", "ITL p50", "ITL p99"]
    columns += ["hit rate"] * cached + ["real-time factor p99"] * spoken
    table = new_table("Where the time went", "class", *columns)
    for each in classes:
        cells = [seconds(part(each.time_parts)) for _, part in parts]
        cells += [seconds(each.e2e_s.mean), seconds(each.itl_s.p50), seconds(each.itl_s.p99)]
        cells += [share(each.prefix_hit_rate)] * cached + [significant(each.real_time_factor.p99)] * spoken
        table.add_row(each.name, *cells)
    return table


def _mean_intervals(summary: Summary) -> list[RenderableType]:
    """Return the table of means with their intervals, and why some have none; nothing if the run says neither."""
    names = {"ttft_s.mean": "TTFT", "e2e_s.mean": "E2E"}
    found = {(each.scope, each.metric): each for each in summary.intervals}
    heads = (head for name in names.values() for head in (name, "±"))
    table = new_table("Means ± 95 %, by batch means", "", *heads, together=2)
    reasons: dict[str, list[str]] = {}
    for scope in dict.fromkeys(each.scope for each in summary.intervals):
        own = {name: found[scope, metric] for metric, name in names.items()}
        if any(each.reason is None for each in own.values()):
            table.add_row(
                scope, *(text for each in own.values() for text in (seconds(each.mean), seconds(each.half_width)))
            )
        for reason in dict.fromkeys(each.reason for each in own.values() if each.reason is not None):
            without = [name for name, each in own.items() if each.reason == reason]
            reasons.setdefault(reason, []).append(scope if len(without) == len(own) else f"{scope}, {without[0]}")
    notes = [Text(f"No interval of the means of {'; '.join(scopes)}: {why}.") for why, scopes in reasons.items()]
    return [*[table] * bool(table.rows), *notes]


def _open_table(summary: Summary) -> Table:
    """Return what was still inside when the simulation stopped, and what finishing it will cost."""
    columns = ["requests", "promises open", "prompt tokens left", "output tokens left", "replica time", "cost"]
    table = new_table("Still inside at the end, and what finishing it will take", "class", *columns)
    rows = [(each.name, each.to_finish) for each in summary.classes]
    if len(rows) > 1:
        rows.append(("all", summary.fleet.to_finish))
    for name, left in rows:
        if left is not None:
            table.add_row(
                name, count(left.requests), count(left.promises_open), count(left.prompt_tokens),
                count(left.output_tokens), seconds(left.replica_s), usd(left.cost_usd),
            )  # fmt: skip
    return table


def _pool_table(summary: Summary) -> Table:
    table = new_table(
        "Pools", "pool", "hardware", "model", "replicas (chips)", "placed", "output tokens/s", "power",
        "cost", "of it idle", "energy", "CO2e", left=3,
    )  # fmt: skip
    for pool in summary.pools:
        table.add_row(
            pool.name, pool.hardware, f"{pool.model} {pool.precision}", f"{pool.replicas:,} ({pool.chips:,})",
            count(pool.arrived), significant(pool.output_tokens_per_s), watts(pool.power_w),
            usd(pool.cost_usd), share(_idle_share(summary, pool)), joules(pool.energy_j), grams(pool.carbon_g),
        )  # fmt: skip
    return table


def _inside_table(summary: Summary) -> Table:
    """Return what went on inside the replicas of each pool; what happened in none is left out."""
    pools = summary.pools
    happened = [(name, of) for name, of in _EVENTS if any(of(pool) for pool in pools)]
    caches = any(pool.prefix_hit_rate is not None for pool in pools)
    failing = any(pool.availability < 1.0 for pool in pools)
    columns = [
        *["up"] * failing,
        "utilisation",
        "MFU",
        "MBU",
        "batch",
        "KV in use",
        *["hit rate"] * caches,
        *(name for name, _ in happened),
    ]
    table = new_table("Inside the pools", "pool", "batching", "order", *columns, left=3)
    for pool, used in zip(pools, summary.policies.batching, strict=True):
        cells = [
            *[share(pool.availability)] * failing,
            share(pool.utilisation),
            share(pool.mfu),
            share(pool.mbu),
            significant(pool.batch),
            share(pool.kv_usage),
        ]
        cells += [share(pool.prefix_hit_rate)] * caches + [count(of(pool)) for _, of in happened]
        table.add_row(pool.name, used.policy.policy, used.order.policy, *cells)
    return table


def _provider_table(summary: Summary) -> Table:
    failing = any(each.availability < 1.0 for each in summary.providers)
    table = new_table(
        "Outside providers (their energy and CO2e are unknown, and in no figure here)", "provider", "model", "tier",
        *["available"] * failing, "sent", "answered", "ruled out by limits", "prompt tokens", "of them cached",
        "output tokens", "cost", "per M tokens", left=3,
    )  # fmt: skip
    for each in summary.providers:
        table.add_row(
            each.name, each.model, each.tier, *[share(each.availability)] * failing, count(each.arrived),
            count(each.completed), count(each.rate_limited), count(each.prompt_tokens), count(each.cached_tokens),
            count(each.output_tokens), usd(each.cost_usd), usd(each.usd_per_million_tokens),
        )  # fmt: skip
    return table


def _break_even(summary: Summary) -> list[RenderableType]:
    """Return the table of owned pools against providers of their model; nothing if there are none."""
    if not summary.break_even:
        return []
    table = new_table(
        "Break-even, for the tokens each pool completed", "pool", "provider", "owned USD/M tokens",
        "provider USD/M tokens", "utilisation", "both equal at", left=2,
    )  # fmt: skip
    for each in summary.break_even:
        equal = each.break_even_utilisation
        table.add_row(
            each.pool, each.provider, usd(each.pool_usd_per_million_tokens), usd(each.provider_usd_per_million_tokens),
            share(each.utilisation), "no utilisation" if equal is not None and equal > 1.0 else share(equal),
        )  # fmt: skip
    return [table]


def _error_table(summary: Summary) -> Table:
    table = new_table("", "expected error of TPOT", "pools", left=2)
    for error in dict.fromkeys(pool.expected_error for pool in summary.pools):
        table.add_row(error, ", ".join(pool.name for pool in summary.pools if pool.expected_error == error))
    return table


def _idle_share(summary: Summary, pool: PoolSummary) -> float | None:
    idle = sum(row.cost_usd for row in summary.ledger if row.pool == pool.name and row.class_name is None)
    return idle / pool.cost_usd if pool.cost_usd else None
