"""What happens at one and the same instant happens in one documented order."""

from __future__ import annotations

import json

import numpy as np
import pytest
from oracle.small import pool, run, scenario, share_of_memory

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
