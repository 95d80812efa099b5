"""Speculative decoding: what drafts cost beside the model that verifies them, and what they bring.

Each step, a draft guesses k tokens per sequence, one after another, and the
target processes them together with the one that is certain. Guesses count up to
the first wrong one, and the target's own token follows it: a step makes 1 to k + 1
tokens. The draft runs on the chips of the last pipeline stage, where tokens are
sampled, divided over them as the target is (vLLM builds its drafter on the last
stage only); it has a KV cache of its own for the same tokens. A draft that looks
its guesses up in the text costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferencesim.errors import InputError
from inferencesim.models.catalog import load_model

if TYPE_CHECKING:
    from inferencesim.models.spec import ModelSpec
    from inferencesim.scenario.fleet import Batching, Draft, Parallelism, Speculation


@dataclass(frozen=True)
class Drafter:
    """What guesses tokens for a target model.

    Attributes
    ----------
    drafts : int
        Tokens guessed per step and sequence.
    acceptance : float
        Probability that a guess is right where all before it were, unless a class states its own.
    model : ModelSpec or None
        What runs once per guess; None where guesses cost nothing.
    is_head : bool
        Whether it shares embedding and LM head with the target.
    """

    drafts: int
    acceptance: float
    model: ModelSpec | None
    is_head: bool


def make_drafter(said: Speculation | None, target: ModelSpec, where: str) -> Drafter | None:
    """Resolve what a pool says of speculation; None without.

    Raises
    ------
    InputError
        At `where`, the pool's ``speculation``: an unknown model, or one of another vocabulary.
    """
    if said is None:
        return None
    model = _draft_model(said.draft, target, f"{where}.draft")
    return Drafter(said.drafts, said.acceptance, model, is_head=said.draft.model is None)


def _draft_model(said: Draft, target: ModelSpec, where: str) -> ModelSpec | None:
    if said.model is None:
        return head_of(target, said.layers) if said.layers else None
    draft = load_model(said.model, f"{where}.model")
    if draft.vocab != target.vocab:
        raise InputError(
            f"{where}.model",
            f"{draft.id} has {draft.vocab:,} tokens in its vocabulary, {target.id} has {target.vocab:,}",
            "A draft is verified token by token: choose a smaller model of the same family.",
        )
    return draft


def head_of(target: ModelSpec, layers: int) -> ModelSpec:
    """Return a draft head: so many layers as the target's full-attention ones, with its experts if it has any.

    The matrix that joins the token with the target's hidden state is left out, about a tenth of a layer.
    """
    moe = None if target.moe is None else target.moe.model_copy(update={"layers": layers})
    return target.model_copy(
        update={
            "id": f"{target.id}-head-{layers}",
            "layers": layers,
            "encoder": None,
            "moe": moe,
            "dense_ffn": target.dense_ffn if moe is None else None,
            "linear_attention": None,
            "sliding_window": None,
            "windowed_layers": 0,
        }
    )


def on_last_stage(parallelism: Parallelism, draft: ModelSpec) -> Parallelism:
    """Return how a draft is spread: as its target, over the chips of one pipeline stage."""
    return parallelism.model_copy(update={"pipeline": 1, "expert": parallelism.expert if draft.moe else 1})


def require_budget(drafter: Drafter, batching: Batching, where: str) -> None:
    """Raise unless every seat can verify its drafts within the token budget.

    Raises
    ------
    InputError
        At `where`, the pool's ``speculation``.
    """
    needed = batching.max_sequences * (drafter.drafts + 1)
    if needed > batching.token_budget:
        raise InputError(
            f"{where}.drafts",
            f"{batching.max_sequences} sequences that verify {drafter.drafts} drafts and one token each are "
            f"{needed} tokens per step, more than the token_budget of {batching.token_budget}",
            f"Guess fewer, or set batching: {{max_sequences: {batching.token_budget // (drafter.drafts + 1)}}}, "
            f"or {{token_budget: {needed}}}.",
        )
