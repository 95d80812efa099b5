"""What providers bill: to the token, per class, within the window, and against owned chips."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from oracle.small import closed, model, pool, run, scenario, work

from inferencesim.api import simulate
from inferencesim.report.evidence import audit_tables, explanation_text
from inferencesim.report.side_by_side import side_by_side
from inferencesim.report.summary import summary_tables
from inferencesim.results.audit import audit
from inferencesim.results.constraints import check_constraints
from inferencesim.results.difference import difference
from inferencesim.results.explanation import explain
from inferencesim.results.recorded import plan_of
from inferencesim.results.run import Run
from inferencesim.results.summarise import summarise

LENGTHS = {"distribution": "uniform", "low": 10, "high": 100}
API = {
    "name": "api",
    "price": {"input": "$1/Mtok", "output": "$4/Mtok"},
    "model": model(),
    "ttft": {"distribution": "lognormal", "median": "100ms", "p95": "400ms"},
    "tokens_per_second": "100/s",
    "limits": {"requests_per_minute": 600},
}
BATCH = {"name": "slow", "price": API["price"], "model": model(), "tier": "batch", "ttft": "400ms"}


def described(active=None, **said):
    active = active or {}
    chat = work("chat", 40.0, LENGTHS, timeout=0.2, promise={"ttft": 0.1, "e2e": 0.3}, active=active)
    own = work("own", 20.0, LENGTHS, providers="refused", active=active)
    spare = work("spare", 20.0, LENGTHS, active=active)
    tree = {
        "providers": [API, BATCH],
        "horizon": 3.0,
        "routing": {"placement": "random"},
        "recording": {"predictions": True},
    }
    return scenario([pool("a", replicas=2)], [chat, own, spare], **tree | said)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of which nobody is inside any more when the window ends."""
    path = tmp_path_factory.mktemp("runs") / "run"
    simulate(described(active={"to": 2.0}), out=path)
    return Run.load(path)


def sent_to(requests, name):
    return requests[(requests["provider"] == name).to_numpy(bool)]


def test_each_request_pays_for_its_own_tokens(folder):
    requests = sent_to(folder.requests, "api")
    assert {"completed", "timed_out"} <= set(requests["outcome"])
    expected = requests["prompt_tokens"] * 1e-6 + requests["generated_tokens"] * 4e-6
    np.testing.assert_allclose(requests["provider_cost_usd"], expected, rtol=1e-12)
    np.testing.assert_allclose(requests["attributed_cost_usd"], expected, rtol=1e-12)
    others = folder.requests[folder.requests["pool"].notna()]
    assert others["provider_cost_usd"].isna().all()
    assert (others["attributed_cost_usd"] > 0.0).all()


def test_a_batch_costs_half_and_only_what_was_answered(folder):
    requests = sent_to(folder.requests, "slow")
    done = (requests["outcome"] == "completed").to_numpy()
    assert done.any()
    assert not done.all()
    expected = requests["prompt_tokens"] * 0.5e-6 + requests["generated_tokens"] * 2e-6
    np.testing.assert_allclose(requests["provider_cost_usd"], expected * done, rtol=1e-12)
    assert (requests["tpot_s"][done] == 0.0).all()


def test_the_sums_are_the_totals(folder):
    summary, requests = folder.summary, folder.requests
    by_row = requests["provider_cost_usd"].sum()
    assert summary.fleet.provider_usd == pytest.approx(by_row, rel=1e-12)
    assert sum(each.cost_usd for each in summary.providers) == pytest.approx(by_row, rel=1e-12)
    assert sum(row.provider_usd for row in summary.ledger) == pytest.approx(by_row, rel=1e-12)
    owned = sum(each.cost_usd for each in summary.pools)
    assert summary.fleet.cost_usd == pytest.approx(owned + by_row, rel=1e-12)
    assert sum(each.cost_usd for each in summary.classes) == pytest.approx(summary.fleet.cost_usd, rel=1e-12)
    for each in summary.classes:
        own = requests.loc[requests["class"] == each.name, "provider_cost_usd"].sum()
        assert each.provider_usd == pytest.approx(own, rel=1e-12)


def test_the_ledger_has_a_row_per_provider_and_class(folder):
    rows = [row for row in folder.summary.ledger if row.provider is not None]
    assert {(row.provider, row.class_name) for row in rows} == {
        (name, each) for name in ("api", "slow") for each in ("chat", "spare") if (name, each) != ("slow", "chat")
    }
    for row in rows:
        assert row.pool is None
        assert row.energy_j is row.site_energy_j is row.carbon_g is None
        assert row.cost_usd == row.provider_usd > 0.0


