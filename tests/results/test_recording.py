"""Recording modes: what a run keeps, what it says all the same, and what an audit can prove of it."""

from __future__ import annotations

import pyarrow as pa
import pytest
from doctoring import doctor, rebuild_chain, rewrite
from oracle.small import closed, pool, scenario, work

from inferencesim import Run, simulate
from inferencesim.results.audit import audit

SAMPLED = {"evidence": "sampled", "share": "20%"}


def described(recording, **routing):
    """Two pools that differ in speed; promises that break, and requests that stay open."""
    return scenario(
        [pool("slow"), pool("fast", "fast-chip", queue_limit=3)],
        [
            work("chat", rate=300.0, promise={"ttft": 0.02}, timeout=0.2),
            work("agent") | {"arrivals": closed(6, 0.02), "conversation": {"turns": 4}},
        ],
        drain=0.01,
        recording=recording,
        routing=routing,
    )


@pytest.fixture(scope="module")
def full():
    return simulate(described({}))


@pytest.fixture(scope="module")
def sampled():
    return simulate(described(SAMPLED))


@pytest.fixture
def folder(tmp_path):
    simulate(described(SAMPLED), out=tmp_path / "run")
    return tmp_path / "run"


def tasks(run):
    return set(zip(run.requests["class"], run.requests["task"], strict=True))


class TestWhatIsKept:
    @pytest.mark.parametrize("recording", [SAMPLED, {"evidence": "off"}])
    def test_the_summary_counts_all(self, full, recording):
        summary = simulate(described(recording)).summary
        mine, all_kept = (each.model_dump(exclude={"scenario_digest"}) for each in (summary, full.summary))
        assert mine == all_kept

    def test_the_rows_of_a_sample_are_those_of_the_whole(self, full, sampled):
        kept = sampled.requests["request_id"]
        assert 0.1 < len(kept) / len(full.requests) < 0.3
        assert set(sampled.requests["class"]) == {"chat", "agent"}
        for name in ("requests", "decisions"):
            mine, all_rows = (getattr(run, name).set_index("request_id") for run in (sampled, full))
            assert set(mine.index) == set(kept)
            assert mine.sort_index().equals(all_rows.loc[mine.index].sort_index())

    def test_all_rows_of_a_task_are_kept_or_none(self, full, sampled):
        assert not tasks(sampled) & (tasks(full) - tasks(sampled))
        of_kept = [each in tasks(sampled) for each in zip(full.requests["class"], full.requests["task"], strict=True)]
        assert sum(of_kept) == len(sampled.requests)

    def test_another_policy_keeps_the_same_tasks(self, sampled):
        other = simulate(described(SAMPLED, placement="random", balancing="random"))
        asked = {name: set(run.requests.query("`class` == 'chat'")["task"]) for name, run in
                 (("one", sampled), ("other", other))}  # fmt: skip
        assert asked["one"] == asked["other"]

    def test_a_larger_share_keeps_the_tasks_of_a_smaller_one(self, sampled):
        more = simulate(described(SAMPLED | {"share": 0.5}))
        assert tasks(sampled) < tasks(more)

    def test_another_seed_keeps_others(self, sampled):
        other = simulate(described(SAMPLED), seed=7)
        assert set(sampled.requests["task"]) != set(other.requests["task"])

    def test_one_percent_unless_it_is_said(self):
        assert described({"evidence": "sampled"}).recording.kept_share == 0.01
        assert simulate(described({"evidence": "sampled"})).requests.shape[0] < 30

    def test_a_sample_of_nobody_has_its_columns(self):
        run = simulate(described({"evidence": "sampled", "share": 1e-9}))
        assert run.requests.empty
        assert "ttft_s" in run.requests
        assert "verdict_slow" in run.decisions

    def test_predictions_are_of_those_kept(self, full):
        all_kept, sampled = (
            simulate(described(each | {"predictions": True})).decisions.set_index("request_id")
            for each in ({}, SAMPLED)
        )
        assert sampled.equals(all_kept.loc[sampled.index])
        assert sampled["predicted_ttft_s_slow"].notna().any()

    @pytest.mark.parametrize("evidence", ["full", "off"])
    def test_a_share_is_of_a_sample(self, evidence):
        with pytest.raises(ValueError, match="set evidence to sampled"):
            described({"evidence": evidence, "share": 0.5})


class TestWhatAnAuditProves:
    def test_constraints_of_the_rows_kept_and_not_that_none_is_missing(self, folder):
        found = audit(Run.load(folder))
        assert found.holds
        assert found.chain.state == "unchanged"
        rows, arrived = len(Run.load(folder).requests), Run.load(folder).summary.conservation.arrived
        assert (found.coverage.evidence, found.coverage.kept, found.coverage.arrived) == ("sampled", rows, arrived)
        states = {each.name: each.state for each in found.constraints}
        assert (states.pop("all_there"), states.pop("in_sample")) == ("unproven", "proven")
        assert set(states.values()) == {"sampled"}
        assert found.unproven[0].startswith(f"Evidence was sampled: what is proven is proven of {rows} of {arrived} ")
        assert sum(each.requests for each in found.classes) == rows

    def test_nothing_where_evidence_is_off(self, tmp_path):
        simulate(described({"evidence": "off"}), out=tmp_path / "run")
        found = audit(Run.load(tmp_path / "run"))
        assert found.holds
        assert found.chain.state == "unchanged"
        assert {each.state for each in found.constraints} == {"unproven"}
        assert not found.classes
        (said,) = found.unproven
        assert said.startswith("Evidence was off: ")

    def test_with_all_rows_nothing_is_left_open(self, tmp_path):
        simulate(described({}), out=tmp_path / "run")
        found = audit(Run.load(tmp_path / "run"))
        assert (found.coverage.evidence, found.coverage.why) == ("full", "")
        assert found.coverage.kept == found.coverage.arrived

    def test_a_row_of_a_task_outside_the_sample_is_found(self, full, sampled, folder):
        name = Run.load(folder).requests["class"].iloc[0]
        outside = next(task for of, task in sorted(tasks(full) - tasks(sampled)) if of == name)
        doctor(folder, "requests", task=outside)
        rebuild_chain(folder)
        broken = [each for each in audit(Run.load(folder)).constraints if each.state == "broken"]
        assert [(each.name, each.broken) for each in broken] == [("in_sample", 1)]

    def test_more_rows_than_requests_are_found(self, folder):
        outcome = Run.load(folder).requests["outcome"].iloc[0]
        for table in ("requests", "decisions"):
            rewrite(folder, table, lambda rows: pa.concat_tables([rows] * 20))
        rebuild_chain(folder)
        found = next(each for each in audit(Run.load(folder)).constraints if each.name == "all_there")
        assert found.state == "broken"
        assert f"{outcome} in the summary" in found.why
