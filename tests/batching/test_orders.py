"""Each order of the waiting queue serves first whom it says, one seat at a time."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.small import closed, work
from stepping import group, opens, played, served

ONE_SEAT = {"max_sequences": 1}
EXACT = {"sigma": 0.0}


def queued(order, *classes, **batching):
    """Let classes wait, in this order of arrival, for one seat that is taken for two steps."""
    arriving = [each | {"active": {"from": 0.001 * (1 + index)}} for index, each in enumerate(classes)]
    return served(played([opens(output=2), *arriving], order=order, **ONE_SEAT, **batching))


def test_fcfs_serves_who_came_first():
    classes = [group("a", priority=2, output=9), group("b", priority=0), group("c", promise={"ttft": 0.1})]
    assert queued("fcfs", *classes) == ["a", "b", "c"]


def test_priority_serves_the_lowest_number_first_and_equals_as_they_came():
    classes = [group(name, priority=priority) for name, priority in (("a", 2), ("b", 0), ("c", 1), ("d", -1), ("e", 0))]
    assert queued("priority", *classes) == ["d", "b", "e", "c", "a"]


def test_edf_serves_the_earliest_promise_first_and_who_has_none_last():
    classes = [
        group("none"),
        group("in_a_second", promise={"ttft": 1.0}),
        group("at_once", promise={"ttft": 0.5, "e2e": 9.0}),
        group("answered_soon", promise={"e2e": 0.2}),
    ]
    assert queued("edf", *classes) == ["answered_soon", "at_once", "in_a_second", "none"]


def test_edf_counts_from_the_arrival():
    """Who came later has the later deadline, though the shorter promise."""
    early = group("early", at=0.5, promise={"ttft": 1.0})
    late = group("late", at=80.5, promise={"ttft": 0.3})
    assert served(played([opens(output=90), late, early], order="edf", **ONE_SEAT)) == ["early", "late"]


def test_sjf_serves_the_shortest_predicted_answer_first():
    classes = [group(f"of_{output}", output=output, length_prediction=EXACT) for output in (5, 3, 1, 4)]
    assert queued("sjf", *classes) == ["of_1", "of_3", "of_4", "of_5"]


def test_sjf_counts_the_prompt_as_far_as_it_is_told_to():
    short_answer = group("short_answer", prompt=40, output=2, length_prediction=EXACT)
    short_prompt = group("short_prompt", prompt=1, output=6, length_prediction=EXACT)
    assert queued("sjf", short_prompt, short_answer) == ["short_answer", "short_prompt"]
    weighted = {"policy": "sjf", "parameters": {"prompt_weight": 1.0}}
    assert queued(weighted, short_answer, short_prompt) == ["short_prompt", "short_answer"]


def jobs_of_any_length(order, sigma):
    """Return 80 jobs, answers of 1 to 40 tokens, played through one seat."""
    lengths = {"distribution": "uniform", "low": 1, "high": 40}
    jobs = group("jobs", at=0.5, count=80, output=lengths, length_prediction={"sigma": sigma})
    requests = played([opens(), jobs], order=order, horizon=40.0, **ONE_SEAT)
    jobs = requests[requests["class"] == "jobs"]
    assert (jobs["outcome"] == "completed").all()
    return jobs


def test_sjf_is_best_with_perfect_predictions_and_loses_as_they_get_worse():
    perfect = jobs_of_any_length("sjf", 0.0)
    # Nothing beats the shortest first: each waits for all shorter ones, from the end of the opening step on.
    shortest_first = 1 + np.cumsum(np.sort(perfect["output_tokens"])) - 0.5
    assert (perfect["finished"] - 0.5).mean() == pytest.approx(shortest_first.mean(), rel=1e-6)
    means = [jobs_of_any_length("sjf", sigma)["e2e_s"].mean() for sigma in (0.0, 0.5, 1.5)]
    means.append(jobs_of_any_length("fcfs", 0.0)["e2e_s"].mean())
    assert means == sorted(means)
    assert means[-1] > 1.3 * means[0]


def test_a_stream_of_high_priority_starves_a_low_one_unless_it_has_waited_long_enough():
    def waited(**batching):
        high = work("high", prompt=1, output=1, priority=0) | {"arrivals": closed(3, requests=100)}
        classes = [high, group("low", at=0.5, priority=1)]
        requests = played(classes, order="priority", **ONE_SEAT, **batching).set_index("class")
        return requests.loc["low", "scheduled"] - 0.5

    assert waited() > 95
    # Ten steps, and at most the three who had overtaken it by then.
    assert 10 <= waited(starvation_after=0.1) <= 13
    assert 20 <= waited(starvation_after=0.2) <= 23


def tenant(name, count, prompt, output):
    return group(name, at=0.5, count=count, prompt=prompt, output=output, tags={"tenant": name})


def service(requests):
    """Return the tokens each tenant was given, outputs counted twice, after each request that one seat served."""
    done = requests[requests["class"] != "opens"].sort_values("finished")
    tokens = done["prompt_tokens"] + 2 * done["output_tokens"]
    return {name: tokens.where(done["class"] == name, 0).cumsum().to_numpy() for name in ("many", "few")}


@pytest.mark.parametrize(("prompt", "output"), [(4, 5), (1, 1), (8, 1)])
def test_vtc_gives_two_backlogged_tenants_the_same_service(prompt, output):
    """One sends ten times as many; while both wait, neither gets ahead by more than the largest request."""
    classes = [opens(), tenant("many", 200, prompt, output), tenant("few", 20, 3, 2)]
    requests = played(classes, order="vtc", **ONE_SEAT)
    given = service(requests)
    both = given["few"] < given["few"][-1]
    assert both.sum() >= 20
    largest = max(prompt + 2 * output, 3 + 2 * 2)
    assert np.abs(given["many"] - given["few"])[both].max() <= largest
    # First come, first served, the few wait for all of the many.
    given = service(played(classes, **ONE_SEAT))
    assert np.abs(given["many"] - given["few"])[:100].max() > 5 * largest


def test_vtc_saves_up_nothing_for_who_was_away():
    """A tenant that comes back after the other was served alone shares from then on; it does not catch up."""
    classes = [opens(), tenant("many", 60, 4, 5), group("back", at=100.5, count=20, prompt=4, output=5)]
    requests = played(classes, order="vtc", **ONE_SEAT)
    turns = served(requests[requests["scheduled"] > 100])[:20]
    assert 9 <= turns.count("back") <= 11


def test_classes_of_one_tenant_share_its_part():
    classes = [
        opens(),
        group("a", at=0.5, count=40, tags={"tenant": "one"}),
        group("b", at=0.5, count=40, tags={"tenant": "one"}),
        group("c", at=0.5, count=40, tags={"tenant": "other"}),
    ]
    first = served(played(classes, order="vtc", **ONE_SEAT))[:40]
    assert 19 <= first.count("c") <= 21
