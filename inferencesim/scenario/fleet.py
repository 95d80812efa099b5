"""The fleet of a scenario: pools of identical replicas."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from inferencesim.scenario.base import Bytes, BytesPerTime, Fraction, Part, PositiveTime, PricePerTime, Time
from inferencesim.scenario.policies import Choice, PolicyChoice

PrecisionName = Literal["bf16", "fp8", "int8", "int4", "fp4"]

#: Bytes per element; block scales of the four-bit formats are charged as half a bit per element.
BYTES_PER_ELEMENT: dict[str, float] = {"bf16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5625, "fp4": 0.5625}


#: The format that weights of a format are multiplied in, unless another is named.
_ARITHMETIC: dict[str, PrecisionName] = {
    "bf16": "bf16",
    "fp8": "fp8",
    "int8": "int8",
    "int4": "bf16",
    "fp4": "fp4",
}


class Precision(Part):
    """Number formats of a deployment: weights, activations and KV cache each have their own.

    A bare name sets weights and activations and leaves the KV cache at bf16;
    ``int4`` is weight-only, so activations stay bf16, as its kernels do. Routed
    experts may differ from the rest (MXFP4 and NVFP4 checkpoints quantise
    little else); left out, they are as the rest.
    """

    weights: PrecisionName = "bf16"
    activations: PrecisionName = "bf16"
    kv: PrecisionName = "bf16"
    expert_weights: PrecisionName | None = None
    expert_activations: PrecisionName | None = None

    @property
    def of_experts(self) -> tuple[PrecisionName, PrecisionName]:
        """Formats of the routed experts' weights and activations."""
        weights = self.weights if self.expert_weights is None else self.expert_weights
        if self.expert_activations is not None:
            return weights, self.expert_activations
        return weights, self.activations if self.expert_weights is None else _ARITHMETIC[weights]

    @property
    def in_words(self) -> str:
        """The formats of all but experts: ``bf16``, or ``fp8, bf16 KV``, where they differ."""
        parts: list[str] = [self.weights]
        if self.activations != self.weights:
            parts.append(f"{self.activations} activations")
        if self.kv != self.weights:
            parts.append(f"{self.kv} KV")
        return ", ".join(parts)


def _precision(value: Any) -> Any:
    if isinstance(value, str):
        return {"weights": value, "activations": _ARITHMETIC.get(value, value), "kv": "bf16"}
    if isinstance(value, dict) and "weights" in value and "activations" not in value:
        weights = value["weights"]
        return {**value, "activations": _ARITHMETIC.get(weights, weights)}
    return value


#: A bare name, or a mapping.
PrecisionChoice = Annotated[Precision, BeforeValidator(_precision, json_schema_input_type=Precision | PrecisionName)]


class Parallelism(Part):
    """How one replica spreads its model over chips; it uses tensor × pipeline of them.

    Attributes
    ----------
    tensor : int
        Chips of one pipeline stage.
    pipeline : int
        Stages.
    expert : int
        Groups of those chips that hold different experts; within a group each expert is divided.
    attention_data : int
        Ranks of data-parallel attention: groups of those chips that each attend to sequences of their own.
    """

    tensor: Annotated[int, Field(ge=1, le=1024)] = 1
    pipeline: Annotated[int, Field(ge=1, le=1024)] = 1
    expert: Annotated[int, Field(ge=1, le=1024)] = 1
    attention_data: Annotated[int, Field(ge=1, le=1024)] = 1

    @property
    def chips(self) -> int:
        """Chips of one replica."""
        return self.tensor * self.pipeline

    @property
    def rank_chips(self) -> int:
        """Chips that attend to one sequence together."""
        return self.tensor // self.attention_data

    @model_validator(mode="after")
    def _groups_divide_the_stage(self) -> Parallelism:
        if self.expert > 1 and self.tensor % self.expert:
            msg = f"expert ({self.expert}) must divide tensor ({self.tensor}): experts are spread over the same chips"
            raise ValueError(msg)
        if self.attention_data > 1 and self.tensor % self.attention_data:
            msg = (
                f"attention_data ({self.attention_data}) must divide tensor ({self.tensor}): "
                "its ranks are groups of the same chips"
            )
            raise ValueError(msg)
        return self


class Batching(Part):
    """How one replica forms its steps, and in which order requests wait for them.

    Attributes
    ----------
    policy : Choice or None
        The batching policy; left out, the engine's own.
    order : Choice
        The order of the waiting queue.
    starvation_after : float or None
        Seconds after which a waiting request is overtaken no more.
    max_sequences : int
        Requests that run together.
    token_budget : int
        Tokens of one step.
    block_size : int
        Tokens of a KV block.
    kv : {"on_demand", "reserve"}
        Whether a request's KV grows as it goes, preempting others where it does not fit, or is reserved at admission.
    preemption : {"recompute", "swap"}
        Whether a preempted request computes its KV again, or has it moved to the first of the pool's `kv_tiers`.
    admission_interval : int
        While sequences decode, waiting prompts are looked at every so many steps (SGLang's
        ``--scheduler-recv-interval``).
    """

    policy: Choice | None = None
    order: Choice = PolicyChoice(policy="fcfs")
    starvation_after: PositiveTime | None = None
    max_sequences: Annotated[int, Field(ge=1, le=4096)] = 256
    token_budget: Annotated[int, Field(ge=1, le=1_000_000)] = 8192
    block_size: Annotated[int, Field(ge=1, le=1024)] = 16
    kv: Literal["on_demand", "reserve"] = "on_demand"
    preemption: Literal["recompute", "swap"] = "recompute"
    admission_interval: Annotated[int, Field(ge=1, le=1000)] = 1

    @model_validator(mode="after")
    def _every_sequence_gets_its_token(self) -> Batching:
        if self.token_budget < self.max_sequences:
            msg = (
                f"token_budget ({self.token_budget}) must be at least max_sequences ({self.max_sequences}): "
                "each running sequence needs one token per step"
            )
            raise ValueError(msg)
        return self


