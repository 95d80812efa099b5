"""Embeddings, re-ranking, classification, audio, images: where they may run, and what they take."""

from __future__ import annotations

import numpy as np
import pytest

from inferencesim.ledger.sink import MemorySink
from inferencesim.scenario.scenario import Scenario
from inferencesim.simulation.engine import Simulation
from inferencesim.simulation.plan import make_plan

KINDS = {
    "embedding": ("bge-large-en-v1.5", {"prompt_tokens": 200}),
    "rerank": ("bge-reranker-v2-m3", {"prompt_tokens": 500}),
    "classify": ("llama-guard-3-8b", {"prompt_tokens": 300}),
    "transcription": ("whisper-large-v3", {"audio": 20, "prompt_tokens": 4, "tokens_per_second": 4}),
    "speech": ("moshi-7b", {"audio": 4, "reply": 6, "tokens_per_second": 12.5}),
    "vision": ("qwen2.5-vl-7b", {"prompt_tokens": 50, "images": 2, "tokens_per_image": 500, "output_tokens": 40}),
    "image": ("flux.1-dev", {"resolution": [512, 512], "steps": 10}),
}


def played(kind, model, rate=2.0, batching=None, **content):
    tree = {
        "name": "kinds",
        "horizon": 20,
        "pools": [
            {"name": "chat", "hardware": "nvidia-h100-sxm", "model": "llama-3.1-8b"},
            {
                "name": "made_for_it",
                "hardware": "nvidia-h100-sxm",
                "model": model,
                "batching": {"max_sequences": 16, **(batching or {})},
            },
        ],
        "workload": [
            {
                "name": "c",
                "kind": kind,
                "arrivals": {"process": "poisson", "rate": rate},
                "models": ["llama-3.1-8b", model],
                **content,
            }
        ],
    }
    sink = MemorySink()
    simulation = Simulation(make_plan(Scenario.model_validate(tree)), sink)
    simulation.run()
    return sink.tables(), simulation


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_runs_where_a_model_is_capable_of_it(kind):
    model, content = KINDS[kind]
    tables, _ = played(kind, model, **content)
    requests, decisions = tables["requests"].to_pandas(), tables["decisions"].to_pandas()
    assert len(requests) > 15
    assert (requests["outcome"] == "completed").all()
    assert (requests["pool"] == "made_for_it").all()
    assert (decisions["verdict_chat"] == "not_capable").all()


@pytest.mark.parametrize("kind", ["embedding", "rerank", "classify", "image"])
def test_what_generates_nothing_ends_with_its_prefill(kind):
    model, content = KINDS[kind]
    tables, simulation = played(kind, model, **content)
    requests = tables["requests"].to_pandas()
    np.testing.assert_allclose(requests["finished_s"], requests["first_token_s"])
    assert simulation.fleet.replicas["decode_tokens"].sum() == 0


def alone_ttft_s(kind, **changed):
    model, content = KINDS[kind]
    tables, _ = played(kind, model, rate=0.3, **(content | changed))
    return tables["requests"].to_pandas()["ttft_s"].min()


def test_more_steps_and_more_pixels_take_longer():
    once = alone_ttft_s("image")
    request_s = 0.03
    assert alone_ttft_s("image", steps=20) - request_s == pytest.approx(2 * (once - request_s), rel=0.2)
    assert alone_ttft_s("image", resolution=[1024, 1024]) > 2.5 * once


def test_an_encoder_takes_its_time_for_each_image():
    without = alone_ttft_s("vision", images=1, tokens_per_image=1000)
    assert alone_ttft_s("vision", images=2, tokens_per_image=500) > without


def test_audio_longer_than_a_window_takes_a_second_pass_of_the_encoder():
    assert alone_ttft_s("transcription", audio=40) > alone_ttft_s("transcription", audio=20)


def test_the_real_time_factor_is_of_the_audio():
    model, content = KINDS["transcription"]
    requests = played("transcription", model, **content)[0]["requests"].to_pandas()
    np.testing.assert_allclose(requests["real_time_factor"], requests["e2e_s"] / 20.0)
