"""What a scenario says about its load: classes of work, what is in their requests, and their promises."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import ConfigDict, Field, model_validator

from inferencesim.scenario.answers import Answers, Retry
from inferencesim.scenario.arrivals import Arrivals, ByTasks, Closed, TraceArrivals
from inferencesim.scenario.base import Fraction, Part, PositiveTime, Ratio, Time, Tokens, WholeTokens
from inferencesim.scenario.lengths import TimeLengths, TokenLengths
from inferencesim.scenario.library import class_names
from inferencesim.scenario.unions import refuse

#: Precisions from the least to the most precise: a class tolerates its own and everything after it.
PRECISION_ORDER = ("fp4", "int4", "fp8", "int8", "bf16")

Kind = Literal["chat", "embedding", "rerank", "classify", "transcription", "speech", "image", "vision"]

#: What a model must be able to do to take a kind of work; models list their capabilities by these names.
CAPABILITY: dict[Kind, str] = {
    "chat": "generate",
    "embedding": "embed",
    "rerank": "rerank",
    "classify": "classify",
    "transcription": "transcribe",
    "speech": "speak",
    "image": "image",
    "vision": "vision",
}


class _Rules(NamedTuple):
    """What a class of a kind may say.

    Parameters
    ----------
    content : tuple of str
        Fields that say what is in its requests; all are needed.
    either : tuple of str
        Further ones, of which exactly one is needed.
    answers : bool
        Whether tokens are generated one by one; else a prefill is all there is.
    shares : bool
        Whether prompts can begin with the same tokens. Behind cross-attention to audio even equal tokens differ.
    converses : bool
        Whether a request can build on the one before.
    traced : bool
        Whether prompt and output tokens, which traces have, say all there is to know.
    """

    content: tuple[str, ...]
    either: tuple[str, ...] = ()
    answers: bool = True
    shares: bool = True
    converses: bool = False
    traced: bool = False


_PREFILL_ONLY = _Rules(("prompt_tokens",), answers=False, traced=True)
_RULES: dict[Kind, _Rules] = {
    "chat": _Rules(("prompt_tokens", "output_tokens"), converses=True, traced=True),
    "embedding": _PREFILL_ONLY,
    "rerank": _PREFILL_ONLY,
    "classify": _PREFILL_ONLY,
    "transcription": _Rules(("prompt_tokens", "audio"), ("output_tokens", "tokens_per_second"), shares=False),
    "speech": _Rules(("audio", "reply", "tokens_per_second"), converses=True),
    "image": _Rules(("resolution", "steps"), answers=False, shares=False),
    "vision": _Rules(("prompt_tokens", "output_tokens", "images", "tokens_per_image"), converses=True),
}
_CONTENT = tuple(dict.fromkeys(name for rules in _RULES.values() for name in rules.content + rules.either))

#: Clients of a class that can hold conversations, and variants of a shared prefix: their ids have so many places.
MOST_TALKERS = 2**16
MOST_VARIANTS = 2**20


class Sessions(Part):
    """Each request belongs to one of `active` sessions, drawn evenly."""

    active: Annotated[int, Field(gt=0, lt=2**31)]


#: How soon answers are wanted, the soonest first; the kernel knows them by their places.
Sensitivity = Literal["interactive", "standard", "relaxed"]
SENSITIVITIES: tuple[Sensitivity, ...] = get_args(Sensitivity)


class Tags(Part):
    """What operators know of a class besides its numbers.

    Attributes
    ----------
    human_waiting : bool
        A person waits for the answer.
    batchable : bool
        The answer may wait until it is cheap.
    latency_sensitivity : str or None
        How soon answers are wanted, where the two above do not say it: see :attr:`sensitivity`.
    fallback_risk : str
        ``high``: only the first of the class's models will do; ``low``: any of them.
    tenant : str or None
        Whom the batching order ``vtc`` is fair to; without one, a class is a tenant of its own.
    """

    human_waiting: bool = False
    batchable: bool = False
    latency_sensitivity: Sensitivity | None = None
    fallback_risk: Literal["low", "high"] = "low"
    tenant: str | None = None

    @property
    def sensitivity(self) -> Sensitivity:
        """How soon answers are wanted: as stated, else by whether a person waits, or the answer may.

        The routing policy ``tag_aware`` goes by it.
        """
        if self.latency_sensitivity is not None:
            return self.latency_sensitivity
        if self.human_waiting:
            return "interactive"
        return "relaxed" if self.batchable else "standard"


class Promise(Part):
    """The promises of a class (see the glossary); null is not promised."""

    ttft: PositiveTime | None = None
    tpot: PositiveTime | None = None
    e2e: PositiveTime | None = None
    slowdown: Annotated[Ratio, Field(ge=1)] | None = None
    deadline: PositiveTime | None = None

    @model_validator(mode="after")
    def _possible(self) -> Promise:
        for name in ("e2e", "deadline"):
            limit = getattr(self, name)
            if limit is not None and self.ttft is not None and limit < self.ttft:
                refuse(f"{name} ({limit} s) is shorter than ttft ({self.ttft} s), which would then mean nothing")
        return self


class Cancellation(Part):
    """The client cancels this `share` of requests, `after` so long from arrival."""

    share: Fraction
    after: TimeLengths


class Active(Part):
    """When the class exists: arrivals lie in [from, to)."""

    from_s: Time = Field(default=0.0, alias="from")
    to_s: PositiveTime | None = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _forwards(self) -> Active:
        if self.to_s is not None and self.to_s <= self.from_s:
            refuse(f"to ({self.to_s} s) must be later than from ({self.from_s} s)")
        return self


class LengthPrediction(Part):
    """How well output lengths are predicted: ``true × bias × exp(sigma · z)`` with z standard normal.

    A `sigma` of zero without `bias` is an oracle. Reported errors of learned
    predictors are of the order of the length itself (sigma about 0.5 to 1).
    """

    sigma: Annotated[float, Field(ge=0, le=10)]
    bias: Ratio = 1.0


class SharedPrefix(Part):
    """Tokens with which every prompt begins, before its own: a system prompt, tools, a document.

    Each request, or each conversation as a whole, has one of `variants`, drawn
    evenly. Prompts of one variant share these tokens, those of two none.
    """

    tokens: WholeTokens
    variants: Annotated[int, Field(ge=1, le=MOST_VARIANTS)] = 1


class Conversation(Part):
    """Requests of a client that build on each other, turn by turn.

    A turn's prompt is the shared prefix, all earlier prompts and answers of
    the conversation, and this turn's own tokens, which `prompt_tokens` (or
    what the kind states instead) then describes. After `turns`, drawn for
    each conversation, or where prompt and answer would exceed `max_context`,
    the client begins another. An answer counts as given also where its
    request failed, so that every fleet meets the same conversations. The think
    time is the user's pause, or the time an agent's tool takes.
    """

    turns: TokenLengths
    max_context: Tokens | None = None


_Pixels = Annotated[int, Field(gt=0, le=2**14, multiple_of=16)]


def _or_like(schema: dict[str, Any]) -> None:
    """Say in the JSON Schema what a class of the library spares."""
    schema["properties"]["like"] = {"enum": [*class_names(), None], "description": "a class of the library"}
    schema["required"] = ["models"]
    schema["anyOf"] = [{"required": ["like"]}, {"required": ["name", "arrivals"]}]


class WorkloadClass(Part):
    """One kind of work.

    Attributes
    ----------
    like : str or None
        The class of the library that it took over what the scenario does not say; see :mod:`.library`.
    kind : str
        What is asked of a model; it decides which fields say what is in a
        request. Of ``chat``: `prompt_tokens` and `output_tokens`. Of
        ``embedding``, ``rerank`` and ``classify``: `prompt_tokens`; the whole
        answer comes out of the prefill, as one token. Of ``transcription``:
        `audio`, the decoder's `prompt_tokens`, and `output_tokens` or
        `tokens_per_second` of audio. Of ``speech``: `audio` heard and `reply`
        spoken, both at `tokens_per_second`. Of ``image``: `resolution` and
        `steps`. Of ``vision``: `prompt_tokens` of text, `images` and
        `tokens_per_image` beside them, `output_tokens`.
    prompt_tokens, output_tokens : distribution of tokens
        Lengths of prompts and answers; a prompt's come after its shared prefix and what its conversation said before.
    audio, reply : distribution of times
        Seconds of audio that go in, and that come out.
    tokens_per_second : float
        Tokens of one second of audio, of the models the class asks for.
    images, tokens_per_image : distribution, int
        Images of a request, and the prompt tokens each becomes.
    resolution : tuple of int
        Width and height of an image, in pixels, multiples of 16.
    steps : int
        Denoising steps, each a pass over all latent tokens of the image.
    shared_prefix, conversation : SharedPrefix, Conversation
        What prompts have in common.
    kv_after : str
        What becomes of a request's KV blocks after its answer, where there is
        a prefix cache: ``lru`` (evicted in their turn), ``keep`` (evicted only
        after all others), ``drop`` (freed at once).
    length_prediction : LengthPrediction or None
        What is known of an answer's length before it is given; None is the mean of the class.
    acceptance : float or None
        Probability that a drafted token is accepted under speculative decoding, given that those before it were;
        None is the pool's.
    origin : str or None
        Where its users are, or the agents that call it: a site, or a place of the scenario's `network`. The round trip
        from there to where a request is served is part of all its latencies but TPOT. None: next to every site.
    providers : str
        ``refused`` keeps its requests from outside providers.
    priority : int
        The lower, the sooner, where batching orders by it.
    retry : Retry or None
        What becomes of a request that is not answered; None is nothing.
    answers : Answers or None
        How good answers are; None is all good enough. With either, each request of a class that no task calls is a
        task of its own.
    """

    model_config = ConfigDict(json_schema_extra=_or_like)

    like: str | None = None
    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_\-]*$")]
    kind: Kind = "chat"
    arrivals: Arrivals
    prompt_tokens: TokenLengths | None = None
    output_tokens: TokenLengths | None = None
    audio: TimeLengths | None = None
    reply: TimeLengths | None = None
    tokens_per_second: Ratio | None = None
    images: TokenLengths | None = None
    tokens_per_image: WholeTokens | None = None
    resolution: tuple[_Pixels, _Pixels] | None = None
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    shared_prefix: SharedPrefix | None = None
    conversation: Conversation | None = None
    kv_after: Literal["lru", "keep", "drop"] = "lru"
    length_prediction: LengthPrediction | None = None
    acceptance: Fraction | None = None
    sessions: Sessions | None = None
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    precision: Literal["fp4", "int4", "fp8", "int8", "bf16"] | None = None
    residency: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    origin: str | None = None
    providers: Literal["allowed", "refused"] = "allowed"
    tags: Tags = Tags()
    priority: Annotated[int, Field(gt=-(2**31), lt=2**31)] = 0
    promise: Promise = Promise()
    timeout: PositiveTime | None = None
    retry: Retry | None = None
    answers: Answers | None = None
    cancellation: Cancellation | None = None
    active: Active = Active()

    @property
    def accepted_models(self) -> tuple[str, ...]:
        """Models that may serve it, the preferred first: with a high risk of falling back, that one alone."""
        return self.models[:1] if self.tags.fallback_risk == "high" else self.models

    @property
    def is_followed_up(self) -> bool:
        """Whether something may follow the end of a request: it is sent again, to another model, or to a person."""
        return self.retry is not None or self.answers is not None

    @property
    def has_content(self) -> bool:
        """Whether it says itself what is in its requests."""
        return any(getattr(self, name) is not None for name in _CONTENT)

    @property
    def is_traced(self) -> bool:
        """Whether prompt and output tokens, which traces have, say all there is to know of a request."""
        return _RULES[self.kind].traced

    @property
    def generates(self) -> bool:
        """Whether tokens are generated one by one after the prefill, which else is all there is."""
        return _RULES[self.kind].answers

    @model_validator(mode="after")
    def _content_of_its_kind(self) -> WorkloadClass:
        rules = _RULES[self.kind]
        given = [name for name in _CONTENT if getattr(self, name) is not None]
        if isinstance(self.arrivals, TraceArrivals):
            if not rules.traced:
                refuse(f"a trace says nothing of {rules.content[0]}, which kind {self.kind!r} needs")
            for name in given:
                refuse(f"a trace brings its own lengths: remove {name}")
            return self
        if isinstance(self.arrivals, ByTasks) and rules.traced and not given:
            # The calls of tasks from a trace have lengths of their own.
            return self
        known = rules.content + rules.either
        for name in given:
            if name not in known:
                refuse(f"remove {name}: requests of kind {self.kind!r} have {', '.join(known)}")
        for name in rules.content:
            if name not in given:
                refuse(f"{name} is missing: requests of kind {self.kind!r} have {', '.join(known)}")
        if rules.either and sum(name in given for name in rules.either) != 1:
            refuse(f"kind {self.kind!r} needs exactly one of {' and '.join(rules.either)}")
        return self

    @model_validator(mode="after")
    def _common_of_its_kind(self) -> WorkloadClass:
        rules = _RULES[self.kind]
        if self.shared_prefix is not None and not rules.shares:
            refuse(f"prompts of kind {self.kind!r} share no tokens: remove shared_prefix")
        if self.conversation is not None and not rules.converses:
            refuse(f"requests of kind {self.kind!r} do not build on each other: remove conversation")
        for name in ("length_prediction", "acceptance"):
            if getattr(self, name) is not None and not rules.answers:
                refuse(f"kind {self.kind!r} generates one token, in its prefill: remove {name}")
        return self

    @model_validator(mode="after")
    def _belongs_together_once(self) -> WorkloadClass:
        if isinstance(self.arrivals, TraceArrivals):
            for name, what in (("sessions", "sessions"), ("shared_prefix", "prompts, and what they share")):
                if getattr(self, name) is not None:
                    refuse(f"a trace brings its own {what}: remove {name}")
        if isinstance(self.arrivals, ByTasks):
            for name in ("sessions", "conversation", "cancellation"):
                if getattr(self, name) is not None:
                    refuse(f"what its calls have in common is their task's: remove {name}")
            if self.active != Active():
                refuse("its calls come when tasks make them: put active into the tasks")
        if self.is_followed_up and isinstance(self.arrivals, Closed):
            refuse("clients of a closed loop ask once and go on: remove retry and answers, or let tasks ask")
        if self.answers is not None:
            for name in self.answers.curves:
                if name not in self.models:
                    refuse(f"answers.curves: {name!r} is none of the class's models ({', '.join(self.models)})")
        if self.conversation is not None:
            if not isinstance(self.arrivals, Closed):
                refuse("only clients that wait for their answers hold conversations: make arrivals closed")
            if self.arrivals.clients > MOST_TALKERS:
                refuse(f"at most {MOST_TALKERS} clients of a class hold conversations: split the class")
            if self.sessions is not None:
                refuse("each conversation is a session of its own: remove sessions")
        return self
