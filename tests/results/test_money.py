"""Money, energy and carbon of the window: a case worked out by hand, and the laws that hold in every case."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracle.small import pool, run, scenario, work

from inferencesim.deployment.work import COUNTS
from inferencesim.kernel.tables import COMPLETED, OPEN, QUEUE_FULL, REJECTED
from inferencesim.ledger.charges import Charges
from inferencesim.ledger.promises import PROMISE_KEPT, PROMISE_MISSED
from inferencesim.ledger.tally import TALLY
from inferencesim.results.summarise import summarise
from inferencesim.simulation.marks import Mark

#: A request in the tally, what it was charged, and that no task asked it.
CHARGED = np.dtype(
    [
        *TALLY.descr,
        *((name, np.float64) for name in ("busy_s", "energy_j", "prefill_busy_s", "prefill_energy_j")),
        ("owner", np.int64),
    ]
)
USD_PER_S = 0.001
USD_PER_J = 1e-7
GRAMS_PER_J = 1e-4


def two_pools(**said):
    """Two pools of one price; the first pays its electricity apart."""
    return scenario(
        [
            pool("paying", replicas=2, price="$3.6/h", price_includes_power=False),
            pool("included", price="$3.6/h", price_includes_power=True),
        ],
        [work("chat", promise={"ttft": 1.0}), work("batch")],
        horizon=110.0,
        warm_up=10.0,
        economics={"electricity": "$0.36/kWh", "pue": 1.5, "carbon": "360 g/kWh"},
        **said,
    )


@pytest.fixture(scope="module")
def real():
    return run(two_pools())


@pytest.fixture(scope="module")
def played(real):
    return real.result


def mark(at_s, busy_s, joules):
    """Return counters of which only the busy seconds and the joules of steps matter here."""
    counters = dict.fromkeys((field.name for field in dataclasses.fields(Mark)), np.zeros(2, np.int64))
    counters |= {"core_s": np.zeros(0), "tool_use": np.zeros((0, 0)), "tasks_begun": 0, "people_usd": np.zeros(0)}
    counters |= {"at_s": at_s, "busy_s": np.array(busy_s), "step_energy_j": np.array(joules)}
    return Mark(**counters | {"counts": np.zeros((2, len(COUNTS)))})


def request(class_index, pool_index, arrived_s, left_s, busy_s, energy_j, outcome=COMPLETED, promise=PROMISE_KEPT):
    row = np.zeros(1, CHARGED)
    row["class_index"], row["pool"], row["outcome"], row["promise"] = class_index, pool_index, outcome, promise
    row["arrived_s"], row["left_s"], row["busy_s"], row["energy_j"] = arrived_s, left_s, busy_s, energy_j
    row["prompt_tokens"], row["generated_tokens"] = 100, 10
    row["provider"] = row["owner"] = row["prefill_pool"] = -1
    for name in ("queue_time_s", "ttft_s", "tpot_s", "e2e_s"):
        row[name] = 0.5
    return row


def crafted(played, requests, start, stop):
    records = np.concatenate(requests) if requests else np.zeros(0, CHARGED)
    # Whoever left before an end of the window, or arrived before it, had been charged by then.
    charged = records[records["left_s"] < start.at_s], records[records["arrived_s"] < stop.at_s]
    window, charges = (start, stop), (Charges(2, 2), Charges(2, 2))
    for sums, some in zip(charges, charged, strict=True):
        sums.add(some)
    return dataclasses.replace(played, requests=records, arrived=records.size, window=window, charges=charges)


class TestAWindowWorkedOutByHand:
    @pytest.fixture
    def summary(self, played):
        requests = [
            request(0, 0, 5.0, 9.0, 4.0, 900.0),  # left before the window: nothing of it counts
            request(0, 0, 5.0, 20.0, 6.0, 600.0),  # arrived before it, so no statistic, yet it used the window
            request(0, 0, 20.0, 30.0, 24.0, 2400.0),
            request(1, 0, 50.0, 90.0, 10.0, 3000.0),
            request(1, 1, 50.0, 120.0, 7.0, 70.0),  # completed in the drain
            request(0, 0, 60.0, 60.0, 0.0, 0.0, REJECTED, PROMISE_MISSED),
        ]
        requests[-1]["pool"] = -1
        requests[-1]["reason"] = QUEUE_FULL
        # Busy 40 of 200 replica-seconds in the first pool, 25 of 100 in the second.
        start, stop = mark(10.0, [4.0, 1.0], [1000.0, 100.0]), mark(110.0, [44.0, 26.0], [7000.0, 600.0])
        return summarise(crafted(played, requests, start, stop))

    def test_owns_all_replicas_for_the_whole_window(self, summary):
        paying, included = summary.pools
        assert paying.owned_usd == pytest.approx(2 * 100 * USD_PER_S)
        assert paying.busy_usd == pytest.approx(40 * USD_PER_S)
        assert paying.idle_usd == pytest.approx(160 * USD_PER_S)
        assert paying.utilisation == pytest.approx(0.2)
        assert included.owned_usd == pytest.approx(100 * USD_PER_S)
        assert included.utilisation == pytest.approx(0.25)

    def test_charges_electricity_only_where_the_price_excludes_it(self, summary, played):
        paying, included = summary.pools
        idle_w = played.plan.pools[0].deployment.idle_w
        assert paying.energy_j == pytest.approx(6000 + 160 * idle_w)
        assert paying.site_energy_j == pytest.approx(1.5 * paying.energy_j)
        assert paying.energy_usd == pytest.approx(1.5 * paying.energy_j * USD_PER_J)
        assert included.energy_j == pytest.approx(500 + 75 * idle_w)
        assert included.energy_usd == 0.0

    def test_counts_carbon_in_both(self, summary):
        for each in summary.pools:
            assert each.carbon_g == pytest.approx(1.5 * each.energy_j * GRAMS_PER_J)

    def test_shares_busy_time_by_busy_seconds_and_step_energy_by_joules(self, summary):
        rows = {(row.pool, row.class_name): row for row in summary.ledger}
        # 6 + 24 of 40 attributed seconds, and 600 + 2,400 of 6,000 attributed joules, are chat's.
        assert rows["paying", "chat"].busy_usd == pytest.approx(40 * USD_PER_S * 30 / 40)
        assert rows["paying", "batch"].busy_usd == pytest.approx(40 * USD_PER_S * 10 / 40)
        assert rows["paying", "chat"].energy_j == pytest.approx(3000)
        assert rows["included", "batch"].busy_usd == pytest.approx(25 * USD_PER_S)
        assert ("included", "chat") not in rows
        assert rows["paying", None].idle_usd == pytest.approx(160 * USD_PER_S)

    def test_charges_classes_the_idle_time_in_proportion_to_what_they_used(self, summary):
        used = {
            name: sum(row.cost_usd for row in summary.ledger if row.class_name == name) for name in ("chat", "batch")
        }
        for each in summary.classes:
            share = used[each.name] / (used["chat"] + used["batch"])
            assert each.cost_usd == pytest.approx(share * summary.fleet.cost_usd)
        assert sum(each.cost_usd for each in summary.classes) == pytest.approx(summary.fleet.cost_usd)

    def test_divides_by_what_completed_within_the_window(self, summary):
        chat, batch = summary.classes
        assert chat.completed_in_window == 2
        assert chat.cost_per_completed_request_usd == pytest.approx(chat.cost_usd / 2)
        assert batch.completed_in_window == 1
        fleet = summary.fleet
        assert fleet.completed_in_window == 3
        assert fleet.cost_per_completed_request_usd == pytest.approx(fleet.cost_usd / 3)
        assert fleet.usd_per_million_output_tokens == pytest.approx(fleet.cost_usd / 30 * 1e6)
        assert fleet.usd_per_million_tokens == pytest.approx(fleet.cost_usd / 330 * 1e6)
        assert chat.output_tokens_per_s == pytest.approx(20 / 100)
        assert chat.input_tokens_per_s == pytest.approx(200 / 100)

    def test_counts_only_what_arrived_in_the_window(self, summary):
        chat, batch = summary.classes
        assert (chat.arrived, chat.completed, chat.rejected) == (2, 1, 1)
        assert (batch.arrived, batch.completed) == (2, 2)
        assert chat.slo_attainment == 0.5
        assert chat.goodput_per_s == pytest.approx(1 / 100)
        assert batch.slo_attainment is None
        assert batch.goodput_per_s is None
        assert summary.fleet.slo_attainment == 0.5
        assert chat.rejections[0].reason == "queue_full"

    def test_idle_share_is_the_money_of_the_idle_rows(self, summary):
        idle = sum(row.cost_usd for row in summary.ledger if row.class_name is None)
        assert summary.fleet.idle_share == pytest.approx(idle / summary.fleet.cost_usd)


def test_a_fleet_nobody_used_costs_its_idle_time(played):
    summary = summarise(crafted(played, [], mark(10.0, [0.0, 0.0], [0.0, 0.0]), mark(110.0, [0.0, 0.0], [0.0, 0.0])))
    assert summary.fleet.idle_share == pytest.approx(1.0)
    assert summary.fleet.cost_usd > 0.3
    assert summary.fleet.cost_per_completed_request_usd is None
    assert all(row.class_name is None for row in summary.ledger)
    assert summary.classes[0].cost_usd == 0.0


def test_busy_time_nobody_can_be_charged_with_stands_with_the_idle_time(played):
    start, stop = mark(10.0, [0.0, 0.0], [0.0, 0.0]), mark(110.0, [0.5, 0.0], [50.0, 0.0])
    summary = summarise(crafted(played, [], start, stop))
    (row,) = (row for row in summary.ledger if row.pool == "paying")
    assert row.idle_usd == pytest.approx(summary.pools[0].owned_usd)
    assert row.energy_j == pytest.approx(summary.pools[0].energy_j)


one_request = st.builds(
    request,
    st.integers(0, 1),
    st.integers(0, 1),
    st.floats(0.0, 120.0),
    st.floats(0.0, 200.0) | st.just(float("nan")),
    st.floats(0.0, 50.0),
    st.floats(0.0, 1e5),
    st.sampled_from([COMPLETED, OPEN]),
)


@settings(max_examples=60)
@given(
    requests=st.lists(one_request, max_size=12),
    busy=st.tuples(st.floats(0.0, 200.0), st.floats(0.0, 100.0)),
    joules=st.tuples(st.floats(0.0, 1e6), st.floats(0.0, 1e6)),
)
@example(
    requests=[request(0, 0, 0.0, float("nan"), 1.0, 0.0, OPEN), request(1, 0, 0.0, float("nan"), 2.0, 0.0, OPEN)],
    busy=(2.225e-313, 0.0),  # so little money that its products lose their digits
    joules=(0.0, 0.0),
)
def test_rows_sum_to_pools_and_pools_to_the_fleet(played, requests, busy, joules):
    summary = summarise(crafted(played, requests, mark(10.0, [0.0, 0.0], [0.0, 0.0]), mark(110.0, busy, joules)))
    for column in ("energy_usd", "energy_j", "site_energy_j", "carbon_g", "cost_usd"):
        for each in summary.pools:
            rows = sum(getattr(row, column) for row in summary.ledger if row.pool == each.name)
            assert rows == pytest.approx(getattr(each, column), rel=1e-9)
        if column != "energy_usd":
            total = sum(getattr(each, column) for each in summary.pools)
            assert total == pytest.approx(getattr(summary.fleet, column), rel=1e-9)
    for each in summary.pools:
        rows = [row for row in summary.ledger if row.pool == each.name]
        assert sum(row.busy_usd + row.idle_usd for row in rows) == pytest.approx(each.owned_usd, rel=1e-9)
    # What classes pay is everything, if anybody used anything.
    if any(row.class_name is not None and row.cost_usd > 0.0 for row in summary.ledger):
        assert sum(each.cost_usd for each in summary.classes) == pytest.approx(summary.fleet.cost_usd, rel=1e-9)


def test_a_real_run_conserves_requests_and_money(real, played):
    summary = summarise(played)
    assert summary.conservation.holds
    assert summary.conservation.arrived > 1000
    assert sum(each.arrived for each in summary.classes) == summary.fleet.arrived
    assert sum(each.cost_usd for each in summary.classes) <= summary.fleet.cost_usd * (1 + 1e-9)
    # Attributed busy time of requests is that of the replicas, but for those cut by the window.
    assert real.requests["busy_s"].sum() == pytest.approx(played.end.busy_s.sum(), rel=1e-6)


def test_the_tariff_and_the_pue_change_the_bill():
    cheap = summarise(run(two_pools()).result)
    tree = two_pools().model_copy(
        update={"economics": two_pools().economics.model_copy(update={"electricity": 2e-7, "pue": 3.0})}
    )
    dear = summarise(run(tree).result)
    assert dear.pools[0].energy_usd == pytest.approx(4.0 * cheap.pools[0].energy_usd)
    assert dear.pools[1].energy_usd == cheap.pools[1].energy_usd == 0.0
    assert dear.pools[0].energy_j == pytest.approx(cheap.pools[0].energy_j)
    assert dear.fleet.carbon_g == pytest.approx(2.0 * cheap.fleet.carbon_g)


@pytest.fixture(scope="module")
def apart():
    """Long prompts are prefilled in a pool of their own."""
    pools = [
        pool("decode", "fast-chip", replicas=2, price="$7.2/h", price_includes_power=False,
             prefill_in={"pool": "fill", "above": 30}),
        pool("fill", price="$3.6/h", price_includes_power=False),
    ]  # fmt: skip
    economics = {"electricity": "$0.36/kWh", "pue": 1.0}
    return run(scenario(pools, [work("long", prompt=80), work("short", prompt=20)], horizon=5.0, economics=economics))


class TestPrefillInAnotherPool:
    """A request is charged in each pool for what it did there, at that pool's rates."""

    def test_rows_sum_to_pools_and_name_who_was_prefilled_where(self, apart):
        summary = summarise(apart.result)
        rows = {(row.pool, row.class_name): row for row in summary.ledger}
        assert ("fill", "short") not in rows
        assert rows["fill", "long"].busy_usd == pytest.approx(summary.pools[1].busy_usd)
        for each in summary.pools:
            own = [row for row in summary.ledger if row.pool == each.name]
            assert sum(row.cost_usd for row in own) == pytest.approx(each.cost_usd, rel=1e-9)
            assert sum(row.energy_j for row in own) == pytest.approx(each.energy_j, rel=1e-9)
        assert sum(each.cost_usd for each in summary.classes) == pytest.approx(summary.fleet.cost_usd, rel=1e-9)

    def test_attributed_seconds_are_those_of_each_pool(self, apart):
        requests, busy_s = apart.requests, apart.result.end.busy_s
        assert requests["busy_s"].sum() == pytest.approx(busy_s[0], rel=1e-6)
        assert requests["prefill_busy_s"].sum() == pytest.approx(busy_s[1], rel=1e-6)
        sent = requests["class"] == "long"
        assert (requests["prefill_pool"][sent] == "fill").all()
        assert requests["prefill_pool"][~sent].isna().all()
        assert (requests["prefill_replica"][sent] == 2).all()
        assert (requests["pool"] == "decode").all()

    def test_attributed_cost_is_at_the_rates_of_both(self, apart):
        requests = apart.requests
        expected = 2e-3 * requests["busy_s"] + 1e-3 * requests["prefill_busy_s"]
        expected += USD_PER_J * (requests["energy_j"] + requests["prefill_energy_j"])
        assert requests["attributed_cost_usd"].tolist() == pytest.approx(expected.tolist())

    def test_pools_count_what_was_sent_and_handed_over(self, apart):
        decode, fill = summarise(apart.result).pools
        sent = int((apart.requests["class"] == "long").sum())
        assert (decode.arrived, decode.handed_over) == (len(apart.requests), 0)
        assert fill.arrived == sent
        assert fill.completed == 0
        assert sent - 5 <= fill.handed_over <= sent
