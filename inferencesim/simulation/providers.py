"""Outside providers: from names to things, and their rows in the kernel's tables."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.economics.offers import load_offer, price_of, tier_facts
from inferencesim.economics.sites import load_site
from inferencesim.kernel.providers import CACHED_BLOCK
from inferencesim.kernel.tables import (
    ELIGIBLE,
    MODEL_NOT_SERVED,
    NOT_CAPABLE,
    OUTSIDE_RESIDENCY,
    PRECISION_TOO_LOW,
    PROVIDER,
    PROVIDER_REFUSED,
)
from inferencesim.kernel.views import TRAITS
from inferencesim.models.catalog import load_model
from inferencesim.scenario.providers import Price
from inferencesim.scenario.workload import CAPABILITY, PRECISION_ORDER
from inferencesim.workload.lengths import quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.economics.offers import Offer
    from inferencesim.economics.sites import Site
    from inferencesim.kernel.tables import Floats, Records
    from inferencesim.models.spec import ModelSpec
    from inferencesim.scenario.lengths import Lengths
    from inferencesim.scenario.providers import Provider
    from inferencesim.scenario.workload import WorkloadClass

#: Equally likely answers a provider's draws are taken from.
DRAWS = 4096

#: Requests in flight that routers take a provider without limits to have room for.
NOTIONAL_IN_FLIGHT = 1000.0

#: Tokens of KV a router takes a provider to have per request in flight: so many that it never looks short of them.
_ROOMY_TOKENS = 2**40

#: Slowest a distribution of another package can make a provider: a token in so many seconds.
_SLOWEST_TOKEN_S = 3600.0


@dataclass(frozen=True)
class ProviderPlan:
    """A provider with everything its names stand for.

    Attributes
    ----------
    spec : Provider
    model : ModelSpec
        The model of ours that it answers for.
    site : Site
    offer : Offer or None
        Where the price is from; None where the scenario says it.
    price : Price
        Of its tier.
    ttft : distribution of times
    tokens_per_second : distribution of rates or None
        None where an answer comes as a whole.
    """

    spec: Provider
    model: ModelSpec
    site: Site
    offer: Offer | None
    price: Price
    ttft: Lengths
    tokens_per_second: Lengths | None

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.spec.name

    @property
    def context_limit(self) -> int:
        """Longest prompt + output."""
        stated = self.spec.context_limit
        return self.model.max_context if stated is None else min(stated, self.model.max_context)

    @property
    def usd_per_prompt_token(self) -> float:
        """Price of a prompt token that is in no cache; with a prompt cache it is written there."""
        writes = self.spec.prompt_cache is not None and self.price.cache_write is not None
        return float(self.price.cache_write if writes else self.price.input)  # type: ignore[arg-type]  # checked

    @property
    def usd_per_cached_token(self) -> float:
        """Price of a prompt token found in the prompt cache."""
        return float(self.price.input if self.price.cached_input is None else self.price.cached_input)

    @property
    def usd_per_output_token(self) -> float:
        """Price of a generated token."""
        return float(self.price.output)

    @property
    def answers_whole(self) -> bool:
        """Whether an answer comes as a whole, and only such a one is paid for."""
        return self.spec.tier == "batch"

    @functools.cached_property
    def draws(self) -> NDArray[np.float64]:
        """Equally likely TTFT in seconds, and tokens per second after it, in ascending order, shape (2, DRAWS)."""
        shares = (np.arange(DRAWS) + 0.5) / DRAWS
        ttft_s = np.maximum(quantiles(self.ttft, shares, f"{self.name}.ttft"), 0.0)
        if self.tokens_per_second is None:
            return np.stack([ttft_s, np.full(DRAWS, math.inf)])
        rates = quantiles(self.tokens_per_second, shares, f"{self.name}.tokens_per_second")
        return np.stack([ttft_s, np.maximum(rates, 1.0 / _SLOWEST_TOKEN_S)])


def plan_provider(spec: Provider, where: str) -> ProviderPlan:
    """Resolve the names of a provider.

    Raises
    ------
    InputError
        For the first name that does not exist, or a tier the offer does not list.
    """
    facts = tier_facts(spec.tier)
    offer = None if spec.offer is None else load_offer(spec.offer, f"{where}.offer")
    if offer is not None:
        price = price_of(offer, spec.tier, f"{where}.tier")
    else:
        listed = spec.price.model_dump(exclude_none=True) if spec.price is not None else {}
        price = Price.model_validate({name: usd * facts.price_factor.si for name, usd in listed.items()})
    return ProviderPlan(
        spec=spec,
        model=load_model(spec.model, f"{where}.model"),
        site=load_site(spec.site, f"{where}.site"),
        offer=offer,
        price=price,
        ttft=facts.ttft if spec.ttft is None else spec.ttft,
        tokens_per_second=facts.tokens_per_second if spec.tokens_per_second is None else spec.tokens_per_second,
    )


def provider_verdict(each: WorkloadClass, provider: ProviderPlan) -> int:
    """Return the verdict code of the constraints that depend on class and provider only."""
    if provider.model.id not in each.accepted_models:
        return MODEL_NOT_SERVED
    if CAPABILITY[each.kind] not in provider.model.capabilities:
        return NOT_CAPABLE
    if each.providers == "refused":
        return PROVIDER_REFUSED
    if each.precision is not None:
        known = provider.spec.precision
        if known is None or PRECISION_ORDER.index(known) < PRECISION_ORDER.index(each.precision):
            return PRECISION_TOO_LOW
    if each.residency is not None and provider.site.zone not in each.residency:
        return OUTSIDE_RESIDENCY
    return ELIGIBLE


def provider_table(traits: Records, providers: Sequence[ProviderPlan]) -> Records:
    """Return the kernel's table of providers at rest, their buckets full; `traits` are those of the same providers."""
    table = np.zeros(len(providers), PROVIDER)
    for row, trait, each in zip(table, traits, providers, strict=True):
        limits = each.spec.limits
        row["requests_per_minute"] = math.inf if limits.requests_per_minute is None else limits.requests_per_minute
        row["tokens_per_minute"] = math.inf if limits.tokens_per_minute is None else limits.tokens_per_minute
        row["context_limit"] = each.context_limit
        row["prompt_cache"] = each.spec.prompt_cache is not None
        row["seats"] = trait["seats"]
        row["up"] = 1
    table["request_level"] = table["requests_per_minute"]
    table["token_level"] = table["tokens_per_minute"]
    return table


