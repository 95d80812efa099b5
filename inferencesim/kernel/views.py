"""What a policy sees: the request, and the candidates it may choose from.

Both are tuples of plain numbers and arrays, the same for compiled and for plain
Python policies. At the upper level (placement) the candidates are pools and then
outside providers, at the lower (balancing) the replicas of the chosen pool, so one
policy serves both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inferencesim.jit import inlined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.deployment.latency import LatencyModels
    from inferencesim.kernel.tables import Records

_MASK = 0x7FFFFFFF


class Request(NamedTuple):
    """A request as the router knows it; its output length is not among that."""

    class_index: int
    prompt_tokens: int
    expected_output_tokens: float  #: the mean of its class
    session: int  #: −1: none
    now_s: float
    ttft_s: float  #: promised, infinite if nothing is
    tpot_s: float
    e2e_s: float
    sensitivity: int  #: to latency: INTERACTIVE, STANDARD or RELAXED
    key: int  #: 31 random bits of this request's own


#: What does not change during a run, per candidate.
TRAITS = np.dtype(
    [
        ("identity", np.int64),  # unique among all pools, replicas and providers of the fleet
        ("deployment", np.int64),  # row of the latency models
        ("replicas", np.int64),  # engine instances behind the candidate
        ("seats", np.int64),  # sequences one of them runs together at most
        ("token_budget", np.int64),  # tokens per step of one of them
        ("kv_tokens", np.int64),  # KV capacity of one of them
        ("mean_prompt_tokens", np.float64),  # of the requests it may be given
        ("mean_output_tokens", np.float64),
        ("target_rate", np.float64),  # requests per second that all of them complete when saturated
        ("speed", np.float64),  # output tokens per second of a lone request
        ("usd_per_s", np.float64),  # price of one of them, with power at its mean where that is paid apart
        ("interactive_ttft_s", np.float64),  # the tightest promise of interactive work that it can keep, infinite: none
        ("interactive_tpot_s", np.float64),
        ("site_w", np.float64),  # of one of them at mean power, with the overhead of its site; 0 of a provider: unknown
        ("usd_per_j", np.float64),  # the tariff of its site
        ("carbon_g_per_j", np.float64),  # of its site's grid
        # Of an outside provider, which is one replica with room for as many as its limits let be in flight:
        ("outside", np.int64),  # 1: it is one; 0 of pools and replicas, to which nothing below applies
        ("ttft_s", np.float64),  # means
        ("tpot_s", np.float64),
        ("usd_per_prompt_token", np.float64),
        ("usd_per_output_token", np.float64),
    ]
)


#: What the prefix cache of a candidate holds, for policies that read it; of a pool, that of the replica with the most.
CACHED = np.dtype(
    [
        ("found_tokens", np.int64),  # of this request's prompt, from its beginning, on the device or in a tier
        ("kept_tokens", np.int64),  # on the device, of running requests and of earlier ones
    ]
)


class Candidates(NamedTuple):
    """Where a request may go: entry `i` of each table describes candidate `i`."""

    eligible: NDArray[np.uint8]  #: 1 if no filter rejected it
    load: Records  #: LOAD: ``load[i]["waiting"]`` …
    traits: Records  #: TRAITS
    cached: Records  #: CACHED, for policies that read caches; of no meaning to others
    network_s: NDArray[np.float64]  #: of a round trip between the request's user and the candidate
    latency: LatencyModels  #: step times, by ``traits[i]["deployment"]``


@inlined
def mix(value: int, salt: int) -> int:
    """Scramble an integer with a salt into 31 bits (two multiply-xorshift rounds, exact in 64-bit arithmetic)."""
    h = (value ^ (salt * 0x1E3779B1)) & _MASK
    h ^= h >> 15
    h = (h * 0x2C1B3C6D) & _MASK
    h ^= h >> 12
    h = (h * 0x297A2D39) & _MASK
    return h ^ (h >> 15)


@inlined
def uniform(request: Request, draw: int) -> float:
    """Return the request's own random number `draw`, in [0, 1)."""
    return mix(request.key, draw + 1) / 2147483648.0


@inlined
def inside_pool(request: Request, pool: int) -> Request:
    """Return the request as the balancing of a pool sees it: with random numbers that placement has not used."""
    return Request(
        request.class_index,
        request.prompt_tokens,
        request.expected_output_tokens,
        request.session,
        request.now_s,
        request.ttft_s,
        request.tpot_s,
        request.e2e_s,
        request.sensitivity,
        mix(request.key, pool + 101),
    )
