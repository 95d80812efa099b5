"""What a class of work may say, and how a mistake in it is answered."""

from __future__ import annotations

import math

import pytest
import yaml
from pydantic import ValidationError

from inferencesim.scenario.arrivals import AtOnce, Closed, Poisson, RegisteredArrivals, TraceArrivals
from inferencesim.scenario.lengths import Fixed, Histogram, Lognormal, RegisteredDistribution
from inferencesim.scenario.workload import CAPABILITY, WorkloadClass

CHAT = """
name: chat
arrivals: {process: poisson, rate: 40/s, profile: {shape: diurnal, peak_to_trough: 2.0, peak_at: 14h}}
prompt_tokens: {distribution: lognormal, median: 1020, p95: 4083, max: 8k tokens}
output_tokens: 211
sessions: {active: 200}
models: [llama-3.1-70b]
precision: fp8
residency: [us, eu]
tags: {human_waiting: true, batchable: false, tenant: acme}
promise: {ttft: 1s, tpot: 50ms, e2e: null, slowdown: 3, deadline: 10min}
timeout: 30s
cancellation: {share: 2%, after: {distribution: uniform, low: 1s, high: 1min}}
active: {from: 0s, to: 1h}
"""


def chat(**changed):
    return yaml.safe_load(CHAT) | changed


def refused(**changed):
    with pytest.raises(ValidationError) as caught:
        WorkloadClass.model_validate(chat(**changed))
    return str(caught.value)


def test_a_full_class_is_read_into_seconds_and_tokens():
    cls = WorkloadClass.model_validate(chat())
    assert isinstance(cls.arrivals, Poisson)
    assert cls.arrivals.rate == 40.0
    assert cls.arrivals.profile.peak_at == 14 * 3600
    assert isinstance(cls.prompt_tokens, Lognormal)
    assert cls.prompt_tokens.max == 8000
    assert isinstance(cls.output_tokens, Fixed)
    assert cls.output_tokens.value == 211
    assert cls.promise.tpot == pytest.approx(0.05)
    assert cls.promise.e2e is None
    assert cls.timeout == 30.0
    assert cls.cancellation.share == pytest.approx(0.02)
    assert cls.cancellation.after.high == 60.0
    assert (cls.active.from_s, cls.active.to_s) == (0.0, 3600.0)
    assert cls.tags.tenant == "acme"


def test_what_is_optional_may_be_left_out():
    cls = WorkloadClass.model_validate(
        {"name": "a", "arrivals": {"process": "poisson", "rate": 1}, "prompt_tokens": 1, "output_tokens": 1}
        | {"models": ["m"]}
    )
    assert cls.precision is None
    assert cls.residency is None
    assert cls.timeout is None
    assert cls.cancellation is None
    assert cls.promise.ttft is None


def test_every_process_is_told_apart():
    closed = {"process": "closed", "clients": 5, "think_time": "10s"}
    assert isinstance(WorkloadClass.model_validate(chat(arrivals=closed)).arrivals, Closed)
    burst = {"process": "burst", "requests": 500}
    assert isinstance(WorkloadClass.model_validate(chat(arrivals=burst)).arrivals, AtOnce)
    trace = chat(arrivals={"process": "trace", "file": "a.csv", "window": {"from": "1h", "length": "10min"}})
    for name in ("prompt_tokens", "output_tokens", "sessions"):
        del trace[name]
    arrivals = WorkloadClass.model_validate(trace).arrivals
    assert isinstance(arrivals, TraceArrivals)
    assert arrivals.window.from_s == 3600.0
    assert arrivals.spread == "auto"


def test_processes_and_distributions_of_other_packages_carry_their_parameters():
    cls = WorkloadClass.model_validate(
        chat(
            arrivals={"process": "comb", "rate": "2/s", "parameters": {"teeth": 3}},
            output_tokens={"distribution": "zipf", "parameters": {"s": 1.2}},
        )
    )
    assert isinstance(cls.arrivals, RegisteredArrivals)
    assert isinstance(cls.output_tokens, RegisteredDistribution)


