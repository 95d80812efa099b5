"""What happens at one and the same instant happens in one documented order."""

from __future__ import annotations

import json

import numpy as np
import pytest
from oracle.small import closed, pool, run, scenario, share_of_memory, work

#: Every step takes exactly this long.
STEP_S = 0.01
ONE = {"max_sequences": 1, "token_budget": 8}


def replayed(tmp_path, arrivals, batching=None, fleet=None, **said):
    """Replay exact arrivals: (seconds, prompt, output) each."""
    file = tmp_path / "trace.jsonl"
    rows = [
        {"timestamp": round(at * 1000), "input_length": prompt, "output_length": output, "hash_ids": [i]}
        for i, (at, prompt, output) in enumerate(arrivals)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    trace = {"process": "trace", "file": str(file), "format": "mooncake", "spread": 0.0}
    each = {"name": "c", "arrivals": trace, "models": ["small-model"], **said}
    fleet = fleet or [pool(hardware="constant-chip", batching=batching or {})]
    return run(scenario(fleet, [each], horizon=1.0)).requests


def test_arrivals_at_one_instant_come_in_the_order_of_the_load(tmp_path):
    done = replayed(tmp_path, [(0.0, 1, 2), (0.0, 1, 2), (0.0, 1, 2)], ONE)
    np.testing.assert_allclose(done["scheduled_s"], [0.0, 2 * STEP_S, 4 * STEP_S], rtol=1e-6)


def test_clients_ask_by_class_and_number_and_before_the_load_from_outside():
    one = {"prompt": 1, "output": 1}
    outside = work("outside", **one) | {"arrivals": {"process": "burst", "requests": 2}}
    first = work("first", **one) | {"arrivals": closed(2, requests=2)}
    second = work("second", **one) | {"arrivals": closed(2, requests=2)}
    fleet = [pool(hardware="constant-chip", batching=ONE)]
    done = run(scenario(fleet, [outside, first, second])).requests.sort_values("scheduled_s")
    assert done["class"].tolist() == ["first", "first", "second", "second", "outside", "outside"]
    assert done["task"].tolist() == [0, 1, 0, 1, 0, 1]


def test_who_leaves_at_an_instant_makes_room_for_the_client_that_asks_then():
    """A queue of one: it is free again at the very moment its only request is cancelled."""
    holds = work("holds", prompt=1, output=1000) | {"arrivals": {"process": "burst", "requests": 1}}
    waits = work("waits", prompt=1, output=1, cancellation={"share": 1.0, "after": 0.5}, active={"from": 0.25})
    waits |= {"arrivals": {"process": "burst", "requests": 1}}
    asks = work("asks", prompt=1, output=1) | {"arrivals": closed(1, 0.75, requests=1)}
    fleet = [pool(hardware="constant-chip", batching=ONE, queue_limit=1)]
    done = run(scenario(fleet, [holds, waits, asks])).requests.set_index("class")
    assert done.loc["waits", "finished_s"] == done.loc["asks", "arrived_s"] == 0.75
    assert done.loc["waits", "outcome"] == "cancelled"
    assert done.loc["asks", "outcome"] == "completed"


def test_a_client_that_does_not_think_asks_after_the_next_batch_was_formed():
    """Its answer ends a step; the other sequence is in the next one already, which the client has to wait for."""
    short = work("short", prompt=1, output=1) | {"arrivals": closed(1, requests=2)}
    long = work("long", prompt=1, output=9) | {"arrivals": {"process": "burst", "requests": 1}}
    done = run(scenario([pool(hardware="constant-chip")], [short, long])).requests
    asked = done[done["class"] == "short"]
    np.testing.assert_allclose(asked["arrived_s"], [0.0, STEP_S], rtol=1e-6)
    np.testing.assert_allclose(asked["scheduled_s"], [0.0, 2 * STEP_S], rtol=1e-6)


def test_equally_loaded_replicas_are_chosen_by_number(tmp_path):
    fleet = [pool(hardware="constant-chip", replicas=3)]
    done = replayed(tmp_path, [(0.0, 1, 5)] * 4, fleet=fleet)
    assert done["replica"].tolist() == [0, 1, 2, 0]


def test_the_first_of_a_burst_starts_alone_and_the_rest_join_the_next_step(tmp_path):
    done = replayed(tmp_path, [(0.0, 1, 3)] * 3)
    np.testing.assert_allclose(done["scheduled_s"], [0.0, STEP_S, STEP_S], rtol=1e-6)
    np.testing.assert_allclose(done["finished_s"], [3 * STEP_S, 4 * STEP_S, 4 * STEP_S], rtol=1e-6)


def test_an_arrival_in_the_midst_of_a_step_waits_for_its_end(tmp_path):
    done = replayed(tmp_path, [(0.0, 1, 30), (0.125, 1, 1)])
    assert done["scheduled_s"][1] == pytest.approx(0.13, rel=1e-6)
    assert done["finished_s"][1] == pytest.approx(0.14, rel=1e-6)
    # In the step it shares the first goes on decoding.
    assert done["finished_s"][0] == pytest.approx(0.30, rel=1e-6)


def test_a_long_prompt_takes_a_step_per_chunk_and_decodes_go_on_beside_it(tmp_path):
    batching = {"max_sequences": 4, "token_budget": 5}
    done = replayed(tmp_path, [(0.0, 1, 10), (0.025, 8, 2)], batching)
    # From step 3 on one token of the budget goes to the first: chunks of 4 and 4.
    assert done["scheduled_s"][1] == pytest.approx(0.03, rel=1e-6)
    assert done["first_token_s"][1] == pytest.approx(0.05, rel=1e-6)
    assert done["finished_s"].tolist() == pytest.approx([0.10, 0.06], rel=1e-6)


def test_a_preempted_request_recomputes_its_kv_at_the_head_of_the_queue(tmp_path):
    """Four blocks of two tokens: two sequences of up to three and two blocks fit only one after the other."""
    batching = {"max_sequences": 4, "token_budget": 8, "block_size": 2}
    chip = pool(hardware="constant-chip")
    share = share_of_memory(chip["hardware"], chip["model"], batching, 4)
    fleet = [chip | {"batching": batching, "memory_share": share}]
    done = replayed(tmp_path, [(0.0, 3, 4), (0.0, 3, 4), (0.001, 1, 1)], fleet=fleet)
    assert done["preemptions"].tolist() == [0, 1, 0]
    # The first ends with step 4; the second generated two tokens before it had to go, and recomputes five.
    assert done["finished_s"][0] == pytest.approx(0.04, rel=1e-6)
    assert done["first_token_s"][1] == pytest.approx(0.02, rel=1e-6)
    assert done["generated_tokens"].tolist() == [4, 4, 1]
    assert done["finished_s"][1] > 0.05
