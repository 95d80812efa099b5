"""An audit proves the hard constraints of a run from its rows, and says what it cannot prove."""

from __future__ import annotations

import json
import shutil

import pyarrow as pa
import pytest
from doctoring import doctor, rebuild_chain, rewrite, with_cell
from oracle.small import pool, scenario, work

from inferencesim import Run, simulate
from inferencesim.errors import InputError
from inferencesim.results.audit import audit
from inferencesim.results.manifest import make_manifest
from inferencesim.results.recorded import plan_of
from inferencesim.scenario.loading import load_scenario, scenario_names
from inferencesim.simulation.plan import plan_pools, plan_providers, settled

COARSE = {"weights": "fp8", "activations": "bf16"}


def filtered(**said):
    """Pools that differ in site, precision, model and queue, and a class for each filter."""
    return scenario(
        [
            pool("us", queue_limit=2),
            pool("eu", site="eu-frankfurt"),
            pool("coarse", precision=COARSE),
            pool("other", serves="windowed-model"),
            pool("decode", kv_blocks=30, prefill_in={"pool": "prefill"}),
            pool("prefill", kv_blocks=30),
        ],
        [
            work("free", rate=1500.0, promise={"ttft": 0.02, "e2e": 0.1}, timeout=0.1),
            work("kept", rate=20.0, residency=["eu"]),
            work("exact", rate=20.0, precision="bf16"),
            work("either", rate=20.0, models=("small-model", "windowed-model")),
            work("nowhere", rate=20.0, models=("windowed-model",), residency=["eu"]),
            work("long", rate=20.0, prompt={"distribution": "uniform", "low": 100, "high": 1000}, output=5),
        ],
        **{"horizon": 3.0, **said},
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit") / "run"
    simulate(filtered(), out=folder)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run")


def audited(folder, expected=None):
    return audit(Run.load(folder), expected)


def broken(found):
    return {each.name for each in found.constraints if each.state == "broken"}


def test_a_run_with_every_filter_holds(written):
    found = audited(written)
    assert found.holds
    assert found.chain.state == "unchanged"
    assert {each.state for each in found.constraints} == {"proven"}
    assert not found.unproven
    requests = Run.load(written).requests
    assert {"rejected", "timed_out", "completed"} <= set(requests["outcome"])
    assert requests["prefill_pool"].notna().any()
    assert all(each.rows > 0 for each in found.constraints)


@pytest.mark.parametrize(
    "name",
    [
        "mixed_fleet",
        "overload",
        "closed_loop",
        "not_chat",
        "edge_and_host",
        "speed_tiers",
        pytest.param("disaggregation", marks=pytest.mark.long),
        pytest.param("voice_beside_batch", marks=pytest.mark.long),
        pytest.param("speculation", marks=pytest.mark.long),
    ],
)
def test_shipped_scenarios_hold(name, tmp_path):
    described = load_scenario(name, ["horizon=30s", "warm_up=0s", "drain=10s"])
    simulate(described, out=tmp_path / "run")
    found = audited(tmp_path / "run")
    assert found.holds, found
    assert not found.unproven


@pytest.mark.parametrize("name", scenario_names())
def test_every_shipped_scenario_can_be_resolved_from_its_manifest(name):
    described = load_scenario(name)
    plan = settled(described, plan_pools(described), plan_providers(described))
    again = plan_of(make_manifest(plan))
    assert again.scenario == described
    assert (again.verdicts == plan.verdicts).all()
    assert again.context_limits == plan.context_limits


def first(folder, **having):
    """Return the first part of the requests, those with these values first, and write it so."""

    def sort(rows):
        frame = rows.to_pandas()
        chosen = (frame[list(having)].astype(str) == list(having.values())).all(axis=1).to_numpy()
        assert chosen.any()
        return rows.take(pa.array([*chosen.nonzero()[0], *(~chosen).nonzero()[0]]))

    rewrite(folder, "requests", sort)
    return int(Run.load(folder).requests["request_id"].iloc[0])


class TestDoctoredRows:
    """The chain is rebuilt each time: what is found is found from the rows alone."""

    def moved(self, folder, to, replica, **having):
        """Put a request of a class into another pool, its decision too; return its id."""
        number = first(folder, outcome="completed", **having)
        doctor(folder, "requests", pool=to, replica=replica)

        def change(rows):
            ids = rows.column("request_id").to_pylist()
            return rows.take(pa.array([ids.index(number), *(i for i, each in enumerate(ids) if each != number)]))

        rewrite(folder, "decisions", change)
        doctor(folder, "decisions", pool=to, replica=replica, **{f"verdict_{to}": "eligible"})
        rebuild_chain(folder)
        return number

    @pytest.mark.parametrize(
        ("of", "to", "replica", "constraint"),
        [
            ("kept", "us", 0, "outside_residency"),
            ("exact", "coarse", 2, "precision_too_low"),
            ("free", "other", 3, "model_not_served"),
            ("free", "prefill", 5, "prefills_only"),
        ],
    )
    def test_a_request_where_it_may_not_be_is_found(self, folder, of, to, replica, constraint):
        number = self.moved(folder, to, replica, **{"class": of})
        found = audited(folder)
        assert not found.holds
        assert found.chain.state == "unchanged"
        assert broken(found) - {"prefill_pool"} == {constraint, "verdicts"}
        each = next(each for each in found.constraints if each.name == constraint)
        assert (each.broken, each.examples) == (1, (number,))
        assert f"{of} in pool {to}" in each.why

    def test_a_context_that_does_not_fit_is_found(self, folder):
        number = first(folder, outcome="completed", pool="us")
        doctor(folder, "requests", prompt_tokens=10**6)
        rebuild_chain(folder)
        found = audited(folder)
        assert broken(found) == {"context_too_long", "verdicts"}
        assert number in next(each for each in found.constraints if each.name == "context_too_long").examples

    def test_a_prompt_read_abroad_is_found(self, folder):
        first(folder, outcome="completed", pool="eu", **{"class": "kept"})
        doctor(folder, "requests", prefill_pool="us", prefill_replica=0)
        rebuild_chain(folder)
        assert broken(audited(folder)) == {"outside_residency", "prefill_pool"}

    def test_a_replica_of_another_pool_is_found(self, folder):
        first(folder, pool="us")
        doctor(folder, "requests", replica=3)
        rebuild_chain(folder)
        assert broken(audited(folder)) == {"names", "one_to_one"}

    def test_a_class_nobody_described_is_found(self, folder):
        first(folder, outcome="completed", pool="us")
        doctor(folder, "requests", **{"class": "ghost"})
        rebuild_chain(folder)
        assert {"names", "one_to_one"} <= broken(audited(folder))

    @pytest.mark.parametrize("table", ["requests", "decisions"])
    @pytest.mark.parametrize(
        "change", [lambda rows: rows.slice(1), lambda rows: pa.concat_tables([rows, rows.slice(0, 1)])]
    )
    def test_requests_and_decisions_match_one_to_one(self, folder, table, change):
        rewrite(folder, table, change)
        rebuild_chain(folder)
        assert "one_to_one" in broken(audited(folder))

    def test_a_request_and_its_decision_taken_away_are_missed(self, folder):
        for table in ("requests", "decisions"):
            rewrite(folder, table, lambda rows: rows.filter(pa.compute.not_equal(rows.column("request_id"), 7)))
        rebuild_chain(folder)
        assert broken(audited(folder)) == {"all_there"}

    def test_a_verdict_that_the_scenario_does_not_give_is_found(self, folder):
        doctor(folder, "decisions", verdict_other="eligible")
        rebuild_chain(folder)
        assert "verdicts" in broken(audited(folder))

    def test_a_queue_without_bound_is_never_full(self, folder):
        doctor(folder, "decisions", verdict_eu="queue_full")
        rebuild_chain(folder)
        assert "verdicts" in broken(audited(folder))

    def test_a_choice_its_decision_did_not_allow_is_found(self, folder):
        chosen = Run.load(folder).decisions["pool"].iloc[0]
        doctor(folder, "decisions", **{f"verdict_{chosen}": "outside_residency"})
        rebuild_chain(folder)
        assert "eligible" in broken(audited(folder))

    def test_a_rejection_without_cause_is_found(self, folder):
        doctor(folder, "decisions", pool=None, replica=None)
        rebuild_chain(folder)
        assert {"eligible", "one_to_one"} <= broken(audited(folder))

    @pytest.mark.parametrize(("kept", "seconds"), [(True, 9.0), (False, 0.001)])
    def test_a_promise_that_its_times_belie_is_found(self, folder, kept, seconds):
        first(folder, outcome="completed", promise_kept=str(kept), **{"class": "free"})
        doctor(folder, "requests", ttft_s=seconds, e2e_s=seconds)
        rebuild_chain(folder)
        assert broken(audited(folder)) == {"promises"}


class TestWhatCannotBeProven:
    def test_a_changed_chain_does_not_keep_the_rest_from_being_checked(self, folder):
        doctor(folder, "requests", attributed_cost_usd=-1.0)
        found = audited(folder)
        assert not found.holds
        assert found.chain.state == "changed"
        assert not broken(found)
        assert found.classes

    def test_without_requests_what_depends_on_them(self, folder):
        shutil.rmtree(folder / "requests")
        found = audited(folder)
        assert not found.holds
        states = {each.name: each.state for each in found.constraints}
        assert states["outside_residency"] == states["eligible"] == "proven"
        assert states["context_too_long"] == states["one_to_one"] == states["promises"] == "unproven"
        assert not found.classes

    def test_without_decisions_why_requests_went_where(self, folder):
        shutil.rmtree(folder / "decisions")
        found = audited(folder)
        assert not found.holds
        states = {each.name: each.state for each in found.constraints}
        assert states["outside_residency"] == states["context_too_long"] == "proven"
        assert states["eligible"] == states["verdicts"] == "unproven"
        assert found.classes

    def test_of_an_interrupted_run_what_is_there_is_checked(self, tmp_path):
        def interrupt(now_s, horizon_s):
            if now_s > 2.0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            simulate(filtered(), out=tmp_path / "run", progress=interrupt)
        found = audited(tmp_path / "run")
        assert found.holds
        assert not found.complete
        assert found.chain.state == "unproven"
        assert any("did not come to its end" in each for each in found.unproven)
        assert next(each for each in found.constraints if each.name == "outside_residency").state == "proven"
        assert audited(tmp_path / "run", "0" * 64).holds is False

    def test_a_damaged_part_is_told_and_the_rest_is_audited(self, folder):
        (folder / "decisions" / "part-00000.parquet").write_bytes(b"PAR1")
        found = audited(folder)
        assert not found.holds
        assert any("decisions cannot be read" in each for each in found.unproven)
        assert next(each for each in found.constraints if each.name == "outside_residency").state == "proven"

    def test_columns_that_are_not_what_they_were_are_told(self, folder):
        rewrite(folder, "requests", lambda rows: rows.drop_columns(["ttft_s"]))
        found = audited(folder)
        assert not found.holds
        assert any("no usable ttft_s" in each for each in found.unproven)

    def test_profiles_that_changed_since_are_told(self, folder):
        document = json.loads((folder / "manifest.json").read_text())
        document["profiles"][1]["model_digest"] = "0" * 64
        (folder / "manifest.json").write_text(json.dumps(document))
        found = audited(folder)
        assert not found.holds
        assert any(each.startswith("Pool eu: small-chip or small-model has other figures") for each in found.unproven)

    def test_a_scenario_whose_files_are_gone_is_told(self, tmp_path):
        described = filtered()
        card = tmp_path / "gone.yaml"
        shutil.copy(described.pools[0].hardware, card)
        described = described.model_copy(
            update={"pools": [described.pools[0].model_copy(update={"hardware": str(card)}), *described.pools[1:]]}
        )
        simulate(described, out=tmp_path / "run")
        card.unlink()
        found = audited(tmp_path / "run")
        assert found.chain.state == "unchanged"
        assert not found.constraints
        assert any("gone.yaml" in each for each in found.unproven)

    def test_a_run_in_memory_is_none(self):
        with pytest.raises(InputError, match="in memory"):
            audit(simulate(filtered(horizon=0.5)))


def test_an_empty_load_holds(tmp_path):
    simulate(scenario([pool("a")], []), out=tmp_path / "none")
    simulate(scenario([pool("a")], [work(active={"from": 5.0})], horizon=1.0), out=tmp_path / "nobody")
    for name in ("none", "nobody"):
        found = audited(tmp_path / name)
        assert found.holds
        assert not found.unproven
        assert all(each.broken == 0 for each in found.constraints)


def test_promises_add_up_to_the_requests(written):
    found, requests = audited(written), Run.load(written).requests
    for each in found.classes:
        assert each.kept + each.broken + each.open == each.requests == (requests["class"] == each.name).sum()
        assert sum(cause.requests for cause in each.causes) == each.broken


def test_a_cascade_is_audited_clean_and_a_model_passed_over_without_reason_is_found(tmp_path):
    """Which of its models a call asked is on record; a class without answers has no such reason."""
    answers = {"difficulty": 0.9, "start": "first", "curves": {"small-model": {"ability": 0.1, "slope": 0.01}}}
    cascade = work("cascade", rate=20.0, models=("small-model", "expert-model"), answers=answers)
    plain = work("plain", rate=20.0, models=("small-model", "expert-model"))
    pools = [pool("small"), pool("large", serves="expert-model")]
    folder = tmp_path / "run"
    simulate(scenario(pools, [cascade, plain]), out=folder)
    assert not broken(audited(folder))
    decisions = Run.load(folder).decisions
    asked_other = decisions["verdict_large"] == "other_model"
    assert asked_other[decisions["class"] == "cascade"].any()
    assert not asked_other[decisions["class"] == "plain"].any()
    number = int(decisions.index[(decisions["class"] == "plain") & (decisions["pool"] == "small")][0])
    rewrite(folder, "decisions", lambda rows: with_cell(rows, "verdict_large", number, "other_model"))
    assert "verdicts" in broken(audited(folder))
