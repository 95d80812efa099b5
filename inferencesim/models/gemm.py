"""The weight matrices of a layer, block by block: the shapes its matrix multiplications have.

Matrices that read the same input are one, as serving engines fuse them: query,
key and value; gate and up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferencesim.models.blocks import LatentAttention, LinearAttention, MixtureOfExperts, SparseAttention


@dataclass(frozen=True, slots=True)
class Gemm:
    """One weight matrix and the layers that have it.

    Attributes
    ----------
    name : str
        What it computes, unique within a model.
    layers : int
        How many layers have such a matrix.
    inputs, outputs : int
        Its rows and columns: a batch of `m` tokens multiplies ``m × inputs`` by ``inputs × outputs``.
    """

    name: str
    layers: int
    inputs: int
    outputs: int

    @property
    def parameters(self) -> int:
        """Parameters of the matrix in all its layers: ``layers·inputs·outputs``."""
        return self.layers * self.inputs * self.outputs


def grouped_query_attention(
    layers: int, hidden: int, heads: int, kv_heads: int, head_dim: int, gated: bool
) -> tuple[Gemm, ...]:
    """Return the matrices of grouped-query attention; a gate on the output is as wide as the queries."""
    width = heads * head_dim
    return (
        Gemm("qkv", layers, hidden, width + 2 * kv_heads * head_dim + (width if gated else 0)),
        Gemm("attention_output", layers, width, hidden),
    )


def latent_attention(layers: int, hidden: int, heads: int, mla: LatentAttention) -> tuple[Gemm, ...]:
    """Return the matrices of latent attention (arXiv:2405.04434).

    Query and key-value each go down to their rank (``_a``) and up to the heads (``_b``); queries that
    are not compressed have the one matrix ``q``.
    """
    query_width = heads * (mla.nope + mla.rope)
    rank = mla.q_lora_rank
    query = (
        (Gemm("q", layers, hidden, query_width),)
        if rank is None
        else (Gemm("q_a", layers, hidden, rank), Gemm("q_b", layers, rank, query_width))
    )
    return (
        *query,
        Gemm("kv_a", layers, hidden, mla.kv_lora_rank + mla.rope),
        Gemm("kv_b", layers, mla.kv_lora_rank, heads * (mla.nope + mla.v)),
        Gemm("attention_output", layers, heads * mla.v, hidden),
    )


def indexer(layers: int, hidden: int, mla: LatentAttention, sparse: SparseAttention) -> tuple[Gemm, ...]:
    """Return the matrices of a sparse-attention indexer (arXiv:2512.02556).

    Its queries come from the compressed query where there is one; its key and the weights of its heads
    from the hidden state.
    """
    return (
        Gemm("index_q", layers, mla.q_lora_rank or hidden, sparse.index_heads * sparse.index_dim),
        Gemm("index_k", layers, hidden, sparse.index_dim),
        Gemm("index_weights", layers, hidden, sparse.index_heads),
    )


def linear_attention(hidden: int, linear: LinearAttention) -> tuple[Gemm, ...]:
    """Return the matrices of Gated DeltaNet (arXiv:2412.06464), as Qwen3-Next has them.

    ``linear_qkvz`` gives query, key, value and output gate, ``linear_ba`` the strength of each value
    head's update and its decay. The short convolution is left out: 0.05 % of the layer.
    """
    keys, values = linear.key_heads * linear.key_dim, linear.value_heads * linear.value_dim
    return (
        Gemm("linear_qkvz", linear.layers, hidden, 2 * keys + 2 * values),
        Gemm("linear_ba", linear.layers, hidden, 2 * linear.value_heads),
        Gemm("linear_output", linear.layers, values, hidden),
    )


def cross_attention(layers: int, hidden: int, width: int) -> tuple[Gemm, ...]:
    """Return the matrices that a decoder's tokens meet in cross-attention; keys and values are the encoder's."""
    return (Gemm("cross_query", layers, hidden, width), Gemm("cross_output", layers, width, hidden))


def feed_forward(layers: int, hidden: int, width: int, matrices: int, prefix: str = "") -> tuple[Gemm, ...]:
    """Return the matrices of a feed-forward network: ``gate_up`` (``up`` where it has no gate) and ``down``."""
    first = "gate_up" if matrices == 3 else "up"
    return (
        Gemm(prefix + first, layers, hidden, (matrices - 1) * width),
        Gemm(prefix + "down", layers, width, hidden),
    )


def router_and_shared_experts(hidden: int, moe: MixtureOfExperts, matrices: int) -> tuple[Gemm, ...]:
    """Return the matrices of expert layers that every token meets; all shared experts make one network."""
    router = Gemm("router", moe.layers, hidden, moe.experts)
    if not moe.shared:
        return (router,)
    return (router, *feed_forward(moe.layers, hidden, moe.shared * moe.ffn, matrices, "shared_"))
