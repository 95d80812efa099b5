"""The story of a request: everything in it is what was recorded."""

from __future__ import annotations

import shutil

import pytest
from doctoring import rewrite
from oracle.small import pool, scenario, work

from inferencesim import Run, simulate
from inferencesim.errors import InputError
from inferencesim.report.evidence import explanation_text
from inferencesim.results.explanation import explain


def described(**said):
    return scenario(
        [
            pool("us", batching={"max_sequences": 2}, queue_limit=30),
            pool("eu", site="eu-frankfurt"),
            pool("coarse", precision={"weights": "fp8", "activations": "bf16"}),
            pool("other", serves="windowed-model", kv_blocks=4),
        ],
        [
            work(
                "kept",
                rate=200.0,
                residency=["us"],
                precision="bf16",
                promise={"ttft": 0.05, "tpot": 0.1},
                priority=3,
                tags={"tenant": "acme"},
            ),
            work("nowhere", rate=5.0, models=("windowed-model",), prompt=400),
        ],
        **{"horizon": 3.0, "routing": {"placement": "least_outstanding", "snapshot_age": 0.1}, **said},
    )


@pytest.fixture(scope="module")
def run():
    return simulate(described())


def told(run, number):
    explanation = explain(run, int(number))
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as captured:
        for part in explanation_text(explanation):
            console.print(part)
    return explanation, captured.get()


def ids(run, **having):
    requests = run.requests
    for name, value in having.items():
        requests = requests[(requests[name] == value).to_numpy(bool)]
    return requests["request_id"]


def test_a_request_that_waited_too_long(run):
    number = run.requests.set_index("request_id")["ttft_s"].idxmax()
    explanation, text = told(run, number)
    row = run.requests.set_index("request_id").loc[number]
    assert explanation.asked.class_name == "kept"
    assert explanation.asked.tenant == "acme"
    assert explanation.happened.ttft_s == row["ttft_s"]
    assert explanation.happened.cost_usd == row["attributed_cost_usd"]
    assert (explanation.happened.cause.what, explanation.happened.cause.by) == ("ttft", "queue")
    assert "Promise broken: TTFT; above all, it waited." in text
    assert "TTFT within 50.0 ms, TPOT within 100 ms" in text
    assert "priority 3, tenant acme" in text
    assert "small-model in bf16 on small-chip" in text


def test_every_candidate_has_its_verdict_in_words(run):
    explanation, text = told(run, ids(run, **{"class": "kept", "outcome": "completed"}).iloc[0])
    assert [each.verdict for each in explanation.decided.candidates] == [
        "eligible",
        "outside_residency",
        "precision_too_low",
        "model_not_served",
    ]
    assert "eligible, chosen" in text
    assert "stands in eu-frankfurt, and the data must stay in us" in text
    assert "the class tolerates nothing below bf16" in text
    assert "serves windowed-model, and the class asks for small-model" in text
    assert "least_outstanding chose pool us, whose score is the highest" in text


def test_how_old_the_load_was_that_was_seen(run):
    late = run.decisions[(run.decisions["snapshot_age_s"] > 0.05) & run.decisions["pool"].notna()]
    row = late.iloc[0]
    explanation, text = told(run, row["request_id"])
    assert explanation.decided.snapshot_age_s == row["snapshot_age_s"]
    assert f"{row['snapshot_age_s'] * 1000:.1f} ms before" in text


def test_a_promise_kept(run):
    _, text = told(run, ids(run, promise_kept=True).iloc[0])
    assert "Promise kept." in text


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("nowhere", "context_too_long", "has no room for 420 tokens of context"),
        ("kept", "queue_full", "had 30 requests waiting, as many as it takes"),
    ],
)
def test_a_rejection(run, name, reason, words):
    explanation, text = told(run, ids(run, **{"class": name, "outcome": "rejected"}).iloc[0])
    assert explanation.happened.reason == reason
    assert words in text
    assert "No pool could take it" in text
    assert f"it was rejected, {reason.replace('_', ' ')}" in text
    assert "It cost" not in text


def test_who_is_still_inside_has_an_open_promise():
    run = simulate(described(drain=0.0))
    _, text = told(run, run.requests[run.requests["promise_kept"].isna()]["request_id"].iloc[0])
    assert "its promise is open" in text


def test_what_a_cache_and_another_pool_did():
    agents = {"process": "closed", "clients": 3, "think_time": 0.01}
    helped = scenario(
        [pool("d", prefill_in={"pool": "p"}, prefix_cache=True), pool("p", prefix_cache=True)],
        [work(arrivals=agents, prompt=60, conversation={"turns": 5}, rate=1.0)],
        horizon=2.0,
    )
    run = simulate(helped)
    found = run.requests[(run.requests["cached_tokens"] > 0) & run.requests["prefill_pool"].notna()]
    row = found.iloc[0]
    _, text = told(run, row["request_id"])
    assert f"{row['cached_tokens']:,} tokens came from a cache" in text
    assert "Its prompt was read in pool p" in text
    assert "for KV to be transferred" in text