def test_a_provider_is_summed_up(folder):
    api = folder.summary.providers[0]
    requests = sent_to(folder.requests, "api")
    assert api.arrived == len(requests)
    assert api.completed == (requests["outcome"] == "completed").sum()
    assert api.prompt_tokens == requests["prompt_tokens"].sum()
    assert api.output_tokens == requests["generated_tokens"].sum()
    assert api.usd_per_million_tokens == pytest.approx(1e6 * api.cost_usd / (api.prompt_tokens + api.output_tokens))
    assert api.energy_j is api.carbon_g is None
    limited = (folder.decisions["verdict_api"] == "rate_limited").sum()
    assert api.rate_limited == limited


def test_energy_is_that_of_pools_and_per_request_unknown(folder):
    fleet = folder.summary.fleet
    assert fleet.energy_j == pytest.approx(sum(each.energy_j for each in folder.summary.pools))
    assert fleet.energy_per_completed_request_j is None
    assert folder.requests.loc[folder.requests["provider"].notna(), "energy_j"].isna().all()
    of_own = next(each for each in folder.summary.classes if each.name == "own")
    assert of_own.energy_per_completed_request_j > 0.0


def test_windows_side_by_side_add_up_to_the_whole():
    """Tokens of an answer under way at an end of the window are billed on the side on which they were made."""
    whole = described(recording={"evidence": "off"})
    parts = [
        run(whole.model_copy(update={"warm_up": warm_up, "horizon": horizon, "drain": 0.0}))
        for warm_up, horizon in ((0.0, 1.0), (1.0, 3.0), (0.0, 3.0))
    ]
    billed = []
    for played in parts:
        earlier, later = played.result.bills
        billed.append(later.usd - earlier.usd)
    # The draws of the load do not depend on the horizon, nor does what happened up to it.
    np.testing.assert_allclose(billed[0] + billed[1], billed[2], rtol=1e-9)
    (api, _) = summarise(parts[1].result).providers
    assert api.cost_usd == pytest.approx(billed[1][0].sum())


@pytest.mark.parametrize(("provider", "usd"), [(API, None), (BATCH | {"ttft": "9s"}, 10 * 0.5e-6 + 1000 * 2e-6)])
def test_what_is_still_open_will_cost_its_tokens(provider, usd):
    asks = work("c", prompt=10, output=1000) | {"arrivals": closed(1)}
    nobody = pool("idle", serves="windowed-model")
    played = run(scenario([nobody], [asks], providers=[provider], horizon=0.5, drain="98ms"))
    (request,) = played.requests.itertuples()
    left = summarise(played.result).fleet.to_finish
    assert left.requests == 1
    assert left.replica_s == 0.0
    assert left.output_tokens == 1000 - request.generated_tokens
    assert left.cost_usd == pytest.approx(left.output_tokens * 4e-6 if usd is None else usd)


@pytest.fixture(scope="module")
def against():
    """A run of a pool that pays its electricity apart, beside a provider of its model, and its summary."""
    owned = pool("a", replicas=2, price="$3.6/h", price_includes_power=False)
    other = pool("b", serves="windowed-model")
    load = [work(rate=30.0, prompt=LENGTHS), work("w", models=["windowed-model"])]
    played = run(scenario([owned, other], load, horizon=20.0, providers=[API]))
    return played, summarise(played.result)


class TestBreakEven:
    def test_each_pool_stands_against_providers_of_its_model(self, against):
        assert [(each.pool, each.provider) for each in against[1].break_even] == [("a", "api")]

    def test_prices_are_per_token_completed(self, against):
        played, summary = against
        (each,), requests = summary.break_even, played.requests
        done = requests[(requests["pool"] == "a") & (requests["finished_s"] < 20.0)]
        prompt, output = done["prompt_tokens"].sum(), done["generated_tokens"].sum()
        assert each.pool_usd_per_million_tokens == pytest.approx(1e6 * summary.pools[0].cost_usd / (prompt + output))
        billed = (prompt * 1e-6 + output * 4e-6) / (prompt + output)
        assert each.provider_usd_per_million_tokens == pytest.approx(1e6 * billed)
        assert each.utilisation == pytest.approx(summary.pools[0].utilisation)

    def test_at_break_even_both_cost_the_same(self, against):
        played, summary = against
        (each,), pool_plan = summary.break_even, played.plan.pools[0]
        idle_usd = 2 * 20.0 * pool_plan.deployment.idle_w * pool_plan.chip_tariff.at(0.0)
        fixed = summary.pools[0].owned_usd + idle_usd
        work_usd = summary.pools[0].cost_usd - fixed
        assert work_usd > 0.0
        tokens = summary.pools[0].cost_usd / each.pool_usd_per_million_tokens
        scale = each.break_even_utilisation / each.utilisation
        assert fixed + scale * work_usd == pytest.approx(scale * tokens * each.provider_usd_per_million_tokens)

    def test_a_provider_cheaper_than_electricity_never_loses(self):
        cheap = API | {"price": {"input": "$0/Mtok", "output": "$0/Mtok"}}
        played = run(scenario([pool("a", price_includes_power=False)], [work()], providers=[cheap]))
        (each,) = summarise(played.result).break_even
        assert each.break_even_utilisation is None


