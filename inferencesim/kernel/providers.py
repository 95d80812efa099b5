"""Requests at outside providers: their limits, their answers, and what they have in flight.

A provider grants requests and tokens per minute. Both are token buckets that
refill continuously and hold one minute's worth. A request takes one request and
its prompt + predicted output from them; once it has left, the difference to the
tokens it really took is settled, as providers do that reserve by an estimate.
The gateway keeps the same count and does not send what would come back as 429.

How fast a provider answers is drawn by the request's own key, so that every
policy meets the same draws: seconds until the first token, and the rate of the
others after it. A request that leaves early has what was made by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.jit import inner, inner_inlined
from inferencesim.kernel.blocks import key_of
from inferencesim.kernel.gaps import record_provided
from inferencesim.kernel.heap import add_timer
from inferencesim.kernel.prefix import find, put
from inferencesim.kernel.tables import OUTSIDE, PROVIDED
from inferencesim.kernel.views import mix

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Fleet

#: Columns of the draws of a provider: seconds until the first token, tokens per second after it.
TTFT, RATE = range(2)

#: Providers cache prompts in blocks of so many tokens, those of at least so many blocks (OpenAI: 128 and 1,024 tokens).
CACHED_BLOCK = 128
LEAST_BLOCKS = 8

#: Salts of a request's draws, apart from those of routing.
_SALT = 1_000_003

#: Share of a bucket below which its rounding is forgiven.
_ROUNDING = 1e-9


@inner_inlined
def provider_load(fleet: Fleet, provider: int) -> int:
    """Return the row of a provider among the loads of placement's candidates."""
    return int(fleet.pools.size + provider)


@inner_inlined
def _refilled(level: float, per_minute: float, seconds: float) -> float:
    return min(per_minute, level + seconds * per_minute / 60.0)


@inner
def is_within_limits(fleet: Fleet, provider: int, tokens: float, now: float) -> bool:
    """Tell whether a provider takes one more request of so many tokens now; else it would answer 429."""
    p = fleet.providers[provider]
    seconds = now - p["refilled_s"]
    for_requests, for_tokens = p["requests_per_minute"], p["tokens_per_minute"]
    if for_requests < np.inf:
        level = _refilled(p["request_level"], for_requests, seconds)
        if level + _ROUNDING * for_requests < 1.0:
            return False
    if for_tokens < np.inf:
        level = _refilled(p["token_level"], for_tokens, seconds)
        if level + _ROUNDING * for_tokens < tokens:
            return False
    return True


@inner
def _take(fleet: Fleet, provider: int, requests: float, tokens: float, now: float) -> None:
    """Take from a provider's buckets, or give back what is negative; they hold no more than a minute's worth."""
    p = fleet.providers[provider]
    seconds = now - p["refilled_s"]
    p["refilled_s"] = now
    for_requests, for_tokens = p["requests_per_minute"], p["tokens_per_minute"]
    if for_requests < np.inf:
        p["request_level"] = _refilled(p["request_level"], for_requests, seconds) - requests
    if for_tokens < np.inf:
        level = _refilled(p["token_level"], for_tokens, seconds)
        p["token_level"] = min(for_tokens, level - tokens)


@inner_inlined
def reserved_tokens(prompt_tokens: int, predicted_tokens: float) -> int:
    """Return the tokens a request is taken for when it is sent: its prompt and the predicted output."""
    return int(prompt_tokens + max(1, int(predicted_tokens)))


@inner_inlined
def _draw(fleet: Fleet, provider: int, key: int, which: int) -> float:
    """Return the request's own draw of a provider's TTFT or rate, from a table of quantiles."""
    share = mix(key, _SALT + 2 * provider + which) / 2147483648.0
    return float(fleet.provider_draws[provider, which, int(share * fleet.provider_draws.shape[2])])


