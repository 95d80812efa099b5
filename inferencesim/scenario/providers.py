"""Outside providers: capacity bought per token, with price, limits and latencies of its own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from inferencesim.scenario.base import Part, PricePerToken, Tokens, WholeTokens
from inferencesim.scenario.fleet import PrecisionName
from inferencesim.scenario.lengths import RateLengths, TimeLengths
from inferencesim.scenario.unions import refuse

#: How fast and at what price a provider serves; ``batch`` answers as a whole, within a day.
Tier = Literal["standard", "priority", "flex", "batch"]

#: Fewest tokens of a prompt cache: no shorter prompt is cached.
LEAST_PROMPT_CACHE = 1024


class Price(Part):
    """List prices of the standard tier, US dollars per token; other tiers multiply them.

    Attributes
    ----------
    input, output : float
        Of a prompt token, and of one generated.
    cached_input : float or None
        Of a prompt token found in the provider's prompt cache; None is no discount.
    cache_write : float or None
        Of a prompt token written to that cache; None is as `input`.
    """

    input: PricePerToken
    output: PricePerToken
    cached_input: PricePerToken | None = None
    cache_write: PricePerToken | None = None


class Limits(Part):
    """What one customer may send; beyond it the provider answers 429. None is no limit."""

    requests_per_minute: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    tokens_per_minute: Tokens | None = None


class Provider(Part):
    """A model behind somebody else's API.

    Attributes
    ----------
    name : str
    offer : str or None
        A dated list price shipped with this package, as in ``openai/gpt-4.1-mini``; `price` says it instead.
    model : str
        The model of ours that it answers for.
    precision : str or None
        What it runs in; None is unknown, so that a class that asks for a precision does not go there.
    site : str
        Where it computes, for residency.
    tier : str
    limits : Limits
    ttft : distribution of times or None
        Until the first token, with queue and network of the provider; of tier ``batch`` until the whole answer.
        None is what the shipped tier says.
    tokens_per_second : distribution of rates or None
        At which the tokens after the first one come; None likewise.
    context_limit : int or None
        Longest prompt + output; None is the model's.
    prompt_cache : int or None
        Tokens of prompts that the provider keeps for prompts that begin alike; None is no cache.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_\-]*$")]
    offer: Annotated[str, Field(min_length=1)] | None = None
    price: Price | None = None
    model: str
    precision: PrecisionName | None = None
    site: str = "us-east-virginia"
    tier: Tier = "standard"
    limits: Limits = Limits()
    ttft: TimeLengths | None = None
    tokens_per_second: RateLengths | None = None
    context_limit: WholeTokens | None = None
    prompt_cache: Annotated[WholeTokens, Field(ge=LEAST_PROMPT_CACHE)] | None = None

    @model_validator(mode="after")
    def _one_price(self) -> Provider:
        if (self.offer is None) == (self.price is None):
            refuse("write either offer, a shipped list price, or price: {input: $0.4/Mtok, output: $1.6/Mtok}")
        if self.tier == "batch" and self.tokens_per_second is not None:
            refuse("tier batch answers as a whole, ttft after it was asked: remove tokens_per_second")
        return self
