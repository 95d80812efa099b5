"""A model's architecture, and the parameters, FLOPs and cache elements that follow from it.

Norms, biases, positional tables and short convolutions are left out: together
they are under 0.1 % of any language model here, and under 2 % of the small
encoders. A multiply and an add count as two FLOPs.

Every layer mixes tokens in one of three ways: a full layer attends to the whole
context, a windowed layer to its last tokens, a linear layer keeps a state of
fixed size and no cache. Independently of that it has experts or is dense.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from inferencesim.models import gemm
from inferencesim.models.blocks import Encoder, LatentAttention, LinearAttention, MixtureOfExperts, SparseAttention
from inferencesim.models.consistency import require_consistent
from inferencesim.scenario.base import Part

if TYPE_CHECKING:
    from inferencesim.models.gemm import Gemm

#: Format the weights were published in.
NativePrecision = Literal["bf16", "fp8", "fp4", "int8", "int4"]

#: What a model can be asked for. ``vision`` is to read images beside a prompt, ``image`` to make them.
Capability = Literal["generate", "embed", "rerank", "classify", "transcribe", "speak", "image", "vision"]

#: Those whose answers are sampled token by token, by an LM head.
SAMPLED: frozenset[Capability] = frozenset({"generate", "transcribe", "speak", "vision"})


class ModelSpec(Part):
    """A transformer, described by its published architecture.

    Attributes
    ----------
    schema_version : int
        ``schema`` in YAML: the version of this format.
    id, name : str
        Lower-case id; the name of the checkpoint.
    kind : {"dense", "moe"}
        Whether it has experts.
    source : str
        The file the numbers were read from.
    sources : dict of str to str
        Source of those fields that come from elsewhere.
    layers, hidden, heads, kv_heads, vocab : int
        As in every config. `kv_heads` counts key-value heads (grouped-query attention).
    head_dim : int or None
        Width of a head; None with `mla`, which has its own widths.
    output_gate : bool
        Whether what attention returns is gated by a projection as wide as the queries (Qwen3-Next).
    max_context : int
        Tokens of prompt and output together that the model was made for.
    tied : bool
        Whether the LM head shares the embedding matrix.
    dense_ffn : int or None
        Inner width of the feed-forward network of dense layers; None if there is none.
    ffn_matrices : int
        Matrices per feed-forward network: 3 with a gate, 2 without.
    moe : MixtureOfExperts or None
        The expert layers.
    mla : LatentAttention or None
        Set for models with latent attention.
    linear_attention : LinearAttention or None
        The layers with a recurrent state in place of a cache.
    sparse_attention : SparseAttention or None
        Set for models whose latent attention reads only the tokens an indexer picks.
    sliding_window : int or None
        Tokens that a windowed layer attends to at most.
    windowed_layers : int
        How many layers are windowed.
    encoder : Encoder or None
        What reads images or audio for it.
    other_parameters : int
        Further weights in memory, whose work is left out.
    capabilities : tuple of Capability
        What it can be asked for.
    causal_cache : bool
        Whether tokens attend to those before them, whose keys and values are cached; False where every token attends
        to all others (encoders, diffusion): such a model computes a prompt in one go and keeps no cache.
    tokens_per_second : float or None
        Tokens of one second of audio, heard or spoken, of a model of speech.
    native_precision : str
        Format of the published weights.
    notes : str
        What a reader should know.
    """

    schema_version: Literal[1] = Field(alias="schema")
    id: str = Field(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$")
    name: str = Field(min_length=1)
    kind: Literal["dense", "moe"]
    source: str = Field(min_length=1)
    sources: dict[str, str] = Field(default_factory=dict)
    layers: int = Field(gt=0)
    hidden: int = Field(gt=0)
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_dim: int | None = Field(default=None, gt=0)
    output_gate: bool = Field(default=False, strict=True)
    vocab: int = Field(gt=0)
    max_context: int = Field(gt=0)
    tied: bool = Field(strict=True)
    dense_ffn: int | None = Field(default=None, gt=0)
    ffn_matrices: Literal[2, 3] = 3
    moe: MixtureOfExperts | None = None
    mla: LatentAttention | None = None
    linear_attention: LinearAttention | None = None
    sparse_attention: SparseAttention | None = None
    sliding_window: int | None = Field(default=None, gt=0)
    windowed_layers: int = Field(default=0, ge=0)
    encoder: Encoder | None = None
    other_parameters: int = Field(default=0, ge=0)
    capabilities: tuple[Capability, ...] = Field(default=("generate",), min_length=1)
    causal_cache: bool = Field(default=True, strict=True)
    tokens_per_second: float | None = Field(default=None, gt=0)
    native_precision: NativePrecision
    notes: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> ModelSpec:
        require_consistent(self)
        return self

    def __hash__(self) -> int:
        # The mapping of sources has no hash of its own; equal specs have equal ids.
        return hash(self.id)

    @property
    def generates(self) -> bool:
        """Whether it samples tokens, and so has an LM head to compute."""
        return not SAMPLED.isdisjoint(self.capabilities)

    @property
    def cross_attends(self) -> bool:
        """Whether its layers attend to an encoder's positions."""
        return self.encoder is not None and self.encoder.cross_attention

    @property
    def linear_layers(self) -> int:
        """Layers with a recurrent state and no cache."""
        return self.linear_attention.layers if self.linear_attention else 0

    @property
    def attention_layers(self) -> int:
        """Layers with attention and a cache: ``layers − linear_layers``, windowed or full."""
        return self.layers - self.linear_layers

    @property
    def full_layers(self) -> int:
        """Layers whose cache holds the whole context: ``attention_layers − windowed_layers``."""
        return self.attention_layers - self.windowed_layers

    @property
    def moe_layers(self) -> int:
        """Layers with experts."""
        return self.moe.layers if self.moe else 0

    @property
    def dense_layers(self) -> int:
        """Layers with a dense feed-forward network: ``layers − moe_layers``."""
        return self.layers - self.moe_layers

    @property
    def gemms(self) -> tuple[Gemm, ...]:
        """Every weight matrix of the layers but the routed experts', which `expert_gemms` gives.

        Attention: ``qkv`` and ``attention_output``; with `mla` ``q_a``, ``q_b`` (or ``q``), ``kv_a``, ``kv_b``
        and ``attention_output``; with `sparse_attention` also ``index_q``, ``index_k``, ``index_weights``.
        Linear attention: ``linear_qkvz``, ``linear_ba``, ``linear_output``. Feed-forward: ``gate_up`` (``up``
        without a gate) and ``down``; ``router``, ``shared_gate_up`` and ``shared_down`` of expert layers,
        where all shared experts make one network.
        """
        matrices = self._attention_gemms + self._linear_attention_gemms
        if self.dense_ffn is not None:
            matrices += gemm.feed_forward(self.dense_layers, self.hidden, self.dense_ffn, self.ffn_matrices)
        if self.moe is not None:
            matrices += gemm.router_and_shared_experts(self.hidden, self.moe, self.ffn_matrices)
        return matrices

    @property
    def expert_gemms(self) -> tuple[Gemm, ...]:
        """The weight matrices of one routed expert, in every layer with experts; empty without."""
        if self.moe is None:
            return ()
        return gemm.feed_forward(self.moe.layers, self.hidden, self.moe.ffn, self.ffn_matrices, "expert_")

    @property
    def attention_parameters(self) -> int:
        """Parameters of one layer's attention, an indexer and cross-attention included.

        Grouped-query: ``hidden·head_dim·(2·heads + 2·kv_heads)`` (query, output, key, value), and
        ``hidden·head_dim·heads`` for an output gate. Latent (arXiv:2405.04434): query down and up, latent
        down, key-value up, output.
        """
        return sum(matrix.inputs * matrix.outputs for matrix in self._attention_gemms)

    @property
    def linear_attention_parameters(self) -> int:
        """Parameters of one linear layer's projections; 0 without such layers.

        ``hidden·(2·key_heads·key_dim + 3·value_heads·value_dim + 2·value_heads)``: query and key; value,
        output gate and output; update strength and decay.
        """
        return sum(matrix.inputs * matrix.outputs for matrix in self._linear_attention_gemms)

    @property
    def dense_ffn_parameters(self) -> int:
        """Parameters of the feed-forward network of one dense layer: ``ffn_matrices·hidden·dense_ffn``."""
        return self.ffn_matrices * self.hidden * (self.dense_ffn or 0)

    @property
    def expert_parameters(self) -> int:
        """Parameters of one expert of one layer: ``ffn_matrices·hidden·moe.ffn``; 0 without experts."""
        return self.ffn_matrices * self.hidden * self.moe.ffn if self.moe else 0

    @property
    def shared_expert_parameters(self) -> int:
        """Parameters of all shared experts of one expert layer: ``shared·expert_parameters``."""
        return self.moe.shared * self.expert_parameters if self.moe else 0

    @property
    def router_parameters(self) -> int:
        """Parameters of the router of one expert layer: ``hidden·experts``."""
        return self.hidden * self.moe.experts if self.moe else 0

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the input embedding: ``vocab·hidden``."""
        return self.vocab * self.hidden

    @property
    def head_parameters(self) -> int:
        """Parameters the LM head multiplies with: ``vocab·hidden``, also when they are the embedding's.

        A model that samples nothing computes none.
        """
        return self.vocab * self.hidden if self.generates else 0

    @property
    def total_parameters(self) -> int:
        """All parameters, a tied head counted once."""
        encoder = self.encoder.parameters if self.encoder else 0
        return self.parameters_outside_layers + self.layer_parameters + encoder + self.other_parameters

    @property
    def layer_parameters(self) -> int:
        """Parameters of all layers, every expert counted."""
        return self._layer_parameters(self.moe.experts if self.moe else 0)

    @property
    def parameters_outside_layers(self) -> int:
        """Parameters of embedding and LM head, counted once where they are tied."""
        return self.embedding_parameters * (1 if self.tied else 2)

    @property
    def active_parameters(self) -> int:
        """Parameters a token meets, embedding and LM head included: of the routed experts only the active.

        Neither those of an encoder nor `other_parameters` are among them.
        """
        active = self.moe.active if self.moe else 0
        return self.parameters_outside_layers + self._layer_parameters(active)

    @property
    def kv_elements_per_token_per_layer(self) -> int:
        """Elements of keys and values cached per token and layer with attention.

        Grouped-query: ``2·kv_heads·head_dim`` (key and value). Latent: ``kv_lora_rank + rope``. The index keys
        of sparse attention come on top: `index_elements_per_token_per_layer`. None without `causal_cache`.
        """
        if not self.causal_cache:
            return 0
        if self.mla is not None:
            return self.mla.kv_lora_rank + self.mla.rope
        return 2 * self.kv_heads * self._head_dim

    @property
    def index_elements_per_token_per_layer(self) -> int:
        """Elements of the index key cached per token and layer: ``index_dim``; 0 without sparse attention."""
        return self.sparse_attention.index_dim if self.sparse_attention else 0

    @property
    def cache_elements_per_token_per_layer(self) -> int:
        """Elements cached per token and layer with attention: keys, values and index key."""
        return self.kv_elements_per_token_per_layer + self.index_elements_per_token_per_layer

    @property
    def kv_elements_per_token(self) -> int:
        """Elements cached per token over all layers with attention while no window is full, index keys included."""
        return self.attention_layers * self.cache_elements_per_token_per_layer

    def kv_elements(self, context_tokens: int) -> int:
        """Return the elements cached for a sequence of `context_tokens`, index keys included.

        Windowed layers stop growing at their window, and linear layers have no cache:
        ``per layer · (full_layers·n + windowed_layers·min(n, window))``.
        """
        windowed = self.windowed_layers * min(context_tokens, self.sliding_window or 0)
        return self.cache_elements_per_token_per_layer * (self.full_layers * context_tokens + windowed)

    @property
    def state_elements(self) -> int:
        """Elements of recurrent state per sequence over all linear layers, whatever its length.

        ``linear_layers·value_heads·key_dim·value_dim``, kept in 32 bit (``mamba_ssm_dtype`` of the Qwen3.5
        files). The inputs that the short convolution remembers, under 4 % more, are left out.
        """
        linear = self.linear_attention
        return linear.layers * linear.value_heads * linear.key_dim * linear.value_dim if linear else 0

    @property
    def state_flops_per_token(self) -> int:
        """FLOPs per token in the recurrences of all linear layers in decode: 7 per element of state.

        Per head, with a state of ``key_dim × value_dim``: decay (1), read by the key (2), write the correction
        (2), read by the query (2). The chunked form of prefill does up to twice that, on matrix units.
        """
        return 7 * self.state_elements

    @property
    def cross_elements(self) -> int:
        """Elements of keys and values of an encoder's positions that each sequence keeps, over all layers."""
        if self.encoder is None or not self.cross_attends:
            return 0
        return self.attention_layers * self.kv_elements_per_token_per_layer * self.encoder.positions

    @property
    def pairs_per_causal_pair(self) -> int:
        """Pairs of query and context for each that a causal mask would leave: 2 where tokens attend both ways."""
        return 1 if self.causal_cache else 2

    @property
    def attention_span(self) -> float:
        """Tokens that a query of a full layer attends to at most: `top_k`, or infinity without sparse attention."""
        return float(self.sparse_attention.top_k) if self.sparse_attention else math.inf

    @property
    def indexer_flops(self) -> int:
        """FLOPs of the indexer per query token, context token and full layer; 0 without sparse attention.

        ``2·index_heads·(index_dim + 1)``: the scores of all heads, and their weighted sum (arXiv:2512.02556).
        It looks at the whole context, attention itself only at `attention_span` tokens of it.
        """
        sparse = self.sparse_attention
        return 2 * sparse.index_heads * (sparse.index_dim + 1) if sparse else 0

    @property
    def attention_flops_decode(self) -> int:
        """FLOPs per query token, attended token and layer with attention in decode.

        Grouped-query: ``4·heads·head_dim`` (scores and weighted sum). Latent, with the up-projections
        absorbed into query and output: ``2·heads·(2·kv_lora_rank + rope)``.
        """
        if self.mla is not None:
            return 2 * self.heads * (2 * self.mla.kv_lora_rank + self.mla.rope)
        return 4 * self.heads * self._head_dim

    @property
    def attention_flops_prefill(self) -> int:
        """FLOPs per query token, attended token and layer with attention in prefill.

        Grouped-query: ``4·heads·head_dim``. Latent, with keys and values expanded:
        ``2·heads·(nope + rope + v)``; sparse attention expands nothing, each query having keys of its own, and
        does what decode does (arXiv:2512.02556).
        """
        if self.mla is not None and self.sparse_attention is None:
            return 2 * self.heads * (self.mla.nope + self.mla.rope + self.mla.v)
        return self.attention_flops_decode

    @property
    def linear_flops_per_token(self) -> int:
        """FLOPs per token in the matrices of all layers: 2 × the active parameters of the layers."""
        return 2 * self._layer_parameters(self.moe.active if self.moe else 0)

    @property
    def head_flops_per_token(self) -> int:
        """FLOPs of the LM head per token it is computed for: ``2·vocab·hidden``."""
        return 2 * self.head_parameters

    @property
    def _head_dim(self) -> int:
        # Validation leaves it out only with latent attention, which never asks.
        return self.head_dim or 0

    @property
    def _attention_gemms(self) -> tuple[Gemm, ...]:
        layers = self.attention_layers
        if self.mla is not None:
            sparse = self.sparse_attention
            indexer = gemm.indexer(layers, self.hidden, self.mla, sparse) if sparse else ()
            return gemm.latent_attention(layers, self.hidden, self.heads, self.mla) + indexer
        own = gemm.grouped_query_attention(
            layers, self.hidden, self.heads, self.kv_heads, self._head_dim, self.output_gate
        )
        crossing = gemm.cross_attention(layers, self.hidden, self.heads * self._head_dim)
        return own + crossing if self.cross_attends else own

    @property
    def _linear_attention_gemms(self) -> tuple[Gemm, ...]:
        return gemm.linear_attention(self.hidden, self.linear_attention) if self.linear_attention else ()

    def _layer_parameters(self, routed_experts: int) -> int:
        """Return the parameters of all layers when `routed_experts` of each expert layer are counted."""
        always = sum(matrix.parameters for matrix in self.gemms)
        return always + self.moe_layers * routed_experts * self.expert_parameters