@inner_inlined
def _count_in_flight(fleet: Fleet, provider: int, requests: int, tokens: int) -> None:
    load = fleet.live_pools[provider_load(fleet, provider)]
    load["running"] += requests
    load["context_tokens"] += tokens
    load["kv_usage"] = load["running"] / fleet.providers[provider]["seats"]


@inner
def send_outside(fleet: Fleet, slot: int, provider: int, now: float) -> None:
    """Send a request to a provider whose limits allow it."""
    s, p = fleet.slots[slot], fleet.providers[provider]
    reserved = reserved_tokens(s["prompt_tokens"], s["predicted_tokens"])
    _take(fleet, provider, 1.0, float(reserved), now)
    _count_in_flight(fleet, provider, 1, reserved)
    p["arrived"] += 1
    s["phase"] = OUTSIDE
    s["first_due_s"] = now + s["network_s"] + _draw(fleet, provider, s["key"], TTFT)
    s["token_s"] = 1.0 / _draw(fleet, provider, s["key"], RATE)
    if p["prompt_cache"]:
        _read_cache(fleet, slot, provider)
    end_s = s["first_due_s"] + (s["output_tokens"] - 1) * s["token_s"]
    add_timer(fleet, end_s, PROVIDED, s["request_id"], slot)


@inner_inlined
def _is_cached(fleet: Fleet, s: Any, cache: int, position: int) -> bool:
    return bool(find(fleet.caches, cache, key_of(fleet, s, position, CACHED_BLOCK)) >= 0)


@inner
def _read_cache(fleet: Fleet, slot: int, provider: int) -> None:
    """Look a prompt up in a provider's prompt cache, and enter its full blocks."""
    s = fleet.slots[slot]
    cache = fleet.replicas.size * (1 + fleet.tiers.shape[1]) + provider
    blocks = s["prompt_tokens"] // CACHED_BLOCK
    if blocks < LEAST_BLOCKS:
        return
    found = 0
    # The last token is always read: its answer begins there.
    while found < (s["prompt_tokens"] - 1) // CACHED_BLOCK and _is_cached(fleet, s, cache, found):
        found += 1
    if found >= LEAST_BLOCKS:
        s["cached_tokens"] = found * CACHED_BLOCK
    # The deepest first: what is evicted next is the end of a prompt, not its beginning.
    for position in range(blocks - 1, -1, -1):
        put(fleet.caches, cache, key_of(fleet, s, position, CACHED_BLOCK))


@inner
def book_answer(s: Any, now: float) -> None:
    """Book what a provider has made of a request's answer by now: its tokens and where the time went.

    All until its first token counts as prefill, for a provider does not say how long it let a request wait; what was
    waited at the gateway is booked already.
    """
    placed_s = s["arrived_s"] + s["waiting_s"]
    s["prefill_s"] = now - placed_s
    if s["first_due_s"] > now:
        return
    s["first_token_s"] = s["first_due_s"]
    s["prefill_s"] = s["first_due_s"] - s["network_s"] - placed_s
    s["decode_s"] = now - s["first_due_s"]
    made = s["output_tokens"]
    if s["token_s"] > 0.0:
        made = min(made, 1 + int((now - s["first_due_s"]) / s["token_s"]))
    s["generated_tokens"] = made


@inner
def end_outside(fleet: Fleet, slot: int, completed: bool, now: float) -> None:
    """End a request at its provider: book the answer, settle its tokens."""
    s = fleet.slots[slot]
    provider = s["provider"]
    book_answer(s, now)
    if completed:
        # Its last token falls on this instant, whatever a division rounds to.
        s["generated_tokens"] = s["output_tokens"]
        fleet.providers[provider]["completed"] += 1
    record_provided(fleet, s["class_index"], s["generated_tokens"] - 1, s["token_s"])
    reserved = reserved_tokens(s["prompt_tokens"], s["predicted_tokens"])
    used = s["prompt_tokens"] + s["generated_tokens"]
    _take(fleet, provider, 0.0, float(used - reserved), now)
    _count_in_flight(fleet, provider, -1, -reserved)
