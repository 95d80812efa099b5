"""Owned chips against tokens bought: at which utilisation a pool costs what a provider would bill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.kernel.tables import COMPLETED
from inferencesim.results.distributions import per
from inferencesim.results.records.capacity import BreakEven

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.results.money import PoolAccount
    from inferencesim.simulation.engine import Result
    from inferencesim.simulation.providers import ProviderPlan


def break_evens(result: Result, accounts: Sequence[PoolAccount]) -> tuple[BreakEven, ...]:
    """Compare every pool with every provider of its model.

    A pool that prefills for another, or has its prompts prefilled elsewhere,
    is left out: its tokens are not its own work alone.
    """
    specs = [account.pool.spec for account in accounts]
    helpers = {spec.prefill_in.pool for spec in specs if spec.prefill_in is not None}
    return tuple(
        _against(result, index, account, provider)
        for index, account in enumerate(accounts)
        if specs[index].prefill_in is None and account.pool.name not in helpers
        for provider in result.plan.providers
        if provider.model.id in {variant.model.id for variant in account.pool.variants}
    )


def _against(result: Result, index: int, account: PoolAccount, provider: ProviderPlan) -> BreakEven:
    requests, (start, stop) = result.requests, result.window
    left_s = requests["left_s"]
    finished = (requests["pool"] == index) & (requests["outcome"] == COMPLETED)
    done = requests[finished & (left_s >= start.at_s) & (left_s < stop.at_s)]
    prompt, output = int(done["prompt_tokens"].sum(dtype="int64")), int(done["generated_tokens"].sum(dtype="int64"))
    replica_s = account.busy_s + account.idle_s
    utilisation = account.busy_s / replica_s
    # What is paid whatever the pool does, and what its work adds.
    usd_per_j = account.pool.chip_tariff.mean_between(start.at_s, stop.at_s)
    fixed_usd = account.busy_usd + account.idle_usd
    fixed_usd += replica_s * account.pool.deployment.idle_w * usd_per_j
    owned_usd = account.busy_usd + account.idle_usd + account.energy_usd(account.busy_j + account.idle_j)
    billed_usd = prompt * provider.usd_per_prompt_token + output * provider.usd_per_output_token
    saved_usd = billed_usd - (owned_usd - fixed_usd)
    return BreakEven(
        pool=account.pool.name,
        provider=provider.name,
        utilisation=utilisation,
        pool_usd_per_million_tokens=per(owned_usd * 1e6, prompt + output),
        provider_usd_per_million_tokens=per(billed_usd * 1e6, prompt + output),
        break_even_utilisation=utilisation * fixed_usd / saved_usd if saved_usd > 0.0 else None,
    )
