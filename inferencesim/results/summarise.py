"""From the result of a simulation to its summary."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.documents import document_digest
from inferencesim.kernel.flow_tables import NOT_HELD, RELEASES
from inferencesim.kernel.tables import CANCELLED, COMPLETED, FAILED, OPEN, OUTCOMES, REJECTED, TIMED_OUT, VERDICTS
from inferencesim.ledger.columns import TIME_PARTS
from inferencesim.ledger.promises import GIVEN_UP, PROMISE_KEPT, PROMISE_MISSED, PROMISE_OPEN
from inferencesim.results.break_even import break_evens
from inferencesim.results.distributions import distribution, gap_distribution, per
from inferencesim.results.mean_intervals import mean_intervals
from inferencesim.results.money import (
    accounts,
    class_cost,
    people_rows,
    provider_rows,
    task_cost,
    tool_accounts,
    total_cost,
)
from inferencesim.results.policies import policies_of
from inferencesim.results.records.base import Window
from inferencesim.results.records.capacity import PoolSummary, ProviderSummary
from inferencesim.results.records.requests import (
    ClassSummary,
    Conservation,
    FleetSummary,
    Held,
    Reason,
    TimeParts,
    ToFinish,
)
from inferencesim.results.records.summary import MalformedTraceRow, Summary, TraceRemark
from inferencesim.results.tasks import completed_work, summarise_tasks, summarise_tools, task_conservation
from inferencesim.results.verdict import held_by, judge
from inferencesim.simulation.failures import outages, replicas_of
from inferencesim.simulation.work_done import achieved
from inferencesim.workload.traces.record import MOST_NAMED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records
    from inferencesim.results.money import ClassCost, PoolAccount
    from inferencesim.scenario.workload import Promise
    from inferencesim.simulation.engine import Result
    from inferencesim.simulation.failures import Outages
    from inferencesim.simulation.marks import Mark
    from inferencesim.simulation.plan import PoolPlan


def summarise(result: Result) -> Summary:
    """Return the summary of a result.

    Statistics are of requests that arrived in the window, whenever they left;
    money, energy and throughput are of the window itself.
    """
    scenario, requests = result.plan.scenario, result.requests
    start, stop = result.window
    pools = accounts(result)
    classes = result.book.classes
    task_classes = result.tasks.names.classes
    ledger = tuple(row for account in pools for row in account.rows(classes, task_classes))
    tools = tool_accounts(result)
    of_tools = tuple(row for account in tools for row in account.rows(task_classes))
    promising = np.array([promises(each.promise) for each in scenario.workload], dtype=np.bool_)
    people, billed = people_rows(result), provider_rows(result)
    whole = total_cost((*ledger, *billed, *of_tools, *people))
    window = Window(from_s=start.at_s, to_s=stop.at_s, end_s=result.end.at_s)
    caches = any(pool.spec.prefix_cache for pool in result.plan.pools)
    policies = policies_of(result.plan)
    held = [held_by(pool) for pool in result.plan.pools]
    down = outages(result.plan)
    verdict = judge(requests, result.book.pools, classes, window.from_s, window.to_s, held)
    each_class = [
        ClassSummary(
            name=name,
            **_statistics(
                requests[requests["class_index"] == index],
                promising,
                window,
                class_cost(name, ledger, billed),
                result.gaps[index],
                caches,
            ),
            to_finish=_to_finish(result, promising, [index]),
        )
        for index, name in enumerate(classes)
    ]
    tasks = summarise_tasks(
        result, window, [task_cost(name, ledger, billed, of_tools, people) for name in task_classes]
    )
    return Summary(
        name=scenario.name,
        variant=scenario.variant,
        question=scenario.question,
        scenario_digest=document_digest(scenario),
        seed=scenario.seed,
        policies=policies,
        oracle=policies.oracle,
        window=window,
        verdict=verdict,
        conservation=_conservation(result.arrived, requests),
        fleet=_fleet(
            _statistics(requests, promising, window, whole, result.gaps.sum(axis=0), caches)
            | {"to_finish": _to_finish(result, promising, range(len(classes)))},
            pools,
            window,
            completed_work(scenario.workload, each_class, tasks),
            total_cost(people).cost_usd,
        ),
        classes=tuple(each_class),
        pools=tuple(_pool(index, account, result, down) for index, account in enumerate(pools)),
        providers=tuple(_provider(index, result, down) for index in range(len(result.plan.providers))),
        break_even=break_evens(result, pools),
        tasks=tasks,
        task_conservation=task_conservation(result.tasks, result.end.tasks_begun),
        tools=tuple(summarise_tools(account, of_tools) for account in tools),
        ledger=(*ledger, *billed, *of_tools, *people),
        intervals=mean_intervals(scenario, requests, window, verdict, classes),
        malformed_trace_rows=len(result.malformed),
        first_malformed_rows=tuple(MalformedTraceRow(**asdict(row)) for row in result.malformed[:MOST_NAMED]),
        trace_notes=tuple(TraceRemark(**asdict(note)) for note in result.trace_notes),
    )


def promises(promise: Promise) -> bool:
    """Tell whether a class promises anything."""
    return any(value is not None for value in promise.model_dump().values())


def _statistics(
    requests: Records,
    promising: NDArray[np.bool_],
    window: Window,
    cost: ClassCost,
    gaps: NDArray[np.float64],
    caches: bool,
) -> dict[str, Any]:
    """Return the fields of :class:`Statistics` for some requests and the gaps between their tokens."""
    arrived_s, left_s = requests["arrived_s"], requests["left_s"]
    of = requests[(arrived_s >= window.from_s) & (arrived_s < window.to_s)]
    outcome = of["outcome"]
    bound = of[promising[of["class_index"]] & (of["promise"] != GIVEN_UP)] if promising.size else of
    verdict = bound["promise"]
    kept = int((verdict == PROMISE_KEPT).sum())
    still_open = int((verdict == PROMISE_OPEN).sum())
    finished = (requests["outcome"] == COMPLETED) & (left_s >= window.from_s) & (left_s < window.to_s)
    completed_in_window = int(finished.sum())
    outside = bool((requests["provider"][finished] >= 0).any())
    reasons = np.bincount(of["reason"][outcome == REJECTED], minlength=len(VERDICTS))
    return {
        "arrived": of.size,
        "completed": int((outcome == COMPLETED).sum()),
        "rejected": int((outcome == REJECTED).sum()),
        "timed_out": int((outcome == TIMED_OUT).sum()),
        "cancelled": int((outcome == CANCELLED).sum()),
        "failed": int((outcome == FAILED).sum()),
        "open": int((outcome == OPEN).sum()),
        "promises_kept": kept,
        "promises_missed": int((verdict == PROMISE_MISSED).sum()),
        "promises_open": still_open,
        "slo_attainment": per(kept, bound.size),
        "open_share": per(still_open, bound.size),
        "queue_time_s": distribution(of["queue_time_s"]),
        "ttft_s": distribution(of["ttft_s"]),
        "tpot_s": distribution(of["tpot_s"]),
        "e2e_s": distribution(of["e2e_s"]),
        "itl_s": gap_distribution(gaps),
        "real_time_factor": distribution(of["e2e_s"][of["media_s"] > 0.0] / of["media_s"][of["media_s"] > 0.0]),
        "time_parts": _time_parts(of[outcome == COMPLETED]),
        "prefix_hit_rate": _hit_rate(requests, window) if caches else None,
        "goodput_per_s": kept / window.length_s if bound.size else None,
        "completed_in_window": completed_in_window,
        "input_tokens_per_s": float(requests["prompt_tokens"][finished].sum(dtype=np.int64)) / window.length_s,
        "output_tokens_per_s": float(requests["generated_tokens"][finished].sum(dtype=np.int64)) / window.length_s,
        "preemptions": int(of["preemptions"].sum(dtype=np.int64)),
        "cost_usd": cost.cost_usd,
        "provider_usd": cost.provider_usd,
        "cost_per_completed_request_usd": per(cost.cost_usd, completed_in_window),
        "energy_j": cost.energy_j,
        "site_energy_j": cost.site_energy_j,
        "energy_per_completed_request_j": None if outside else per(cost.energy_j, completed_in_window),
        "carbon_g": cost.carbon_g,
        "rejections": tuple(
            Reason(reason=VERDICTS[code], requests=int(reasons[code]))
            for code in np.argsort(-reasons, kind="stable")
            if reasons[code]
        ),
        "held": _held(of),
    }


def _held(requests: Records) -> tuple[Held, ...]:
    """Return how many of some requests were held at the gateway, by what ended that."""
    found = []
    for code in np.unique(requests["released"]).tolist():
        if code != NOT_HELD:
            held_s = requests["held_s"][requests["released"] == code]
            found.append(Held(until=RELEASES[code], requests=held_s.size, mean_s=float(held_s.mean(dtype=np.float64))))
    return tuple(found)


def _to_finish(result: Result, promising: NDArray[np.bool_], classes: Sequence[int]) -> ToFinish | None:
    """Return what is left to do of some classes, if anything."""
    left, requests, own = result.unfinished, result.requests, np.array(classes, np.int64)
    if left is None or left.requests[own].sum() == 0:
        return None
    undue = (requests["outcome"] == OPEN) & (requests["promise"] == PROMISE_OPEN)
    bound = undue & promising[requests["class_index"]]
    return ToFinish(
        requests=int(left.requests[own].sum()),
        promises_open=int(np.isin(requests["class_index"][bound], own).sum()),
        prompt_tokens=int(left.prompt_tokens[own].sum()),
        output_tokens=int(left.output_tokens[own].sum()),
        replica_s=math.fsum(left.replica_s[own]),
        cost_usd=math.fsum(left.usd[own]),
    )


def _time_parts(completed: Records) -> TimeParts:
    """Return where the time of some requests went, on average."""
    return TimeParts(**{name: per(float(completed[name].sum(dtype=np.float64)), completed.size) for name in TIME_PARTS})


def _hit_rate(requests: Records, window: Window) -> float | None:
    """Return the share of prompt tokens that was found in caches, of requests first admitted in the window."""
    admitted_s = requests["arrived_s"] + requests["queue_time_s"]
    of = requests[(admitted_s >= window.from_s) & (admitted_s < window.to_s)]
    return per(float(of["cached_tokens"].sum(dtype=np.int64)), float(of["prompt_tokens"].sum(dtype=np.int64)))


def _fleet(
    statistics: dict[str, Any], pools: Sequence[PoolAccount], window: Window, completed_tasks: int, people_usd: float
) -> FleetSummary:
    replicas = sum(account.pool.replicas for account in pools)
    idle = math.fsum(account.idle_usd + account.energy_usd(account.idle_j) for account in pools)
    output_tokens = statistics["output_tokens_per_s"] * window.length_s
    tokens = output_tokens + statistics["input_tokens_per_s"] * window.length_s
    tokens_usd = statistics["cost_usd"] - people_usd
    return FleetSummary(
        **statistics,
        replicas=replicas,
        chips=sum(account.pool.replicas * account.pool.deployment.chips for account in pools),
        utilisation=math.fsum(account.busy_s for account in pools) / (replicas * window.length_s),
        idle_share=per(idle, statistics["cost_usd"]),
        usd_per_million_output_tokens=per(tokens_usd * 1e6, output_tokens),
        usd_per_million_tokens=per(tokens_usd * 1e6, tokens),
        completed_tasks_in_window=completed_tasks,
        cost_per_completed_task_usd=per(statistics["cost_usd"], completed_tasks),
        energy_per_completed_task_j=(
            None
            if statistics["energy_per_completed_request_j"] is None
            else per(statistics["energy_j"], completed_tasks)
        ),
    )


def _pool(index: int, account: PoolAccount, result: Result, down: Outages) -> PoolSummary:
    pool, (start, stop) = account.pool, result.window
    requests = result.requests
    placed = requests[requests["pool"] == index]
    sent = requests[requests["prefill_pool"] == index]
    utilisation = account.busy_s / (pool.replicas * (stop.at_s - start.at_s))
    samples = result.samples

    def since(counter: str) -> int:
        return int(getattr(stop, counter)[index] - getattr(start, counter)[index])

    mfu, mbu = _achieved(pool, index, start, stop)
    seconds = stop.at_s - start.at_s
    down_s = down.down_s(replicas_of(result.plan)[index], start.at_s, stop.at_s)
    deployment = pool.deployment
    joules = account.joules
    owned, energy = account.busy_usd + account.idle_usd, account.energy_usd(account.busy_j + account.idle_j)
    egress_usd = float(account.egress_usd.sum())
    return PoolSummary(
        name=pool.name,
        hardware=deployment.hardware.id,
        model=deployment.model.id,
        precision=deployment.precision.in_words,
        site=pool.site.id,
        expected_error=deployment.expected_error,
        replicas=pool.replicas,
        chips=pool.replicas * deployment.chips,
        arrived=sum(int(_within(each["arrived_s"] + each["held_s"], start, stop).sum()) for each in (placed, sent)),
        completed=int((_within(placed["left_s"], start, stop) & (placed["outcome"] == COMPLETED)).sum()),
        handed_over=since("handed_over"),
        preemptions=since("preemptions"),
        output_tokens_per_s=since("output_tokens") / seconds,
        utilisation=utilisation,
        availability=1.0 - down_s / (pool.replicas * seconds),
        batch=per(float(samples.running[index]) / pool.replicas, samples.taken),
        kv_usage=per(float(samples.kv_usage[index]), samples.taken),
        prefix_hit_rate=per(since("cached_tokens"), since("prompt_tokens")) if pool.spec.prefix_cache else None,
        mfu=mfu,
        mbu=mbu,
        mfu_wall=None if mfu is None else mfu * utilisation,
        mbu_wall=None if mbu is None else mbu * utilisation,
        power_w=joules / seconds,
        owned_usd=owned,
        busy_usd=account.busy_usd,
        idle_usd=account.idle_usd,
        energy_usd=energy,
        egress_usd=egress_usd,
        cost_usd=owned + energy + egress_usd,
        price_includes_power=deployment.price_includes_power,
        energy_j=joules,
        site_energy_j=joules * pool.pue,
        carbon_g=account.carbon_g(joules),
    )


def _provider(index: int, result: Result, down: Outages) -> ProviderSummary:
    provider, (start, stop), (earlier, later) = result.plan.providers[index], result.window, result.bills
    sent = result.requests[result.requests["provider"] == index]

    def billed(what: str) -> int:
        return int((getattr(later, what) - getattr(earlier, what))[index].sum())

    cost = float((later.usd - earlier.usd)[index].sum())
    prompt, output = billed("prompt_tokens"), billed("output_tokens")
    number = result.plan.replicas + index
    down_s = down.down_s(range(number, number + 1), start.at_s, stop.at_s)
    return ProviderSummary(
        name=provider.name,
        offer=None if provider.offer is None else provider.offer.id,
        model=provider.model.id,
        precision=provider.spec.precision,
        site=provider.site.id,
        tier=provider.spec.tier,
        arrived=int(_within(sent["arrived_s"] + sent["held_s"], start, stop).sum()),
        completed=int((_within(sent["left_s"], start, stop) & (sent["outcome"] == COMPLETED)).sum()),
        availability=1.0 - down_s / (stop.at_s - start.at_s),
        rate_limited=int(stop.rate_limited[index] - start.rate_limited[index]),
        prompt_tokens=prompt,
        cached_tokens=billed("cached_tokens"),
        output_tokens=output,
        cost_usd=cost,
        usd_per_million_tokens=per(cost * 1e6, prompt + output),
    )


def _achieved(pool: PoolPlan, index: int, start: Mark, stop: Mark) -> tuple[float | None, float | None]:
    """Return MFU and MBU of a pool between two moments."""
    counts = (stop.counts[index] - start.counts[index])[None, :]
    ((mfu, mbu),) = achieved(pool, counts, np.array([stop.counted_s[index] - start.counted_s[index]])).tolist()
    return (None if math.isnan(mfu) else mfu), (None if math.isnan(mbu) else mbu)


def _within(times_s: NDArray[np.float64], start: Mark, stop: Mark) -> NDArray[np.bool_]:
    return (times_s >= start.at_s) & (times_s < stop.at_s)


def _conservation(arrived: int, requests: Records) -> Conservation:
    counts = np.bincount(requests["outcome"], minlength=len(OUTCOMES))
    return Conservation(
        arrived=arrived,
        completed=int(counts[COMPLETED]),
        rejected=int(counts[REJECTED]),
        timed_out=int(counts[TIMED_OUT]),
        cancelled=int(counts[CANCELLED]),
        failed=int(counts[FAILED]),
        open=int(counts[OPEN]),
    )
