"""What was turned away or held: in the summary, in an audit, and in the story of a request."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from doctoring import rewrite
from oracle.small import pool, scenario, work
from rich.console import Console

from inferencesim import Run, simulate
from inferencesim.report.evidence import explanation_text
from inferencesim.report.summary import summary_tables
from inferencesim.results.audit import audit
from inferencesim.results.explanation import explain


def described(**said):
    return scenario(
        [pool(batching={"max_sequences": 4}), pool("other", serves="windowed-model")],
        [
            work("chat", rate=30.0, tags={"tenant": "acme"}, timeout="0.4s"),
            work("night", rate=20.0, tags={"batchable": True}, promise={"deadline": "2s"}),
            work("low", rate=30.0, priority=2),
            work("few", rate=30.0),
        ],
        flow={
            "quotas": {
                "acme": {"requests_per_minute": 1200, "burst": "0.2s", "in_flight": 3, "beyond": "queue"},
                "few": {"tokens_per_minute": 60_000, "burst": "0.2s"},
            },
            "shed": [{"above": 0.8, "bands": [2]}],
            "defer": {"windows": [{"from": "1s", "to": "1.2s"}]},
        },
        **{"recording": {"series_interval": "1min"}, **said},
    )


@pytest.fixture
def run(tmp_path):
    simulate(described(), out=tmp_path / "run")
    return Run.load(tmp_path / "run")


def text_of(parts):
    console = Console(width=200)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return captured.get()


def quotas(run):
    (found,) = [each for each in audit(run).constraints if each.name == "quotas"]
    return found


class TestSummary:
    def test_it_counts_by_reason_who_was_turned_away_and_who_was_held(self, run):
        requests = run.requests
        for each in run.summary.classes:
            own = requests[requests["class"] == each.name]
            reasons = own["reason"].dropna().astype(str).value_counts().to_dict()
            assert {of.reason: of.requests for of in each.rejections} == reasons
            held = own.groupby("held_until", observed=True)["held_s"]
            assert {of.until: of.requests for of in each.held} == held.size().to_dict()
            assert {of.until: of.mean_s for of in each.held} == pytest.approx(held.mean().to_dict(), rel=1e-6)
        kinds = {of.until for each in run.summary.classes for of in each.held}
        assert kinds >= {"quota", "window", "not_released"}
        assert run.summary.conservation.holds

    def test_it_prints_them(self, run):
        printed = text_of(summary_tables(run.summary))
        assert "Held, and for how long on average" in printed
        assert "until window" in printed

    def test_a_pool_is_not_called_unstable_for_what_the_gateway_holds(self):
        later = work(rate=100.0, tags={"batchable": True})
        flow = {"defer": {"windows": [{"from": "1h", "to": "2h"}]}}
        recording = {"series_interval": "1h"}
        held = simulate(scenario([pool()], [later], flow=flow, recording=recording, drain="3h"))
        assert held.summary.verdict.state == "stable"
        assert held.summary.classes[0].completed == held.summary.classes[0].arrived > 100


class TestAudit:
    def test_it_proves_that_no_quota_was_exceeded(self, run):
        found = audit(run)
        assert found.holds
        assert not found.unproven
        assert quotas(run).state == "proven"
        assert quotas(run).rows > 50

    @pytest.mark.parametrize("name", ["few", "acme"])
    def test_one_more_than_the_quota_is_found(self, run, name):
        """Whoever was turned away, or was held until it left, is said to have gone on."""

        def let_in(rows):
            of = pc.equal(rows["class"].cast(pa.string()), {"few": "few", "acme": "chat"}[name])
            for column in ("reason", "held_until", "held_s"):
                place = rows.column_names.index(column)
                values = pc.if_else(of, pa.scalar(None, rows[column].type), rows[column])
                if pa.types.is_dictionary(rows[column].type):
                    strings = rows[column].cast(pa.string())
                    values = pc.if_else(of, pa.scalar(None, pa.string()), strings).combine_chunks().dictionary_encode()
                rows = rows.set_column(place, column, values)
            return rows

        rewrite(run.path, "requests", let_in)
        found = quotas(Run.load(run.path))
        assert found.state == "broken"
        assert found.examples

    def test_a_sample_proves_nothing_of_quotas(self, tmp_path):
        recording = {"evidence": "sampled", "share": 0.5, "series_interval": "1min"}
        simulate(described(recording=recording), out=tmp_path / "run")
        found = quotas(Run.load(tmp_path / "run"))
        assert found.state == "unproven"
        assert "sample" in found.why


class TestExplanation:
    def story(self, run, **having):
        requests = run.requests
        for name, value in having.items():
            requests = requests[(requests[name] == value).to_numpy(bool)]
        told = explain(run, int(requests["request_id"].iloc[0]))
        return told, text_of(explanation_text(told))

    def test_it_says_why_a_request_was_held_and_for_how_long(self, run):
        told, printed = self.story(run, held_until="window")
        assert told.happened.spent.held_s > 0.0
        row = run.requests.set_index("request_id").loc[told.request_id]
        assert told.happened.spent.held_s + told.happened.spent.queue_s == pytest.approx(row["waiting_s"])
        assert "It was held at the gateway for" in printed
        assert "until a window of the day opened" in printed

    def test_it_says_who_never_went_on(self, run):
        told, printed = self.story(run, held_until="not_released")
        assert told.decided is None
        assert "and was never placed" in printed

    @pytest.mark.parametrize(
        ("reason", "words"),
        [("quota_exceeded", "tenant few had no quota left"), ("shed", "work of priority 2 was being shed")],
    )
    def test_it_says_why_a_request_was_turned_away(self, run, reason, words):
        told, printed = self.story(run, reason=reason)
        assert {each.verdict for each in told.decided.candidates} == {reason}
        assert words in printed
        assert "turned it away before it was placed" in printed
