"""What steps process, summed per replica: of it MFU and MBU are made (:mod:`inferencesim.deployment.work`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.deployment.work import streaming_of
from inferencesim.jit import inner

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Fleet


@inner
def count_decodes(fleet: Fleet, replica: int, steps: int, contexts: float) -> None:
    """Add decode steps that read `contexts` context tokens in total."""
    r = fleet.replicas[replica]
    counts = fleet.counts[replica]
    decoding = float(r["decoding"])
    counts["decodes"] += steps * decoding
    counts["decode_context"] += contexts
    counts["decode_window_context"] += min(contexts, steps * decoding * fleet.latency.coefficients[r["row"]]["window"])


@inner
def count_passes(fleet: Fleet, replica: int, steps: int, decoding: float, prefill_tokens: float) -> None:
    """Add the passes over weights of so many equal steps."""
    counts = fleet.counts[replica]
    c = fleet.latency.coefficients[fleet.replicas[replica]["row"]]
    if c["stages"] == 1.0 and c["experts"] == 0.0 and c["verified"] == 1.0:
        counts["passes"] += steps
        return
    passes = streaming_of(fleet.latency, fleet.replicas[replica]["row"], decoding, prefill_tokens)
    counts["passes"] += steps * passes.passes
    counts["expert_passes"] += steps * passes.expert_passes
    counts["draft_passes"] += steps * passes.draft_passes
    counts["draft_expert_passes"] += steps * passes.draft_expert_passes
