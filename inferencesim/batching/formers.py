"""The field's batching policies, each under the name it has where it comes from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from inferencesim.batching.policy import batching_policy
from inferencesim.jit import compiled
from inferencesim.kernel.forming import Batch, Formation

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Floats

#: Tokens to prefill, where a batch is prefilled in one step however many they are.
WHOLE_BATCH = 2**40


@compiled
def _beside_decodes(batch: Batch) -> int:
    """Return the tokens of the budget that the decoding sequences leave."""
    return max(0, batch.token_budget - batch.decoding * batch.tokens_per_decode)


@batching_policy("chunked_prefill", "decodes in every step, prompts cut to fill what is left of the token budget")
def chunked_prefill(batch: Batch, parameters: Floats) -> Formation:
    """Form a step as vLLM's V1 scheduler and Sarathi-Serve (arXiv:2403.02310) do."""
    return Formation(True, _beside_decodes(batch), batch.seats - batch.running, False, math.inf)


@batching_policy("continuous", "re-formed every step; whole prompts are prefilled in one step, beside the decodes")
def continuous(batch: Batch, parameters: Floats) -> Formation:
    """Form a step as Orca (OSDI 2022) does: iteration-level scheduling without chunks."""
    return Formation(True, _beside_decodes(batch), batch.seats - batch.running, True, math.inf)


@batching_policy("prefill_first", "prompts are prefilled in steps of their own, while decodes wait")
def prefill_first(batch: Batch, parameters: Floats) -> Formation:
    """Form a step as SGLang and vLLM's V0 scheduler do."""
    return Formation(False, batch.token_budget, batch.seats - batch.running, False, math.inf)


@batching_policy(
    "decode_first",
    "prompts are prefilled only while at most `refill` of the seats decode, in steps of their own",
    refill=0.0,
)
def decode_first(batch: Batch, parameters: Floats) -> Formation:
    """Let decodes own the steps: who waits is let in once the batch has drained, in the way of FasterTransformer."""
    if batch.prefilling == 0 and batch.decoding > parameters[0] * batch.seats:
        return Formation(False, 0, 0, False, math.inf)
    return Formation(False, batch.token_budget, batch.seats - batch.running, False, math.inf)


@batching_policy("static", "the batch is fixed until its longest member ends")
def static(batch: Batch, parameters: Floats) -> Formation:
    """Take what waits when the replica is empty, prefill it, and let nobody join; members leave as they end."""
    admit = batch.seats if batch.running == 0 else 0
    return Formation(False, WHOLE_BATCH, admit, False, math.inf)


@batching_policy(
    "dynamic", "formed of `size` requests or after `timeout` seconds; nobody joins later", size=8.0, timeout=0.05
)
def dynamic(batch: Batch, parameters: Floats) -> Formation:
    """Wait for a batch worth running, as Triton's dynamic batcher and TensorFlow Serving do."""
    if batch.running > 0:
        return Formation(False, WHOLE_BATCH, 0, False, math.inf)
    size = min(int(parameters[0]), batch.seats)
    ready_s = batch.now_s + (parameters[1] - batch.next_waits_s)
    # Compared as moments: a rest too short for the clock to move would have the replica wait for ever.
    if batch.waiting < size and ready_s > batch.now_s:
        return Formation(False, 0, 0, False, ready_s)
    return Formation(False, WHOLE_BATCH, size, False, math.inf)
