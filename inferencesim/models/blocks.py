"""The blocks a model may have beside plain attention: experts, latent, linear and sparse attention, an encoder."""

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


class Encoder(Part):
    """What turns an image, or a window of audio, into positions that the language model reads.

    Attributes
    ----------
    unit : str
        What one unit of its work is: an image of a given size, or so many seconds of audio.
    parameters : int
        All its weights, with whatever else runs once per position (a projection, keys and values of cross-attention).
    layers, hidden : int
        Of its transformer, for its attention.
    positions : int
        Positions of one unit, each attending to all others in full layers.
    full_layers : int or None
        Layers that attend to all positions; the others to `window` of them. None: every layer.
    window : int or None
        Positions the other layers attend to.
    tokens : int
        Tokens that one unit adds to the prompt; 0 with cross-attention.
    cross_attention : bool
        Whether the decoder's layers attend to the positions, whose keys and values each sequence then keeps.
    """

    unit: str = Field(min_length=1)
    parameters: int = Field(gt=0)
    layers: int = Field(gt=0)
    hidden: int = Field(gt=0)
    positions: int = Field(gt=0)
    full_layers: int | None = Field(default=None, ge=0)
    window: int | None = Field(default=None, gt=0)
    tokens: int = Field(ge=0)
    cross_attention: bool = Field(default=False, strict=True)

    @model_validator(mode="after")
    def _windows_belong_to_layers(self) -> Encoder:
        if (self.full_layers is None) != (self.window is None):
            msg = "full_layers and window belong together: give both or neither"
            raise ValueError(msg)
        if self.full_layers is not None and self.full_layers > self.layers:
            msg = f"full_layers is {self.full_layers}, of only {self.layers} layers"
            raise ValueError(msg)
        return self

    @property
    def matrix_flops(self) -> float:
        """FLOPs in the matrices per unit: ``2·parameters·positions``."""
        return 2.0 * self.parameters * self.positions

    @property
    def attention_flops(self) -> float:
        """FLOPs of attention per unit: ``4·hidden`` per pair of positions and layer."""
        full = self.layers if self.full_layers is None else self.full_layers
        seen = full * self.positions + (self.layers - full) * (self.window or 0)
        return 4.0 * self.hidden * self.positions * seen

    @property
    def flops(self) -> float:
        """FLOPs per unit."""
        return self.matrix_flops + self.attention_flops