class TestEvidence:
    def test_a_run_with_providers_passes_its_audit(self, folder):
        found = audit(folder)
        assert found.holds
        assert {each.state for each in found.constraints} == {"proven"}
        timed_out = [
            cause.by
            for each in found.classes
            for cause in each.causes
            if (each.name, cause.what) == ("chat", "timed_out")
        ]
        assert "provider" in timed_out
        assert audit_tables(found)

    @pytest.mark.parametrize(
        ("name", "constraint"),
        [("own", "provider_refused"), ("own", "eligible"), ("own", "one_to_one"), ("own", "names")],
    )
    def test_a_request_moved_outside_is_noticed(self, folder, name, constraint):
        requests, decisions = folder.recorded("requests").copy(), folder.recorded("decisions").copy()
        row = requests.index[requests["class"] == name][0]
        number = requests.loc[row, "request_id"]
        tables = [requests] if constraint == "one_to_one" else [requests, decisions]
        for table in tables:
            at = table.index[table["request_id"] == number][0]
            table["provider"] = table["provider"].astype(object)
            table.loc[at, "provider"] = "api"
            if constraint != "names":
                table["pool"] = table["pool"].astype(object)
                table.loc[at, "pool"] = None
                table["replica"] = table["replica"].astype("Float64")
                table.loc[at, "replica"] = pd.NA
        found = check_constraints(plan_of(folder.manifest), requests, decisions, folder.summary.window.end_s)
        broken = {each.name for each in found if each.state == "broken"}
        assert constraint in broken

    def test_a_story_with_a_provider_in_it(self, folder):
        requests = sent_to(folder.requests, "api")
        kept = explain(folder, int(requests.loc[requests["promise_kept"] == True, "request_id"].iloc[0]))  # noqa: E712
        assert kept.decided.provider == kept.happened.provider == "api"
        assert kept.decided.pool is kept.happened.pool is None
        assert [each.name for each in kept.decided.candidates] == ["a", "api", "slow"]
        assert [each.outside for each in kept.decided.candidates] == [False, True, True]
        assert kept.happened.energy_j is None
        assert kept.happened.cost_usd > 0.0
        told = "\n".join(str(each) for each in explanation_text(kept))
        assert "chose provider api" in told
        assert "Its provider billed" in told

    def test_why_a_provider_was_no_choice_is_said(self, folder):
        own = folder.requests[folder.requests["class"] == "own"]
        told = explain(folder, int(own["request_id"].iloc[0]))
        assert [each.why for each in told.decided.candidates[1:]] == [
            "is an outside provider, which the class refuses"
        ] * 2

    def test_what_was_predicted_of_a_provider_is_kept(self, folder):
        decisions = folder.decisions.merge(folder.requests[["request_id", "prompt_tokens"]], on="request_id")
        eligible = decisions[decisions["verdict_api"] == "eligible"]
        plan = plan_of(folder.manifest)
        mean_s = plan.providers[0].draws[0].mean()
        np.testing.assert_allclose(eligible["predicted_ttft_s_api"], mean_s)
        np.testing.assert_allclose(eligible["predicted_tpot_s_api"], 0.01)
        expected = eligible["prompt_tokens"] * 1e-6 + 20 * 4e-6
        np.testing.assert_allclose(eligible["predicted_cost_usd_api"], expected)
        assert eligible["predicted_energy_j_api"].isna().all()
        told = explain(folder, int(eligible["request_id"].iloc[0])).decided.candidates
        assert {each.name: each.predicted.energy_j for each in told if each.name == "api"} == {"api": None}

    def test_the_manifest_keeps_the_price_and_where_it_is_from(self):
        listed = {"name": "api", "offer": "openai/gpt-4.1-mini", "model": model()}
        done = simulate(described(providers=[listed]))
        (kept,) = done.manifest.providers
        assert kept.offer == "openai/gpt-4.1-mini"
        assert "2026-08-21" in kept.price_source
        assert kept.usd_per_output_token == pytest.approx(1.6e-6)


def test_tables_have_providers_in_them(folder):
    summary = folder.summary
    titles = [str(each.title) for each in summary_tables(summary) if hasattr(each, "title")]
    assert any(title.startswith("Outside providers") for title in titles)
    assert any(title.startswith("Break-even") for title in titles)
    assert any(str(each.title) == "Outside providers" for each in side_by_side([summary]))
    scopes = {row.scope for row in difference(summary, summary).rows}
    assert {"provider api", "provider slow"} <= scopes


def test_without_providers_nothing_is_said_of_them():
    played = run(scenario([pool()], [work()]))
    summary = summarise(played.result)
    assert summary.providers == summary.break_even == ()
    assert summary.fleet.provider_usd == 0.0
    assert summary.fleet.energy_per_completed_request_j > 0.0
    assert not any("roviders" in str(getattr(each, "title", "")) for each in summary_tables(summary))
    assert math.isclose(sum(row.cost_usd for row in summary.ledger), summary.fleet.cost_usd)
