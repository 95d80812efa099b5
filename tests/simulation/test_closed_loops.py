"""Clients that wait for their answer before they ask again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from oracle.small import closed, number_inside, pool, run, scenario, work

from inferencesim.workload.closed import TURNS_PER_BLOCK, draw_turns

MIXED = {"distribution": "uniform", "low": 1, "high": 60}


def loop(clients, think_time=0.0, requests=None, **said):
    return work(prompt=MIXED, output=MIXED, **said) | {"arrivals": closed(clients, think_time, requests=requests)}


def of_clients(requests, clients):
    """Return each client's requests in order: task numbers are turn × clients + client."""
    return [rows.sort_values("task") for _, rows in requests.groupby(requests["task"] % clients)]


@pytest.mark.parametrize("think", [0.0, {"distribution": "uniform", "low": 0.0, "high": 0.05}])
@pytest.mark.parametrize("engine", ["generic", "vllm"])
def test_a_client_never_has_two_requests_in_flight(think, engine):
    """Also where an answer takes its time from the engine to the client."""
    clients = 7
    done = run(scenario([pool(replicas=2, engine=engine)], [loop(clients, think)]))
    for rows in of_clients(done.requests, clients):
        assert rows["task"].tolist() == list(range(rows["task"].iloc[0], rows["task"].iloc[-1] + 1, clients))
        assert (np.diff(rows["arrived_s"]) > 0).all()
        assert (rows["arrived_s"].to_numpy()[1:] >= rows["finished_s"].to_numpy()[:-1]).all()
    moments = np.linspace(0.0, 2.0, 5001)
    assert number_inside(done.requests, moments).max() <= clients


def test_without_thinking_all_clients_are_always_inside():
    clients = 7
    done = run(scenario([pool(replicas=2)], [loop(clients)], recording={"series_interval": 0.01}))
    assert set(done.inside.tolist()) == {clients}
    for rows in of_clients(done.requests, clients):
        # The next question comes at the instant of the answer, and waits for no step of its own making.
        gaps = rows["arrived_s"].to_numpy()[1:] - rows["finished_s"].to_numpy()[:-1]
        np.testing.assert_allclose(gaps, 0.0, atol=1e-12)


@pytest.mark.parametrize("engine", ["generic", "vllm"])
def test_clients_think_as_long_as_they_are_told(engine):
    done = run(scenario([pool(replicas=4, engine=engine)], [loop(3, 0.125)], horizon=3.0))
    for rows in of_clients(done.requests, 3):
        assert rows["arrived_s"].iloc[0] == pytest.approx(0.125)
        gaps = rows["arrived_s"].to_numpy()[1:] - rows["finished_s"].to_numpy()[:-1]
        np.testing.assert_allclose(gaps, 0.125, rtol=1e-9)


def test_clients_ask_only_while_their_class_is_active():
    done = run(scenario([pool()], [loop(4, 0.01, active={"from": 0.5, "to": 1.25})]))
    assert done.requests["arrived_s"].min() >= 0.5
    assert done.requests["arrived_s"].max() < 1.25
    assert done.requests["arrived_s"].max() > 1.1


def test_nobody_asks_after_the_horizon_but_all_are_answered():
    done = run(scenario([pool()], [loop(4)], horizon=1.0))
    assert done.requests["arrived_s"].max() < 1.0
    assert done.requests["finished_s"].max() > 1.0
    assert (done.requests["outcome"] == "completed").all()


def test_clients_stop_when_they_have_asked_all_they_may():
    """As a benchmark tool with a number of prompts: the first clients to be free ask the last of them."""
    limited = run(scenario([pool(replicas=2)], [loop(7, requests=50)])).requests
    unlimited = run(scenario([pool(replicas=2)], [loop(7)])).requests
    assert len(limited) == 50
    assert (limited["outcome"] == "completed").all()
    columns = ["task", "arrived_s", "prompt_tokens", "output_tokens"]
    assert limited[columns].equals(unlimited[columns][:50])


def test_the_horizon_ends_what_the_number_of_requests_does_not():
    done = run(scenario([pool()], [loop(4, requests=10_000)], horizon=0.5))
    assert 10 < len(done.requests) < 10_000
    assert done.requests["arrived_s"].max() < 0.5


def test_a_rejected_request_counts_among_those_asked():
    one = {"max_sequences": 1, "token_budget": 8}
    done = run(scenario([pool(queue_limit=2, batching=one)], [loop(8, requests=20)], horizon=60.0)).requests
    assert (done["outcome"] == "rejected").sum() > 3
    assert len(done) == 20


