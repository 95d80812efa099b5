"""What served: pools, providers, and the nodes that run tools."""

from __future__ import annotations

from inferencesim.results.records.base import Record


class PoolSummary(Record):
    """One pool in the window.

    Attributes
    ----------
    name, hardware, model, precision, site : str
    expected_error : str
        What is known about the error of its TPOT: that of a calibration on measurements it had not seen, or that
        nothing was fitted.
    replicas, chips : int
        `chips` of all replicas together.
    arrived, completed : int
        Requests placed or sent here, and finished here, within the window.
    handed_over : int
        Requests prefilled here in the window, to be decoded in another pool.
    preemptions : int
        In the window.
    output_tokens_per_s : float
        Tokens made here within the window, those of requests that did not finish included.
    utilisation : float
        Busy share of its replicas' time.
    availability : float
        Share of its replicas' time in which they were up.
    batch, kv_usage : float or None
        Requests running per replica, and the share of its KV blocks that requests hold: means over the samples of the
        series in the window, null without one.
    prefix_hit_rate : float or None
        Prompt tokens found in a cache here / prompt tokens, of requests first admitted here in the window; null
        without a prefix cache.
    mfu, mbu : float or None
        FLOPs and bytes per second of busy time over the peaks of its chips; null where nothing ran, and where models
        take turns.
    mfu_wall, mbu_wall : float or None
        The same over the whole window: × utilisation.
    power_w : float
        Mean power of the machines.
    owned_usd : float
        Price of all replicas for the whole window: busy_usd + idle_usd.
    energy_usd : float
        Price of the electricity; 0 where the hourly price includes it.
    egress_usd : float
        Price of the answers' way out of its site.
    cost_usd : float
        owned_usd + energy_usd + egress_usd.
    price_includes_power : bool
    energy_j, site_energy_j, carbon_g : float
        Joules of the machines, those × PUE, and grams of CO2 equivalent of the latter.
    """

    name: str
    hardware: str
    model: str
    precision: str
    site: str
    expected_error: str
    replicas: int
    chips: int
    arrived: int
    completed: int
    handed_over: int
    preemptions: int
    output_tokens_per_s: float
    utilisation: float
    availability: float
    batch: float | None
    kv_usage: float | None
    prefix_hit_rate: float | None
    mfu: float | None
    mbu: float | None
    mfu_wall: float | None
    mbu_wall: float | None
    power_w: float
    owned_usd: float
    busy_usd: float
    idle_usd: float
    energy_usd: float
    egress_usd: float
    cost_usd: float
    price_includes_power: bool
    energy_j: float
    site_energy_j: float
    carbon_g: float


class ProviderSummary(Record):
    """One outside provider in the window.

    Attributes
    ----------
    name, model, site, tier : str
    offer : str or None
        The shipped list price; null where the scenario states its own.
    precision : str or None
        Null where it is unknown.
    arrived, completed : int
        Requests sent there, and answered there, within the window.
    availability : float
        Share of the window in which it answered.
    rate_limited : int
        Requests that its limits ruled it out for, each of which would have met a 429; sent elsewhere, or rejected.
    prompt_tokens, cached_tokens, output_tokens : int
        Billed in the window: sent, of them found in its prompt cache, and made.
    cost_usd : float
    usd_per_million_tokens : float or None
        cost_usd over prompt and output tokens.
    energy_j, carbon_g : None
        Unknown: no provider says.
    """

    name: str
    offer: str | None
    model: str
    precision: str | None
    site: str
    tier: str
    arrived: int
    completed: int
    availability: float
    rate_limited: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: float
    usd_per_million_tokens: float | None
    energy_j: None = None
    carbon_g: None = None


class BreakEven(Record):
    """One owned pool against one provider of its model, for the tokens that the pool completed in the window.

    Attributes
    ----------
    pool, provider : str
    utilisation : float
        Of the pool, as measured.
    pool_usd_per_million_tokens : float or None
        All that the pool cost over prompt and output tokens completed there; null without any.
    provider_usd_per_million_tokens : float or None
        What the provider would bill for the very same tokens, none of them cached; null likewise.
    break_even_utilisation : float or None
        At which both are equal if tokens grow in proportion to utilisation; above 1, not even a pool that is always
        busy gets there. Null without tokens, or where a token's electricity alone costs more.
    """

    pool: str
    provider: str
    utilisation: float
    pool_usd_per_million_tokens: float | None
    provider_usd_per_million_tokens: float | None
    break_even_utilisation: float | None


class ToolsSummary(Record):
    """One pool of tools in the window.

    Attributes
    ----------
    name, hardware, site : str
    nodes, cores : int
        `cores` of all nodes.
    utilisation : float
        Busy share of its cores' time.
    power_w : float
        Mean power of the nodes.
    busy_usd, idle_usd, energy_usd, cost_usd : float
        Price of the nodes by the share of their cores' time, of the electricity where the price excludes it, and
        their sum.
    energy_j, site_energy_j, carbon_g : float
    """

    name: str
    hardware: str
    site: str
    nodes: int
    cores: int
    utilisation: float
    power_w: float
    busy_usd: float
    idle_usd: float
    energy_usd: float
    cost_usd: float
    energy_j: float
    site_energy_j: float
    carbon_g: float
