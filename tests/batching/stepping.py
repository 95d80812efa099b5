"""A replica whose every step takes 10 ms, whatever is in it: times can be told in steps, and counted by hand."""

from __future__ import annotations

from oracle.small import pool, run, scenario, work

STEP_S = 0.01


def group(name, at=0.0, count=1, **said):
    """Return a class of `count` requests that all arrive `at` so many steps; of one token each way unless said."""
    said = {"prompt": 1, "output": 1, **said}
    return work(name, active={"from": at * STEP_S}, **said) | {"arrivals": {"process": "burst", "requests": count}}


def opens(output=1, prompt=1, **said):
    """Return one request that comes to the idle replica at 0, so that those who come after it wait for each other."""
    return group("opens", prompt=prompt, output=output, **said)


def played(classes, policy="chunked_prefill", order="fcfs", horizon=20.0, fleet=None, **batching):
    """Return the requests in order of arrival, with the step at which each was scheduled, answered, and finished."""
    batching = {"policy": policy, "order": order, "max_sequences": 8, "token_budget": 8, **batching}
    described = [pool(hardware="constant-chip", batching=batching, **(fleet or {}))]
    requests = run(scenario(described, classes, horizon=horizon)).requests
    for column in ("scheduled", "first_token", "finished"):
        requests[column] = (requests[f"{column}_s"] / STEP_S).round(4)
    return requests


def by_class(requests, column):
    """Return the class's value of a column, of classes of one request."""
    return requests.set_index("class")[column].to_dict()


def served(requests):
    """Return the names of the classes in the order in which their requests were scheduled, but for the opening one."""
    names = requests.sort_values("scheduled", kind="stable")["class"].tolist()
    return [name for name in names if name != "opens"]