def provider_draws(providers: Sequence[ProviderPlan]) -> Floats:
    """Return the draws of all providers, shape (providers, 2, DRAWS)."""
    return np.array([each.draws for each in providers], dtype=np.float64).reshape(len(providers), 2, DRAWS)


def prompt_cache_blocks(provider: ProviderPlan) -> int:
    """Return the blocks of a provider's prompt cache; 0 without one."""
    return 0 if provider.spec.prompt_cache is None else provider.spec.prompt_cache // CACHED_BLOCK


def fill_traits(row: Records, provider: ProviderPlan, identity: int, prompt: float, output: float) -> None:
    """Fill in the TRAITS of a provider, given the mean lengths of the requests it may be sent.

    Its target rate is the lower of its limits; without any, that at which
    :data:`NOTIONAL_IN_FLIGHT` requests are in flight. By Little's law the rate
    times the mean E2E is the room it is taken to have.
    """
    limits = provider.spec.limits
    ttft_s, rates = provider.draws
    tpot_s = float(np.mean(1.0 / rates))
    e2e_s = float(ttft_s.mean()) + (output - 1.0) * tpot_s
    limited = []
    if limits.requests_per_minute is not None:
        limited.append(limits.requests_per_minute / 60.0)
    if limits.tokens_per_minute is not None:
        limited.append(limits.tokens_per_minute / 60.0 / (prompt + output))
    rate = min(limited, default=NOTIONAL_IN_FLIGHT / max(e2e_s, 1e-9))
    seats = max(1, round(rate * e2e_s))
    usd = prompt * provider.usd_per_prompt_token + output * provider.usd_per_output_token
    values = {
        "identity": identity,
        "deployment": 0,
        "replicas": 1,
        "seats": seats,
        "token_budget": 1,
        "kv_tokens": _ROOMY_TOKENS,
        "mean_prompt_tokens": prompt,
        "mean_output_tokens": output,
        "target_rate": rate,
        "speed": 1.0 / tpot_s if tpot_s > 0.0 else output / max(e2e_s, 1e-9),
        "usd_per_s": usd * rate,
        "interactive_ttft_s": math.inf,  # however much is sent there, nobody else waits longer
        "interactive_tpot_s": math.inf,
        "site_w": 0.0,  # nobody says
        "usd_per_j": provider.site.electricity_usd_per_kwh.si,
        "carbon_g_per_j": provider.site.carbon_g_per_kwh.si,
        "outside": 1,
        "ttft_s": float(ttft_s.mean()),
        "tpot_s": tpot_s,
        "usd_per_prompt_token": provider.usd_per_prompt_token,
        "usd_per_output_token": provider.usd_per_output_token,
    }
    assert set(values) == set(TRAITS.names or ())
    for name, value in values.items():
        row[name] = value