@pytest.mark.parametrize(
    ("spec", "sigma"),
    [
        ({"median": 100, "sigma": 0.7}, 0.7),
        ({"median": 100, "p95": 100 * math.exp(0.7 * 1.6448536269514722)}, 0.7),
        ({"median": 100, "mean": 100 * math.exp(0.7**2 / 2)}, 0.7),
    ],
)
def test_three_ways_to_say_one_lognormal_agree(spec, sigma):
    cls = WorkloadClass.model_validate(chat(output_tokens={"distribution": "lognormal", **spec}))
    assert cls.output_tokens.log_sigma == pytest.approx(sigma)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"arrivals": {"process": "poison", "rate": 1}}, "Did you mean 'poisson'"),
        ({"arrivals": {"process": "poisson", "rate": "-4/s"}}, "greater than 0"),
        ({"arrivals": {"rate": 4}}, "'process' is missing"),
        ({"arrivals": 5}, "expected a mapping"),
        ({"arrivals": {"process": "gamma", "rate": 4}}, "cv"),
        ({"arrivals": {"process": "gamma", "rate": 4, "cv": 0}}, "greater than 0"),
        ({"arrivals": {"process": "poisson", "rate": 4, "cv": 2}}, "Extra inputs"),
        ({"arrivals": {"process": "closed", "clients": 0, "think_time": 1}}, "greater than 0"),
        ({"arrivals": {"process": "closed", "clients": 1, "think_time": 1, "requests": 0}}, "greater than 0"),
        ({"arrivals": {"process": "burst", "requests": 0}}, "greater than 0"),
        ({"arrivals": {"process": "burst", "rate": 4}}, "requests"),
        ({"arrivals": {"process": "trace", "file": "a.csv"}}, "brings its own lengths"),
        ({"output_tokens": None}, "output_tokens is missing"),
        ({"output_tokens": 0}, "greater than 0"),
        ({"output_tokens": {"distribution": "lognromal", "median": 4}}, "Did you mean 'lognormal'"),
        ({"output_tokens": {"distribution": "lognormal", "median": 4}}, "exactly one of p95, sigma or mean"),
        ({"output_tokens": {"distribution": "lognormal", "median": 4, "p95": 9, "mean": 5}}, "exactly one"),
        ({"output_tokens": {"distribution": "lognormal", "median": 4, "mean": 3}}, "below its median"),
        (
            {"output_tokens": {"distribution": "lognormal", "median": 4, "sigma": 1, "min": 9, "max": 5}},
            "below min",
        ),
        ({"output_tokens": {"distribution": "uniform", "low": 4, "high": 3}}, "below low"),
        ({"output_tokens": {"distribution": "histogram", "weights": [1]}}, "either edges or values"),
        (
            {"output_tokens": {"distribution": "histogram", "edges": [1, 2], "weights": [1, 2]}},
            "need 3 edges",
        ),
        ({"output_tokens": {"distribution": "histogram", "edges": [2, 1], "weights": [1]}}, "must increase"),
        ({"output_tokens": {"distribution": "histogram", "values": [2], "weights": [0]}}, "all be zero"),
        (
            {"output_tokens": {"distribution": "histogram", "values": [2], "weights": [1, 2]}},
            "as many weights",
        ),
        ({"models": []}, "at least 1"),
        ({"kind": "telepathy"}, "'transcription'"),
        ({"precision": "fp7"}, "fp8"),
        ({"residency": []}, "at least 1"),
        ({"promise": {"ttft": "2s", "e2e": "1s"}}, "shorter than ttft"),
        ({"promise": {"slowdown": 0.5}}, "greater than or equal to 1"),
        ({"cancellation": {"share": 1.5, "after": "1s"}}, "less than or equal to 1"),
        ({"active": {"from": "2h", "to": "1h"}}, "later than from"),
        ({"timeout": "0s"}, "greater than 0"),
        ({"timeuot": "1s"}, "Extra inputs"),
    ],
)
def test_a_mistake_is_refused_with_its_reason(changed, message):
    assert message in refused(**changed)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"shape": "weekly"}, "unknown shape 'weekly'"),
        ({"shape": "diurnal", "peak_to_trough": 0.5}, "greater than or equal to 1"),
        ({"shape": "burst", "factor": 2, "length": "2h", "every": "1h"}, "overlap"),
        ({"shape": "table", "times": [0, 1], "factors": [1]}, "as many factors"),
        ({"shape": "table", "times": [1], "factors": [1]}, "must be 0s"),
        ({"shape": "table", "times": [0, 2, 1], "factors": [1, 1, 1]}, "must increase"),
        ({"shape": "table", "times": [0, 2], "factors": [1, 1], "period": 2}, "longer than the last"),
        ({"shape": "table", "times": [0], "factors": [0]}, "all be zero"),
    ],
)
def test_an_impossible_profile_is_refused(profile, message):
    assert message in refused(arrivals={"process": "poisson", "rate": 1, "profile": profile})


