"""A model's architecture, and the parameters, FLOPs and cache elements that follow from it.

Norms, biases and positional tables are left out: together they are under 0.1 %
of any model here. A multiply and an add count as two FLOPs.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from inferencesim.scenario.base import Part

#: Format the weights were published in.
NativePrecision = Literal["bf16", "fp8", "fp4", "int8", "int4"]


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


class ModelSpec(Part):
    """A decoder-only transformer, described by its published architecture.

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
    sliding_window : int or None
        Tokens that a windowed layer attends to at most.
    windowed_layers : int
        How many layers are windowed.
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
    vocab: int = Field(gt=0)
    max_context: int = Field(gt=0)
    tied: bool = Field(strict=True)
    dense_ffn: int | None = Field(default=None, gt=0)
    ffn_matrices: Literal[2, 3] = 3
    moe: MixtureOfExperts | None = None
    mla: LatentAttention | None = None
    sliding_window: int | None = Field(default=None, gt=0)
    windowed_layers: int = Field(default=0, ge=0)
    native_precision: NativePrecision
    notes: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> ModelSpec:
        for wrong, msg in (
            (
                (self.kind == "moe") != (self.moe is not None),
                "kind must be 'moe' exactly if there is a moe block",
            ),
            (self.moe_layers > self.layers, f"moe.layers is {self.moe_layers}, of only {self.layers} layers"),
            (self.dense_layers > 0 and self.dense_ffn is None, "dense_ffn is missing: some layers are dense"),
            (
                self.dense_layers == 0 and self.dense_ffn is not None,
                "dense_ffn is given, but no layer is dense",
            ),
            (self.mla is None and self.head_dim is None, "head_dim is missing"),
            (
                self.mla is not None and self.head_dim is not None,
                "head_dim is given beside mla, which has its own",
            ),
            (
                self.heads % self.kv_heads != 0,
                f"{self.heads} heads cannot share {self.kv_heads} kv_heads evenly",
            ),
            (self.windowed_layers > self.layers, f"windowed_layers exceeds the {self.layers} layers"),
            (
                (self.sliding_window is not None) != (self.windowed_layers > 0),
                "sliding_window and windowed_layers belong together: give both or neither",
            ),
            (
                bool(self.sources.keys() - ModelSpec.model_fields.keys()),
                "sources names a field that does not exist",
            ),
        ):
            if wrong:
                raise ValueError(msg)
        return self

    def __hash__(self) -> int:
        # The mapping of sources has no hash of its own; equal specs have equal ids.
        return hash(self.id)

    @property
    def attention_parameters(self) -> int:
        """Parameters of one attention block.

        Grouped-query: ``hidden·head_dim·(2·heads + 2·kv_heads)`` (query, output, key, value). Latent
        (arXiv:2405.04434): query down and up, latent down, key-value up, output.
        """
        if self.mla is None:
            return self.hidden * self._head_dim * 2 * (self.heads + self.kv_heads)
        mla = self.mla
        query_width = self.heads * (mla.nope + mla.rope)
        rank = mla.q_lora_rank
        query = self.hidden * query_width if rank is None else rank * (self.hidden + query_width)
        latent = self.hidden * (mla.kv_lora_rank + mla.rope) + mla.kv_lora_rank * self.heads * (mla.nope + mla.v)
        return query + latent + self.heads * mla.v * self.hidden

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
    def moe_layers(self) -> int:
        """Layers with experts."""
        return self.moe.layers if self.moe else 0

    @property
    def dense_layers(self) -> int:
        """Layers with a dense feed-forward network: ``layers − moe_layers``."""
        return self.layers - self.moe_layers

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the input embedding: ``vocab·hidden``."""
        return self.vocab * self.hidden

    @property
    def head_parameters(self) -> int:
        """Parameters the LM head multiplies with: ``vocab·hidden``, also when they are the embedding's."""
        return self.vocab * self.hidden

    @property
    def total_parameters(self) -> int:
        """All parameters, a tied head counted once."""
        return self.parameters_outside_layers + self.layer_parameters

    @property
    def layer_parameters(self) -> int:
        """Parameters of all layers, every expert counted."""
        return self._layer_parameters(self.moe.experts if self.moe else 0)

    @property
    def parameters_outside_layers(self) -> int:
        """Parameters of embedding and LM head, counted once where they are tied."""
        return self.embedding_parameters + (0 if self.tied else self.head_parameters)

    @property
    def active_parameters(self) -> int:
        """Parameters a token meets, embedding and LM head included: of the routed experts only the active."""
        active = self.moe.active if self.moe else 0
        return self.parameters_outside_layers + self._layer_parameters(active)

    @property
    def kv_elements_per_token_per_layer(self) -> int:
        """Elements cached per token and layer.

        Grouped-query: ``2·kv_heads·head_dim`` (key and value). Latent: ``kv_lora_rank + rope``.
        """
        if self.mla is not None:
            return self.mla.kv_lora_rank + self.mla.rope
        return 2 * self.kv_heads * self._head_dim

    @property
    def kv_elements_per_token(self) -> int:
        """Elements cached per token over all layers while no window is full: ``layers`` × one layer's."""
        return self.layers * self.kv_elements_per_token_per_layer

    def kv_elements(self, context_tokens: int) -> int:
        """Return the elements cached for a sequence of `context_tokens`.

        Windowed layers stop growing at their window:
        ``per layer · ((layers − windowed)·n + windowed·min(n, window))``.
        """
        window = self.sliding_window or 0
        full = (self.layers - self.windowed_layers) * context_tokens
        windowed = self.windowed_layers * min(context_tokens, window)
        return self.kv_elements_per_token_per_layer * (full + windowed)

    @property
    def attention_flops_decode(self) -> int:
        """FLOPs per query token, context token and layer in decode.

        Grouped-query: ``4·heads·head_dim`` (scores and weighted sum). Latent, with the up-projections
        absorbed into query and output: ``2·heads·(2·kv_lora_rank + rope)``.
        """
        if self.mla is not None:
            return 2 * self.heads * (2 * self.mla.kv_lora_rank + self.mla.rope)
        return 4 * self.heads * self._head_dim

    @property
    def attention_flops_prefill(self) -> int:
        """FLOPs per query token, context token and layer in prefill.

        Grouped-query: ``4·heads·head_dim``. Latent, with keys and values expanded:
        ``2·heads·(nope + rope + v)``.
        """
        if self.mla is not None:
            return 2 * self.heads * (self.mla.nope + self.mla.rope + self.mla.v)
        return 4 * self.heads * self._head_dim

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

    def _layer_parameters(self, routed_experts: int) -> int:
        """Return the parameters of all layers when `routed_experts` of each expert layer are counted."""
        expert_layer = routed_experts * self.expert_parameters + self.shared_expert_parameters + self.router_parameters
        return (
            self.layers * self.attention_parameters
            + self.dense_layers * self.dense_ffn_parameters
            + self.moe_layers * expert_layer
        )