class TestPredictions:
    def placed(self, **routing):
        described_ = described(recording={"predictions": True}, routing=routing)
        pools = [each.model_copy(update={"site": "us-east-virginia"}) for each in described_.pools]
        return simulate(described_.model_copy(update={"pools": pools}))

    def test_the_best_alternative_has_its_price(self):
        run = self.placed(placement="cheapest_feasible")
        explanation, text = told(run, ids(run, **{"class": "kept", "pool": "us"}).iloc[0])
        chosen, other = explanation.decided.candidates[:2]
        assert chosen.predicted.cost_usd == pytest.approx(-chosen.score)
        assert other.predicted.cost_usd >= chosen.predicted.cost_usd
        assert "in the cheapest other eligible pool, eu (TTFT " in text
        assert [each.predicted for each in explanation.decided.candidates[2:]] == [None, None]

    def test_they_are_those_of_the_pool_before_the_request_came(self):
        run = self.placed(placement="cheapest_feasible")
        first = run.decisions.iloc[0]
        alone = run.requests.set_index("request_id").loc[first["request_id"]]
        assert first["predicted_ttft_s_us"] == pytest.approx(alone["ttft_s"], rel=0.05)
        assert first["predicted_tpot_s_us"] == pytest.approx(alone["tpot_s"], rel=0.5)

    def test_the_energy_is_what_requests_then_take_on_average(self):
        run = self.placed(placement="cheapest_feasible")
        both = run.decisions.merge(run.requests[run.requests["outcome"] == "completed"], on=["request_id", "pool"])
        for name, own in both.groupby("pool", observed=True):
            assert own[f"predicted_energy_j_{name}"].mean() == pytest.approx(own["energy_j"].mean(), rel=0.3)

    def test_they_do_not_depend_on_who_chooses(self):
        one, other = (self.placed(placement=name).decisions.iloc[0] for name in ("random", "premium_first"))
        names = [name for name in one.index if name.startswith("predicted_")]
        assert len(names) == 4 * 4
        assert one[names].equals(other[names])

    def test_they_change_nothing_else(self):
        with_them, without = (simulate(described(recording={"predictions": on})) for on in (True, False))
        assert with_them.requests.equals(without.requests)
        assert with_them.decisions.filter(regex="^(?!predicted)").equals(without.decisions)

    def test_without_an_alternative_there_is_none(self):
        run = simulate(described(recording={"predictions": True}))
        _, text = told(run, ids(run, **{"class": "kept", "pool": "us"}).iloc[0])
        assert "No other pool was eligible." in text

    def test_a_request_nobody_could_take_has_none(self):
        run = simulate(described(recording={"predictions": True}))
        rejected = run.decisions[run.decisions["pool"].isna()]
        assert rejected.filter(like="predicted_").isna().all(axis=None)
        _, text = told(run, rejected["request_id"].iloc[0])
        assert "Predicted" not in text

    def test_an_empty_run_has_their_columns(self):
        run = simulate(scenario([pool("a")], [], recording={"predictions": True}))
        assert "predicted_cost_usd_a" in run.decisions

    def test_without_decisions_they_are_refused(self):
        with pytest.raises(ValueError, match="recorded with the decisions"):
            described(recording={"evidence": "off", "predictions": True})


def test_without_its_decision_the_rest_is_told(tmp_path):
    simulate(described(), out=tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "decisions")
    explanation, text = told(Run.load(tmp_path / "run"), 0)
    assert explanation.decided is None
    assert "was not recorded" in text
    assert "Asked at" in text


class TestWhatCannotBeExplained:
    def test_a_request_that_never_was(self, run):
        with pytest.raises(InputError, match=r"no such request\. Its ids run from 0 to"):
            explain(run, 10**9)

    def test_anything_where_evidence_is_off(self):
        run = simulate(described(recording={"evidence": "off"}))
        with pytest.raises(InputError, match=r"Set recording\.evidence to full"):
            explain(run, 0)

    def test_a_request_outside_the_sample(self):
        run = simulate(described(recording={"evidence": "sampled", "share": 0.2}))
        kept = set(run.requests["request_id"])
        left_out = next(number for number in range(len(kept) + 1) if number not in kept)
        with pytest.raises(InputError, match=r"its rows were not kept.*With recording\.evidence=full"):
            explain(run, left_out)
        explain(run, min(kept))
        for never in (-1, run.summary.conservation.arrived):
            with pytest.raises(InputError, match="no such request"):
                explain(run, never)

    def test_anything_of_another_version(self, run, tmp_path):
        simulate(described(), out=tmp_path / "run")
        rewrite(tmp_path / "run", "requests", lambda rows: rows.drop_columns(["waiting_s"]))
        with pytest.raises(InputError, match=r"no usable waiting_s\. Run it again"):
            explain(Run.load(tmp_path / "run"), 0)

    def test_anything_of_an_empty_run(self):
        run = simulate(scenario([pool("a")], []))
        with pytest.raises(InputError, match="recorded none"):
            explain(run, 0)
