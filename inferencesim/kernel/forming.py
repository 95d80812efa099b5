"""What a batching policy sees of a replica, what it answers, and what an order sees of a request.

Plain numbers in tuples, so that a policy is one function that Numba compiles,
whoever wrote it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inferencesim.references import by_reference

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Floats

#: Different batching policies, and different orders, in one fleet: the kernel is compiled for so many of each.
MOST_FUNCTIONS = 4

#: Parameters of one policy.
MOST_PARAMETERS = 8


class Batch(NamedTuple):
    """A replica at the boundary between two steps."""

    now_s: float
    seats: int  #: sequences it may run together
    token_budget: int  #: tokens per step
    running: int  #: requests with a seat
    decoding: int  #: of those, in decode
    tokens_per_decode: int  #: that one of them takes of the budget: 1, with speculation 1 + drafts
    prefilling: int  #: of those, with tokens still to prefill
    waiting: int  #: requests without a seat
    next_tokens: int  #: the first of them has to prefill
    next_waits_s: float  #: and has waited so long
    free_blocks: int  #: of the KV cache, those of idle prefixes included
    kv_blocks: int


class Formation(NamedTuple):
    """What the next step is to be made of."""

    together: bool  #: decodes join a step with prefill in it; else they wait while anything is prefilled
    prefill_tokens: int  #: that may be prefilled, first for those already running
    admit: int  #: requests that may be given a seat
    whole: bool  #: prompts are not cut: one that does not fit any more waits, unless it would be the first
    wake_s: float  #: with nothing to run, ask again then at the latest; infinite: when something happens


class Queued(NamedTuple):
    """A request that enters a waiting queue."""

    queued_s: float
    arrived_s: float
    deadline_s: float  #: by which its first token, or else its last, was promised; infinite if nothing is
    class_index: int
    tenant: int
    priority: int  #: of its class, lower first
    prompt_tokens: int
    predicted_output_tokens: float
    preemptions: int  #: so far


@by_reference
class Schedulers(NamedTuple):
    """The batching policies and orders of a fleet; pools name theirs by position."""

    form: tuple[Any, ...]  #: MOST_FUNCTIONS times ``form(batch, parameters) -> Formation``
    rank: tuple[Any, ...]  #: MOST_FUNCTIONS times ``rank(request, parameters) -> float``
    form_parameters: Floats  #: (P, MOST_PARAMETERS)
    rank_parameters: Floats  #: (P, MOST_PARAMETERS)


def sample_batch() -> Batch:
    """Return a batch, for its types."""
    return Batch(0.0, 1, 1, 0, 0, 1, 0, 0, 0, 0.0, 1, 1)


def sample_formation() -> Formation:
    """Return a formation, for its types."""
    return Formation(True, 0, 0, False, np.inf)


def sample_queued() -> Queued:
    """Return a request that queues, for its types."""
    return Queued(0.0, 0.0, np.inf, 0, 0, 0, 1, 1.0, 0)