def test_when_all_are_answered_the_simulation_ends_at_its_horizon():
    """The window of the statistics is the scenario's, whether or not anybody asks in it."""
    done = run(scenario([pool()], [loop(4, requests=20)], horizon=30.0, drain=30.0))
    assert done.requests["finished_s"].max() < 5.0
    assert done.result.end.at_s == 30.0


def test_every_client_meets_the_turns_drawn_for_it_however_many_it_takes():
    """One class is fast and one is slow, and both outlast the turns that are drawn at once."""
    quick = work("quick", prompt=MIXED, output={"distribution": "uniform", "low": 1, "high": 3})
    slow = work("slow", prompt=MIXED, output=MIXED) | {"arrivals": closed(2, 0.005)}
    described = scenario([pool(replicas=2)], [quick | {"arrivals": closed(3)}, slow], horizon=3.0)
    requests = run(described).requests
    for each, blocks in zip(described.workload, (8, 3), strict=True):
        clients = each.arrivals.clients
        rows = requests[requests["class"] == each.name]
        turn, client = np.divmod(rows["task"].to_numpy(), clients)
        assert turn.max() > blocks * TURNS_PER_BLOCK
        assert not rows["task"].duplicated().any()
        drawn = [draw_turns(each, described.seed, clients, block) for block in range(turn.max() // TURNS_PER_BLOCK + 1)]
        for column in ("prompt_tokens", "output_tokens"):
            expected = np.concatenate([getattr(turns, column) for turns in drawn], axis=1)
            np.testing.assert_array_equal(rows[column], expected[client, turn])


def test_more_clients_than_the_first_tables_hold_all_ask():
    """The tables of requests inside and of timers grow while nobody is answered yet."""
    clients = 20_000
    brief = work(prompt=1, output=1, cancellation={"share": 1.0, "after": 0.5}, timeout=0.4)
    done = run(scenario([pool()], [brief | {"arrivals": closed(clients)}], horizon=0.01, drain=1.0))
    assert len(done.requests) >= clients
    assert set(done.requests["task"]) >= set(range(clients))
    assert (done.requests["outcome"] != "open").all()


def test_an_impatient_client_asks_again_when_it_gave_up():
    one = {"max_sequences": 1, "token_budget": 8, "block_size": 16}
    done = run(scenario([pool(batching=one)], [loop(5, 0.01, timeout=0.0507)]))
    gone = done.requests[done.requests["outcome"] == "timed_out"]
    assert len(gone) > 10
    np.testing.assert_allclose(gone["finished_s"] - gone["arrived_s"], 0.0507, rtol=1e-9)
    assert gone["first_token_s"].isna().all()
    for rows in of_clients(done.requests, 5):
        gaps = rows["arrived_s"].to_numpy()[1:] - rows["finished_s"].to_numpy()[:-1]
        # Who left in the midst of a step is done with at the end of that step; these last 2 ms at most.
        assert (gaps > 0.01 - 1e-9).all()
        assert (gaps < 0.01 + 0.002).all()
        assert np.median(gaps) == pytest.approx(0.01)


def test_more_clients_bring_more_throughput_until_the_fleet_is_full():
    """The law of a closed loop: throughput = clients / (think time + mean time inside)."""
    for clients in (1, 4, 16):
        done = run(scenario([pool()], [loop(clients, 0.02)], recording={"series_interval": 1.0}))
        whole = done.requests
        cycle = 0.02 + (whole["finished_s"] - whole["arrived_s"]).mean()
        assert len(whole) / 2.0 == pytest.approx(clients / cycle, rel=0.05)


REJECTED = """
from oracle.small import closed, pool, run, scenario, work
one = {"max_sequences": 1, "token_budget": 8}
loop = work() | {"arrivals": closed(5, 0.0)}
done = run(scenario([pool(queue_limit=2, batching=one)], [loop], horizon=0.2))
assert (done.requests["outcome"] == "completed").sum() > 3
assert (done.requests["outcome"] == "rejected").sum() > 0
"""


def test_rejected_clients_do_not_stop_time():
    """Who is rejected and does not think would ask again at the same instant, for ever."""
    tests = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    # In a process of its own, which can be stopped: a loop inside the kernel cannot be interrupted.
    finished = subprocess.run(
        [sys.executable, "-c", REJECTED], env=environment, capture_output=True, text=True, timeout=60
    )
    assert finished.returncode == 0, finished.stderr