class MeasuredLatency(Part):
    """Step times from a table that was measured on this very deployment."""

    table: Annotated[str, Field(min_length=1)]


class KvTier(Part):
    """A store below the chips' own memory that keeps KV blocks: host memory, an SSD, a remote cache; per replica.

    Attributes
    ----------
    name : str
        What it is called in results.
    capacity : float
        Bytes it holds of one replica's blocks.
    bandwidth : float
        Bytes per second between it and the replica; transfers take turns.
    latency : float
        Seconds of one transfer, beside its bytes.
    survives : bool
        Whether it keeps its blocks when the replica crashes, as an SSD does and host memory does not.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_\-]*$")]
    capacity: Bytes
    bandwidth: BytesPerTime
    latency: Time = 0.0
    survives: bool = False


class KvLink(Part):
    """How KV blocks leave or reach a replica: bytes per second, and seconds of one transfer."""

    bandwidth: BytesPerTime
    latency: Time = 0.0


class PrefillIn(Part):
    """Where a pool's prompts are prefilled: in `pool`, if more than `above` of their tokens are in no cache here."""

    pool: Annotated[str, Field(min_length=1)]
    above: Annotated[int, Field(ge=0)] = 0


class Draft(Part):
    """What guesses the tokens that a target model verifies.

    Attributes
    ----------
    model : str or None
        A smaller model with the same vocabulary.
    layers : int or None
        A head of so many layers of the target's own width and its LM head (MTP, EAGLE: 1); 0 guesses from the text
        alone (n-gram lookup) and costs nothing.
    """

    model: Annotated[str, Field(min_length=1)] | None = None
    layers: Annotated[int, Field(ge=0, le=16)] | None = None

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Draft:
        if (self.model is None) == (self.layers is None):
            msg = "write either {model: NAME}, a draft model, or {layers: N}, a head of the target"
            raise ValueError(msg)
        return self


class Speculation(Part):
    """Speculative decoding: a step verifies `drafts` guessed tokens per sequence beside the one that is certain.

    Attributes
    ----------
    drafts : int
        Tokens the draft guesses per step, one after another.
    acceptance : float
        Probability that a guess is right where all before it were, for classes that state none.
    draft : Draft
        What guesses.
    """

    drafts: Annotated[int, Field(ge=1, le=16)]
    acceptance: Fraction
    draft: Draft


class Pool(Part):
    """Identical replicas at one site.

    `calibration` is ``shipped`` (what this package has of chip and engine, if it
    has), ``none`` (the class priors) or the path of a calibration file.
    `queue_limit` bounds the requests waiting in the whole pool, those that will
    start with the next step included; `memory_share` is the share of each
    chip's memory for weights, activations and KV cache; `kv_blocks` is the KV
    capacity of a replica where the engine has reported it. `latency` names a step
    table; without it, step times are analytic.

    `prefix_cache` keeps KV blocks after their request, for others that begin
    alike; `kv_tiers` are the stores, nearest first, that take what the chips
    evict. `prefill_in` has prompts prefilled by another pool, whose KV then comes
    over `kv_link`; left out, that is the scale-out network of the replica's chips.
    `also_serves` names further models, which a replica loads instead of `model`
    once nothing runs and the next request asks for one.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_\-]*$")]
    hardware: str
    replicas: Annotated[int, Field(ge=1, le=100_000)] = 1
    model: str
    also_serves: tuple[str, ...] = ()
    precision: Annotated[Precision, BeforeValidator(_precision, json_schema_input_type=Precision | PrecisionName)] = (
        Precision()
    )
    parallelism: Parallelism = Parallelism()
    engine: str = "vllm"
    batching: Batching = Batching()
    site: str = "us-east-virginia"
    queue_limit: Annotated[int, Field(ge=1)] | None = None
    price: PricePerTime | None = None
    price_includes_power: bool | None = None
    memory_share: Fraction | None = None
    kv_blocks: Annotated[int, Field(ge=1)] | None = None
    calibration: Annotated[str, Field(min_length=1)] = "shipped"
    latency: MeasuredLatency | None = None
    prefix_cache: bool = False
    kv_tiers: tuple[KvTier, ...] = ()
    kv_link: KvLink | None = None
    prefill_in: PrefillIn | None = None
    speculation: Speculation | None = None

    @model_validator(mode="after")
    def _swapped_somewhere(self) -> Pool:
        if self.batching.preemption == "swap" and not self.kv_tiers:
            msg = (
                "batching.preemption is swap, but there is nowhere to: "
                "give kv_tiers, say [{name: host, capacity: 64 GiB, bandwidth: 50 GB/s}]"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _names_are_told_apart(self) -> Pool:
        names = [tier.name for tier in self.kv_tiers]
        for name in names:
            if names.count(name) > 1:
                msg = f"kv_tiers has two tiers called {name!r}: give each a name of its own"
                raise ValueError(msg)
        if self.prefill_in is not None and self.prefill_in.pool == self.name:
            msg = f"prefill_in.pool is this pool, {self.name!r}: name another one, or leave prefill_in out"
            raise ValueError(msg)
        return self
