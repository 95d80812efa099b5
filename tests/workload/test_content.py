"""What is in requests: kinds of work, shared prefixes, and what is predicted of answers."""

from __future__ import annotations

import numpy as np
import pytest

from inferencesim.scenario.workload import WorkloadClass
from inferencesim.workload.closed import draw_turns, mean_lengths
from inferencesim.workload.load import generate_load

POISSON = {"process": "poisson", "rate": 20}
CLOSED = {"process": "closed", "clients": 3, "think_time": "5s"}
SECONDS = {"distribution": "uniform", "low": "10s", "high": "50s"}
KINDS = {
    "chat": {"prompt_tokens": 100, "output_tokens": {"distribution": "lognormal", "median": 200, "sigma": 0.7}},
    "embedding": {"prompt_tokens": 400},
    "rerank": {"prompt_tokens": 400},
    "classify": {"prompt_tokens": 400},
    "transcription": {"prompt_tokens": 4, "audio": SECONDS, "tokens_per_second": 4},
    "speech": {"audio": SECONDS, "reply": SECONDS, "tokens_per_second": 12.5},
    "image": {"resolution": [1024, 512], "steps": 28},
    "vision": {
        "prompt_tokens": 50,
        "output_tokens": 90,
        "images": {"distribution": "uniform", "low": 1, "high": 3},
        "tokens_per_image": 1200,
    },
}


def of_kind(kind, arrivals=POISSON, **said):
    return WorkloadClass.model_validate(
        {"name": kind, "kind": kind, "arrivals": arrivals, "models": ["m"], **KINDS[kind], **said}
    )


def load_of(*classes, seed=7):
    return generate_load(classes, 100.0, seed, None)


@pytest.mark.parametrize("kind", ["embedding", "rerank", "classify"])
def test_a_prefill_is_all_there_is_to_an_embedding_and_its_like(kind):
    load = load_of(of_kind(kind))
    assert set(load.prompt_tokens) == {400}
    assert set(load.output_tokens) == {1}


def test_a_trace_of_chats_can_be_embedded(tmp_path):
    (tmp_path / "a.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n")
    replay = {"name": "a", "arrivals": {"process": "trace", "file": "a.csv"}, "models": ["m"]}
    classes = [WorkloadClass.model_validate(replay | said) for said in ({"kind": "embedding"}, {"name": "b"})]
    load = generate_load(classes, 100.0, 7, tmp_path)
    assert load.prompt_tokens.tolist() == [374, 374]
    assert load.output_tokens.tolist() == [1, 44]


def test_a_transcription_hears_whole_windows_and_writes_by_the_second():
    load = load_of(of_kind("transcription"))
    assert set(load.prompt_tokens) == {4}
    assert (load.media_s >= 10).all()
    assert (load.media_s <= 50).all()
    assert np.array_equal(load.media_units, np.where(load.media_s > 30, 2, 1))
    assert np.abs(load.output_tokens - 4 * load.media_s).max() <= 0.5
    written = load_of(of_kind("transcription", tokens_per_second=None, output_tokens=77))
    assert set(written.output_tokens) == {77}
    assert np.array_equal(written.media_s, load.media_s)


def test_speech_counts_what_is_heard_and_what_is_said_in_tokens():
    load = load_of(of_kind("speech"))
    assert np.abs(load.prompt_tokens - 12.5 * load.media_s).max() <= 0.5
    assert load.media_units == pytest.approx(load.media_s / 30)
    assert load.output_tokens.min() >= 125
    assert load.output_tokens.max() <= 625
    assert not np.array_equal(load.prompt_tokens, load.output_tokens)


def test_an_image_is_as_many_tokens_as_its_steps_pass_over():
    load = load_of(of_kind("image"))
    assert set(load.prompt_tokens) == {28 * 64 * 32}
    assert set(load.output_tokens) == {1}
    assert not load.media_units.any()


def test_images_seen_add_their_tokens_to_the_prompt():
    load = load_of(of_kind("vision"))
    assert set(load.media_units) == {1, 2, 3}
    assert np.array_equal(load.prompt_tokens, 50 + 1200 * load.media_units)
    assert set(load.output_tokens) == {90}
    assert not load.media_s.any()


@pytest.mark.parametrize("kind", KINDS)
def test_clients_that_wait_ask_for_every_kind_with_the_same_means(kind):
    cls = of_kind(kind, CLOSED)
    turns = [draw_turns(cls, 3, 100, block) for block in range(2)]
    load = load_of(of_kind(kind, POISSON | {"rate": 50}))
    for place, name in enumerate(("prompt_tokens", "output_tokens", "media_units", "media_s")):
        drawn = np.mean([getattr(each, name) for each in turns])
        assert drawn == pytest.approx(getattr(load, name).mean(), rel=0.05), name
        if place < 2:
            assert drawn == pytest.approx(mean_lengths(cls)[place], rel=0.05), name


def test_a_shared_prefix_comes_before_every_prompt():
    bare, behind = (
        load_of(of_kind("chat", prompt_tokens=p, **said))
        for p in ({"distribution": "uniform", "low": 5, "high": 50},)
        for said in ({}, {"shared_prefix": {"tokens": 2000, "variants": 3}})
    )
    assert np.array_equal(behind.prompt_tokens, 2000 + bare.prompt_tokens)
    assert set(bare.prefix) == {-1}
    assert set(behind.prefix) == {0, 1, 2}


def test_prefixes_of_two_classes_differ_and_none_is_a_conversation():
    shared = {"shared_prefix": {"tokens": 10, "variants": 2}}
    load = load_of(of_kind("chat", name="a", **shared), of_kind("chat", name="b", **shared))
    assert set(load.prefix[load.class_index == 0]) == {0, 1}
    assert set(load.prefix[load.class_index == 1]) == {2**20, 2**20 + 1}
    assert set(load.history) == {-1}
    assert set(draw_turns(of_kind("chat", CLOSED, **shared), 3, 9, 0, index=1).prefix.ravel()) == {2**20, 2**20 + 1}


def test_without_prediction_nothing_is_known_of_an_answer():
    assert np.isnan(load_of(of_kind("chat")).predicted_tokens).all()
    assert np.isnan(draw_turns(of_kind("chat", CLOSED), 3, 2, 0).predicted_tokens).all()


@pytest.mark.parametrize("arrivals", [POISSON, CLOSED])
def test_a_prediction_errs_by_its_sigma_and_its_bias(arrivals):
    def error(**prediction):
        cls = of_kind("chat", arrivals, length_prediction=prediction)
        drawn = draw_turns(cls, 3, 100, 0) if arrivals is CLOSED else load_of(cls)
        return np.log(drawn.predicted_tokens / drawn.output_tokens)

    assert not error(sigma=0).any()
    spreads = [error(sigma=sigma).std() for sigma in (0.2, 0.5, 1.0)]
    assert spreads == pytest.approx([0.2, 0.5, 1.0], rel=0.1)
    assert error(sigma=0, bias=2) == pytest.approx(np.log(2))


def test_a_task_is_predicted_alike_whatever_its_arrivals_are():
    cls = of_kind("chat", length_prediction={"sigma": 0.5})
    gamma = of_kind("chat", {"process": "gamma", "rate": 5, "cv": 3}, length_prediction={"sigma": 0.5})
    often, seldom = load_of(cls).predicted_tokens, load_of(gamma).predicted_tokens
    n = min(len(often), len(seldom))
    assert n > 50
    assert np.array_equal(often[:n], seldom[:n])
