"""Where the time of requests went, how far apart tokens came, what caches found and what chips achieved."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.small import closed, pool, run, scenario, work

from inferencesim.deployment.work import Counts, peak_rates
from inferencesim.deployment.work import work as work_of
from inferencesim.kernel.gaps import BINS, SHORTEST_S
from inferencesim.ledger.columns import TIME_PARTS
from inferencesim.results.distributions import gap_distribution
from inferencesim.results.summarise import summarise

#: Every step of the constant chip, seconds.
STEP = 0.01
ONE_AT_A_TIME = {"max_sequences": 1, "token_budget": 4096}


def burst(requests, **said):
    return {"arrivals": {"process": "burst", "requests": requests}, **said}


def summary_of(*said, **more):
    return summarise(run(scenario(*said, **more)).result)


class TestTimeParts:
    def test_one_after_the_other_by_hand(self):
        """Forty tokens are prefilled in a step; twenty are made, in it and in nineteen more. The second waits."""
        played = run(scenario([pool("p", "constant-chip", batching=ONE_AT_A_TIME)], [work(**burst(2))]))
        first, second = (played.requests.iloc[i] for i in range(2))
        for each, waited in ((first, 0.0), (second, 20 * STEP)):
            assert each[list(TIME_PARTS)].tolist() == pytest.approx([waited, STEP, 19 * STEP, 0.0, 0.0, 0.0])
        parts = summarise(played.result).classes[0].time_parts
        assert parts.waiting_s == pytest.approx(10 * STEP)
        assert (parts.prefill_s, parts.decode_s) == pytest.approx((STEP, 19 * STEP))
        assert (parts.transfer_s, parts.preempted_s, parts.network_s) == pytest.approx((0.0, 0.0, 0.0), abs=1e-7)

    def test_the_way_to_the_client_is_the_network_s(self):
        played = run(scenario([pool("p", "constant-chip", engine="vllm")], [work(**burst(3))]))
        request_s = played.plan.pools[0].deployment.coefficients.engine_request_s
        assert request_s > 0.0
        assert played.requests["network_s"].tolist() == pytest.approx([request_s] * 3)

    @pytest.mark.parametrize(
        "said",
        [
            {"kv_blocks": 12, "batching": {"max_sequences": 8, "token_budget": 64}},
            {
                "kv_blocks": 12,
                "batching": {"max_sequences": 8, "token_budget": 64, "preemption": "swap"},
                "kv_tiers": [{"name": "host", "capacity": "1 GB", "bandwidth": "100 MB/s"}],
            },
            {"prefill_in": {"pool": "fill", "above": 30}, "kv_link": {"bandwidth": "20 MB/s", "latency": "1ms"}},
            {"prefix_cache": True, "batching": {"policy": "prefill_first"}, "engine": "vllm"},
        ],
        ids=["preempted", "swapped", "prefilled elsewhere", "cached"],
    )
    def test_they_sum_to_the_e2e(self, said):
        pools = [pool("p", **said)] + [pool("fill")] * ("prefill_in" in said)
        classes = [
            work("a", rate=120.0, prompt=60, output=30, active={"to": 1.0}),
            work("b", rate=40.0, prompt=20, shared_prefix={"tokens": 32}, active={"to": 1.0}),
        ]
        played = run(scenario(pools, classes, horizon=10.0))
        requests = played.requests
        assert (requests["outcome"] == "completed").all()
        np.testing.assert_allclose(requests[list(TIME_PARTS)].sum(axis=1), requests["e2e_s"], atol=1e-9)
        summary = summarise(played.result)
        for each in (*summary.classes, summary.fleet):
            parts = [getattr(each.time_parts, name) for name in TIME_PARTS]
            assert sum(parts) == pytest.approx(each.e2e_s.mean, rel=1e-5)
        if "kv_blocks" in said:
            assert summary.fleet.time_parts.preempted_s > 0.0
            assert summary.pools[0].preemptions == played.requests["preemptions"].sum() > 0
        if "prefill_in" in said:
            assert summary.classes[0].time_parts.transfer_s > 0.001

    def test_there_are_none_of_a_class_nobody_asked(self):
        nobody = work("never", active={"from": 1.5})
        nobody["arrivals"] = {"process": "burst", "requests": 1}
        summary = summary_of([pool("p")], [work("c"), nobody], horizon=1.4)
        assert summary.classes[1].time_parts.decode_s is None
        assert summary.classes[1].itl_s.p50 is None


class TestItl:
    def test_every_gap_of_a_constant_chip_is_a_step(self):
        itl = summary_of([pool("p", "constant-chip")], [work(**burst(5))]).classes[0].itl_s
        for value in (itl.mean, itl.p50, itl.p90, itl.p99):
            assert value == pytest.approx(STEP, rel=0.008)

    def test_percentiles_are_over_tokens(self):
        """Requests run alone, so that each of their gaps is known: the step over the context there is by then."""
        lengths = [(500, 60), (10_000, 40), (30_000, 25)]
        classes = [work(f"c{p}", prompt=p, output=n, **burst(1)) for p, n in lengths]
        served = [pool("p", batching={"max_sequences": 1, "token_budget": 100_000})]
        played = run(scenario(served, classes, horizon=300.0))
        assert played.requests["finished_s"].max() < 300.0
        summary = summarise(played.result)
        deployment = played.plan.pools[0].deployment
        gaps = [[deployment.decode_s(1, p + i) for i in range(1, n)] for p, n in lengths]
        for each, exact in [*zip(summary.classes, gaps, strict=True), (summary.fleet, [*gaps[0], *gaps[1], *gaps[2]])]:
            for name, percentage in (("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99)):
                expected = np.percentile(exact, percentage, method="inverted_cdf")
                assert getattr(each.itl_s, name) == pytest.approx(expected, rel=0.016)
            assert each.itl_s.mean == pytest.approx(np.mean(exact), rel=0.016)

    def test_what_was_made_in_the_warm_up_does_not_count(self):
        pools, classes = [pool("p", "constant-chip", batching=ONE_AT_A_TIME)], [work(**burst(2))]
        played = run(scenario(pools, classes, warm_up=0.205, horizon=1.0))
        assert played.result.gaps.sum() == pytest.approx(19)
        assert played.fleet.gaps.sum() == pytest.approx(38)

    def test_tokens_that_come_together_have_no_gap_between_them(self):
        counts = np.zeros(BINS)
        counts[0], counts[1] = 3.0, 1.0
        found = gap_distribution(counts)
        assert found.p50 == 0.0
        assert found.p90 == pytest.approx(SHORTEST_S, rel=0.008)
        assert found.mean == pytest.approx(SHORTEST_S / 4.0, rel=0.008)
        assert gap_distribution(np.zeros(BINS)).mean is None


class TestCacheHits:
    def prompts(self):
        """Five requests one after the other, whose 72 tokens begin with the same 32."""
        return work(prompt=40, shared_prefix={"tokens": 32}, **burst(5))

    def test_all_but_the_first_find_the_shared_prefix(self):
        played = run(scenario([pool("p", prefix_cache=True, batching=ONE_AT_A_TIME)], [self.prompts()]))
        assert sorted(played.requests["cached_tokens"]) == [0, 32, 32, 32, 32]
        summary = summarise(played.result)
        for each in (summary.classes[0], summary.fleet, summary.pools[0]):
            assert each.prefix_hit_rate == pytest.approx(4 * 32 / (5 * 72))
        series = played.frame("series")
        assert series["prefix_hit_rate"].max() == pytest.approx(32 / 72)
        # Each left its own three full blocks behind (five tokens are of no full block), and the prefix two.
        capacity = played.fleet.pools["capacity"][0]
        kept = played.fleet.caches.caches["idle"][0]
        assert kept >= 2 + 5 * 2
        assert series["cached_share"].iloc[-1] == pytest.approx(kept / capacity)

    def test_only_what_was_admitted_in_the_window_counts(self):
        played = run(scenario([pool("p", "constant-chip", prefix_cache=True, batching=ONE_AT_A_TIME)],
                              [self.prompts()], warm_up=0.05))  # fmt: skip
        summary = summarise(played.result)
        assert summary.fleet.prefix_hit_rate == pytest.approx(32 / 72)
        assert summary.pools[0].prefix_hit_rate == pytest.approx(32 / 72)

    def test_without_a_cache_there_is_no_rate(self):
        played = run(scenario([pool("p", batching=ONE_AT_A_TIME)], [self.prompts()]))
        summary = summarise(played.result)
        assert [each.prefix_hit_rate for each in (summary.classes[0], summary.fleet, summary.pools[0])] == [None] * 3
        assert played.frame("series")["prefix_hit_rate"].isna().all()


class TestUtilisation:
    #: Of one request alone, 40 tokens in and 20 out, on a replica of its own.
    COUNTS = Counts(
        decodes=19.0, decode_context=sum(40 + i for i in range(1, 20)),
        decode_window_context=sum(40 + i for i in range(1, 20)),
        prefill_tokens=40.0, prefill_pairs=40.0 * 20.0, prefill_window_pairs=40.0 * 20.0, prefill_context=40.0,
        prefill_window_context=40.0, chunks=1.0, ends=1.0, passes=20.0,
    )  # fmt: skip

    def test_mfu_and_mbu_are_work_over_peaks(self):
        played = run(scenario([pool("p", replicas=2, batching=ONE_AT_A_TIME)], [work(**burst(6))], horizon=3.0))
        summary = summarise(played.result)
        deployment = played.plan.pools[0].deployment
        done, peaks = work_of(deployment, self.COUNTS), peak_rates(deployment)
        busy_s = played.result.end.busy_s[0]
        found = summary.pools[0]
        assert found.mfu == pytest.approx(6 * done.flops / (peaks.flops * busy_s))
        assert found.mbu == pytest.approx(6 * done.bytes / (peaks.bytes * busy_s))
        assert found.mfu_wall == pytest.approx(6 * done.flops / (peaks.flops * 2 * 3.0))
        assert found.mbu_wall == pytest.approx(6 * done.bytes / (peaks.bytes * 2 * 3.0))
        assert 0.0 < found.mfu < 1.0
        assert 0.0 < found.mbu < 1.0

    def test_a_run_of_steps_is_counted_as_it_goes(self):
        """Nothing happens for thousands of steps: the kernel makes one segment of them, over many samples."""
        long = work(prompt=1000, output=40_000, **burst(1))
        played = run(scenario([pool("p")], [long], horizon=8.0, recording={"series_interval": 0.5}))
        series = played.frame("series")
        series = series[(series["time_s"] > 0.5) & (series["time_s"] <= 8.0)]
        assert (series["mfu"] > 0.0).all()
        assert series["mbu"].min() > 0.9 * series["mbu"].max()
        assert series["mbu"].max() < 1.0
        assert (series["utilisation"] > 0.999).all()
        # And what was counted on the way has not been counted twice.
        assert played.fleet.counts["decodes"][0] <= 40_000

    def test_an_idle_pool_has_none(self):
        found = summary_of([pool("p"), pool("q", "fast-chip")], [work(**burst(1))]).pools[0]
        assert (found.mfu, found.mbu, found.mfu_wall) == (None, None, None)

    def test_of_models_that_take_turns_nobody_knows_which_did_what(self):
        served = pool("p", also_serves=[pool(serves="windowed-model")["model"]])
        found = summary_of([served], [work(**burst(2))]).pools[0]
        assert found.utilisation > 0.0
        assert found.mfu is None

    def test_batch_and_kv_are_means_over_samples(self):
        """Six clients that never think keep three requests running on each of two replicas."""
        served = pool("p", "constant-chip", replicas=2, kv_blocks=20, batching={"max_sequences": 4, "token_budget": 64})
        looped = work(arrivals=closed(6), prompt=16, output=30)
        played = run(scenario([served], [looped], horizon=20.0, warm_up=2.0))
        found = summarise(played.result).pools[0]
        assert found.batch == pytest.approx(3.0, abs=0.2)
        series = played.frame("series")
        inside = series[(series["time_s"] > 2.0) & (series["time_s"] <= 20.0)]
        assert found.batch == pytest.approx(inside["batch"].mean())
        assert found.kv_usage == pytest.approx(inside["kv_usage"].mean())
        assert inside["batch"].tolist() == (inside["running"] / 2).tolist()

    def test_preemptions_per_interval_sum_to_all(self):
        served = pool("p", kv_blocks=12, batching={"max_sequences": 8, "token_budget": 64})
        played = run(scenario([served], [work(rate=120.0, prompt=60, output=30)], horizon=1.0, drain=30.0))
        assert played.frame("series")["preemptions"].sum() == played.requests["preemptions"].sum() > 0


def test_a_real_time_factor_is_e2e_over_seconds_of_audio():
    speech = {
        "name": "calls", "kind": "transcription", "audio": 60, "prompt_tokens": 4, "tokens_per_second": 4,
        "models": ["whisper-large-v3"], "arrivals": {"process": "burst", "requests": 3},
    }  # fmt: skip
    served = {"name": "p", "hardware": "nvidia-h100-sxm", "model": "whisper-large-v3"}
    played = run(scenario([served], [speech], horizon=30.0))
    requests = played.requests
    assert requests["media_s"].tolist() == [60.0] * 3
    assert requests["real_time_factor"].tolist() == pytest.approx((requests["e2e_s"] / 60.0).tolist())
    factor = summarise(played.result).classes[0].real_time_factor
    assert factor.mean == pytest.approx((requests["e2e_s"] / 60.0).mean(), rel=1e-5)
    assert 0.0 < factor.p99 < 1.0
