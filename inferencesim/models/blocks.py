"""The blocks a model may have beside plain attention: experts, latent, linear and sparse attention."""

from __future__ import annotations

from pydantic import Field, model_validator

from inferencesim.scenario.base import Part


class MixtureOfExperts(Part):
    """The expert layers of a model.

    Attributes
    ----------
    experts : int
        Routed experts per layer.
    active : int
        Routed experts a token passes through, per layer.
    shared : int
        Experts every token passes through, of the same width as a routed one.
    ffn : int
        Inner width of one expert.
    layers : int
        Layers that have experts; the others are dense.
    """

    experts: int = Field(gt=0)
    active: int = Field(gt=0)
    shared: int = Field(ge=0)
    ffn: int = Field(gt=0)
    layers: int = Field(gt=0)

    @model_validator(mode="after")
    def _active_exist(self) -> MixtureOfExperts:
        if self.active > self.experts:
            msg = f"{self.active} experts are active, but there are only {self.experts}"
            raise ValueError(msg)
        return self


class LatentAttention(Part):
    """Multi-head latent attention (MLA, DeepSeek-V2, arXiv:2405.04434): the cache holds one latent per token.

    Attributes
    ----------
    q_lora_rank : int or None
        Rank of the query's compression; None when queries are not compressed.
    kv_lora_rank : int
        Width of the cached latent.
    nope, rope : int
        Width of the query-key head without, and with, rotary embedding.
    v : int
        Width of the value head.
    """

    q_lora_rank: int | None = Field(default=None, gt=0)
    kv_lora_rank: int = Field(gt=0)
    nope: int = Field(gt=0)
    rope: int = Field(gt=0)
    v: int = Field(gt=0)


class LinearAttention(Part):
    """Layers with a recurrent state in place of a growing cache: Gated DeltaNet, arXiv:2412.06464.

    Each value head keeps a matrix of `key_dim` × `value_dim`, whatever the context; Qwen3-Next and
    Qwen3.5 put three such layers before every layer of full attention.

    Attributes
    ----------
    layers : int
        How many layers are of this kind.
    key_heads, value_heads : int
        Heads of query and key, and heads of value and output gate; value heads share key heads evenly.
    key_dim, value_dim : int
        Width of a key head and of a value head.
    """

    layers: int = Field(gt=0)
    key_heads: int = Field(gt=0)
    value_heads: int = Field(gt=0)
    key_dim: int = Field(gt=0)
    value_dim: int = Field(gt=0)

    @model_validator(mode="after")
    def _heads_are_shared_evenly(self) -> LinearAttention:
        if self.value_heads % self.key_heads:
            msg = f"{self.value_heads} value_heads cannot share {self.key_heads} key_heads evenly"
            raise ValueError(msg)
        return self


class SparseAttention(Part):
    """DeepSeek Sparse Attention (DSA, DeepSeek-V3.2, arXiv:2512.02556) over latent attention.

    A light indexer scores every context token by an index key of its own; the query then attends only
    to the best.

    Attributes
    ----------
    top_k : int
        Context tokens that a query attends to at most.
    index_heads : int
        Query heads of the indexer; they share one key.
    index_dim : int
        Width of an index head, and of the index key cached per token.
    """

    top_k: int = Field(gt=0)
    index_heads: int = Field(gt=0)
    index_dim: int = Field(gt=0)