def test_a_class_survives_being_written_and_read_again():
    cls = WorkloadClass.model_validate(chat())
    assert WorkloadClass.model_validate(cls.model_dump(by_alias=True)) == cls
    assert WorkloadClass.model_validate(yaml.safe_load(yaml.safe_dump(cls.model_dump(mode="json", by_alias=True))))


CLOSED = {"process": "closed", "clients": 3, "think_time": "5s"}
TRACE = {"process": "trace", "file": "a.csv"}
GROWING = {"turns": {"distribution": "uniform", "low": 2, "high": 9}, "max_context": "32k tokens"}
KINDS = {
    "chat": {"prompt_tokens": 100, "output_tokens": 10},
    "embedding": {"prompt_tokens": 400},
    "rerank": {"prompt_tokens": 400},
    "classify": {"prompt_tokens": 400},
    "transcription": {"prompt_tokens": 4, "audio": "20s", "tokens_per_second": 4},
    "speech": {"audio": "5s", "reply": "8s", "tokens_per_second": 12.5},
    "image": {"resolution": [1024, 768], "steps": 28},
    "vision": {"prompt_tokens": 50, "output_tokens": 90, "images": 2, "tokens_per_image": 1200},
}


def of_kind(kind, **said):
    bare = {"name": "a", "kind": kind, "arrivals": {"process": "poisson", "rate": 1}, "models": ["m"]}
    return {key: value for key, value in (bare | KINDS[kind] | said).items() if value is not None}


def refused_of_kind(kind, **said):
    with pytest.raises(ValidationError) as caught:
        WorkloadClass.model_validate(of_kind(kind, **said))
    return str(caught.value)


def test_what_engines_need_to_know_of_a_class_is_read():
    cls = WorkloadClass.model_validate(
        of_kind(
            "chat",
            arrivals=CLOSED,
            priority=-2,
            acceptance="80%",
            kv_after="keep",
            length_prediction={"sigma": 0.5},
            shared_prefix={"tokens": "2k tokens", "variants": 3},
            conversation=GROWING,
        )
    )
    assert (cls.priority, cls.acceptance, cls.kv_after) == (-2, 0.8, "keep")
    assert (cls.length_prediction.sigma, cls.length_prediction.bias) == (0.5, 1.0)
    assert (cls.shared_prefix.tokens, cls.shared_prefix.variants) == (2000, 3)
    assert isinstance(cls.shared_prefix.tokens, int)
    assert cls.conversation.max_context == 32000
    assert WorkloadClass.model_validate(cls.model_dump(by_alias=True)) == cls


def test_left_out_none_of_it_is_there():
    cls = WorkloadClass.model_validate(of_kind("chat"))
    assert (cls.kind, cls.priority, cls.kv_after) == ("chat", 0, "lru")
    for name in ("acceptance", "length_prediction", "shared_prefix", "conversation"):
        assert getattr(cls, name) is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"priority": 0.5}, "integer"),
        ({"acceptance": 1.2}, "less than or equal to 1"),
        ({"kv_after": "burn"}, "'lru', 'keep' or 'drop'"),
        ({"length_prediction": {"sigma": -1}}, "greater than or equal to 0"),
        ({"length_prediction": {"sigma": 1, "bias": 0}}, "greater than 0"),
        ({"shared_prefix": {"tokens": 0}}, "greater than or equal to 1"),
        ({"shared_prefix": {"tokens": 9, "variants": 0}}, "greater than or equal to 1"),
        ({"shared_prefix": {"tokens": 9}, "arrivals": TRACE} | dict.fromkeys(KINDS["chat"]), "remove shared_prefix"),
        ({"conversation": GROWING}, "make arrivals closed"),
        ({"conversation": GROWING, "arrivals": CLOSED | {"clients": 70000}}, "split the class"),
        ({"conversation": GROWING, "arrivals": CLOSED, "sessions": {"active": 2}}, "remove sessions"),
        ({"conversation": {"max_context": 4}, "arrivals": CLOSED}, "turns"),
    ],
)
def test_what_cannot_be_meant_is_refused(changed, message):
    assert message in refused_of_kind("chat", **changed)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_states_what_is_in_its_requests_and_nothing_else(kind):
    assert WorkloadClass.model_validate(of_kind(kind)).kind == kind
    for name in KINDS[kind]:
        message = refused_of_kind(kind, **{name: None})
        assert f"{name} is missing" in message or "exactly one of" in message
    every = {name: value for content in KINDS.values() for name, value in content.items()}
    for name in every.keys() - KINDS[kind].keys() - {"tokens_per_second", "output_tokens"}:
        assert f"remove {name}" in refused_of_kind(kind, **{name: every[name]})


def test_every_kind_asks_for_a_capability():
    assert CAPABILITY.keys() == KINDS.keys()


@pytest.mark.parametrize(
    ("kind", "changed", "message"),
    [
        ("embedding", {"output_tokens": 3}, "remove output_tokens"),
        ("embedding", {"acceptance": 0.5}, "remove acceptance"),
        ("image", {"length_prediction": {"sigma": 1}}, "remove length_prediction"),
        ("image", {"shared_prefix": {"tokens": 9}}, "remove shared_prefix"),
        ("image", {"resolution": [1000, 768]}, "multiple of 16"),
        ("image", {"steps": 0}, "greater than or equal to 1"),
        ("transcription", {"output_tokens": 90}, "exactly one of output_tokens and tokens_per_second"),
        ("transcription", {"conversation": GROWING, "arrivals": CLOSED}, "remove conversation"),
        ("vision", {"arrivals": TRACE}, "a trace says nothing of"),
        ("embedding", {"arrivals": TRACE}, "remove prompt_tokens"),
    ],
)
def test_a_kind_refuses_what_it_cannot_be(kind, changed, message):
    assert message in refused_of_kind(kind, **changed)


def test_prompts_of_a_trace_can_be_embedded():
    cls = WorkloadClass.model_validate(of_kind("embedding", arrivals=TRACE, prompt_tokens=None))
    assert cls.kind == "embedding"


def test_a_histogram_may_have_bins_or_values():
    spec = {"distribution": "histogram", "edges": ["0s", "1min"], "weights": [1]}
    cls = WorkloadClass.model_validate(chat(arrivals={"process": "closed", "clients": 1, "think_time": spec}))
    assert isinstance(cls.arrivals.think_time, Histogram)
    assert cls.arrivals.think_time.edges == (0.0, 60.0)
