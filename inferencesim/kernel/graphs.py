"""Tasks at run time: what is done starts what comes after it, and what fails gives up what depends on it.

A node starts when enough of those before it are done: a call comes to the
gateway like any request, a tool waits for its cores, first come, first served.
Each node that ends does so by a timer of its own, so that one event of the
clock touches the nodes of one task only.

A tool that is lost keeps its cores until somebody notices, and is run again as
often as its pool allows. A call that is not answered, or whose answer is bad and was noticed, is made
again as far as its class allows: of the same model, of the next one on the
class's list, or by a person; then it fails. Its branch is given up; the join goes on
without it as long as enough branches are left, else it fails in turn, up to the
task. Branches that a join no longer needs, and all that is left of a task that
failed or timed out, are cancelled: requests leave at the end of the step they
are in, tools at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from inferencesim.jit import inner, inner_inlined
from inferencesim.kernel.departures import give_up
from inferencesim.kernel.graph_tables import (
    BAD,
    CALL,
    CANCELLED,
    DONE,
    DORMANT,
    DUE,
    FAILED,
    GOOD,
    JOIN,
    NOT_JUDGED,
    QUEUED,
    RUNNING,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_OPEN,
    TASK_TIMED_OUT,
    TOOL,
    UNNOTICED,
)
from inferencesim.kernel.heap import add_timer, drop_first_timer
from inferencesim.kernel.sample import task_key
from inferencesim.kernel.tables import (
    CALL_DUE,
    COMPLETED,
    NODE_DONE,
    NODE_FAILED,
    REJECTED,
    TASK_LATE,
    TIMED_OUT,
    TOOL_LOST,
)
from inferencesim.kernel.tables import CANCELLED as REQUEST_CANCELLED
from inferencesim.kernel.tables import FAILED as REQUEST_FAILED
from inferencesim.kernel.views import mix

if TYPE_CHECKING:
    from inferencesim.kernel.gateway import Gateway
    from inferencesim.kernel.tables import Fleet

#: Tells the luck of an answer from all else that is drawn from its call's key.
_LUCK = 7_000_003
#: Likewise the loss of a tool.
_LOSS = 9_000_011


@inner
def begin_task(fleet: Fleet, gateway: Gateway) -> None:
    """Let the next task begin: its first node, which is a join of nothing, is done."""
    clock = fleet.clock[0]
    row = clock["next_task"]
    clock["next_task"] += 1
    clock["tasks_open"] += 1
    task = gateway.graphs.tasks[row]
    if task["timeout_s"] < float("inf"):
        add_timer(fleet, task["arrived_s"] + task["timeout_s"], TASK_LATE, row, -1)
    _start(fleet, gateway, task["first_node"], task["arrived_s"])


@inner
def task_timer(fleet: Fleet, gateway: Gateway, now: float) -> None:
    """Handle the first timer, which is a task's."""
    kind, number = fleet.timers[0]["kind"], fleet.timers[0]["number"]
    drop_first_timer(fleet)
    if kind == TASK_LATE:
        if gateway.graphs.tasks[number]["outcome"] == TASK_OPEN:
            _end_task(fleet, gateway, number, TASK_TIMED_OUT, now)
    elif gateway.graphs.nodes[number]["state"] != RUNNING:
        # It was cancelled in the meantime.
        return
    elif kind == NODE_DONE:
        _pass_on(fleet, gateway, number, now)
    elif kind == TOOL_LOST:
        _lose_tool(fleet, gateway, number, now)
    else:
        _fail(fleet, gateway, number, now)


@inner
def write_call(fleet: Fleet, gateway: Gateway) -> bool:
    """Write the request of the call that is due; return False, and forget it, if it was cancelled."""
    node = fleet.timers[0]["number"]
    n = gateway.graphs.nodes[node]
    if n["state"] != DUE:
        drop_first_timer(fleet)
        return False
    task = gateway.graphs.tasks[n["task"]]
    arrival = gateway.asking[0]
    arrival["request_id"] = gateway.stream.size + fleet.clock[0]["asked"]
    arrival["task"] = task["number"]
    arrival["class_index"] = n["index"]
    arrival["session"] = task["session"]
    arrival["prompt_tokens"] = n["prompt_tokens"]
    arrival["output_tokens"] = n["output_tokens"]
    arrival["arrived_s"] = fleet.timers[0]["at_s"]
    arrival["patience_s"] = gateway.loops[n["index"]]["patience_s"]
    arrival["cancel_after_s"] = n["cancel_after_s"]
    arrival["level"] = n["level"]
    arrival["attempt"] = n["attempts"]
    arrival["predicted_tokens"] = n["predicted_tokens"]
    arrival["prefix"] = n["prefix"]
    arrival["history"] = n["history"]
    arrival["chain"] = n["chain"]
    arrival["chain_blocks"] = n["chain_blocks"]
    arrival["media_units"] = n["media_units"]
    arrival["media_s"] = n["media_s"]
    arrival["client"] = -1
    arrival["node"] = node
    return True


@inner_inlined
def count_call(fleet: Fleet) -> None:
    """Count the call that was due as made."""
    fleet.clock[0]["asked"] += 1
    drop_first_timer(fleet)


@inner
def call_enters(gateway: Gateway, node: int, slot: int, request_id: int) -> None:
    """Note where the request of a call is."""
    n = gateway.graphs.nodes[node]
    n["state"] = RUNNING
    n["slot"] = slot
    n["request_id"] = request_id
    n["attempts"] += 1
    task = gateway.graphs.tasks[n["task"]]
    task["inside"] += 1
    task["calls"] += 1


@inner
def call_left(fleet: Fleet, gateway: Gateway, record: Any) -> None:
    """Take note that the request of a call has left, and set the timer for what follows from that."""
    node = record["node"]
    n = gateway.graphs.nodes[node]
    task = gateway.graphs.tasks[n["task"]]
    task["inside"] -= 1
    task["prompt_tokens"] += record["prompt_tokens"]
    task["generated_tokens"] += record["generated_tokens"]
    n["slot"] = -1
    _close(fleet, gateway, n["task"])
    if n["state"] != RUNNING:
        return
    # A completed request is with its task a little later than it leaves the engine.
    at_s = max(fleet.clock[0]["now_s"], record["finished_s"])
    if record["outcome"] == COMPLETED:
        _take_answer(fleet, gateway, record, at_s)
    else:
        _do_without(fleet, gateway, record, at_s)


@inner
def _take_answer(fleet: Fleet, gateway: Gateway, record: Any, at_s: float) -> None:
    """Go on with the answer of a call, or ask again if it is bad and somebody noticed."""
    graphs, node = gateway.graphs, record["node"]
    n = graphs.nodes[node]
    task, follow_up = graphs.tasks[n["task"]], graphs.follow_ups[n["index"]]
    record["answer"] = judge(gateway, record)
    task["wrong"] += record["answer"] == UNNOTICED
    if record["answer"] != BAD:
        add_timer(fleet, at_s, NODE_DONE, node, -1)
        return
    at_s += follow_up["check_s"]
    n["tries"] += 1
    level = max(n["level"], graphs.curves[n["index"], _answered_by(gateway, record)]["level"])
    if n["tries"] <= follow_up["retries"]:
        task["retries"] += 1
        _ask_again(fleet, gateway, node, at_s)
    elif follow_up["escalates"] and level + 1 < follow_up["levels"]:
        n["level"] = level + 1
        n["tries"] = 0
        task["escalations"] += 1
        _ask_again(fleet, gateway, node, at_s)
    elif follow_up["person_s"] >= 0.0:
        task["people"] += 1
        task["people_usd"] += follow_up["person_usd"]
        graphs.people_usd[task["class_index"]] += follow_up["person_usd"]
        add_timer(fleet, at_s + follow_up["person_s"], NODE_DONE, node, -1)
    else:
        add_timer(fleet, at_s, NODE_FAILED, node, -1)


@inner
def _do_without(fleet: Fleet, gateway: Gateway, record: Any, at_s: float) -> None:
    """Send a call again that was not answered, or let it fail."""
    graphs, node = gateway.graphs, record["node"]
    n = graphs.nodes[node]
    follow_up = graphs.follow_ups[n["index"]]
    rejected = record["outcome"] == REJECTED and follow_up["after_rejected"]
    timed_out = record["outcome"] == TIMED_OUT and follow_up["after_timed_out"]
    failed = record["outcome"] == REQUEST_FAILED and follow_up["after_failed"]
    if (rejected or timed_out or failed) and n["resent"] < follow_up["attempts"]:
        graphs.tasks[n["task"]]["retries"] += 1
        _ask_again(fleet, gateway, node, at_s + follow_up["back_off_s"] * 2.0 ** n["resent"])
        n["resent"] += 1
    else:
        add_timer(fleet, at_s, NODE_FAILED, node, -1)


@inner_inlined
def _ask_again(fleet: Fleet, gateway: Gateway, node: int, at_s: float) -> None:
    gateway.graphs.nodes[node]["state"] = DUE
    add_timer(fleet, at_s, CALL_DUE, node, -1)


@inner_inlined
def _answered_by(gateway: Gateway, record: Any) -> int:
    """Return the candidate that answered a request: a pool, or a provider, which come after them."""
    return int(record["pool"] if record["provider"] < 0 else gateway.rows.shape[1] + record["provider"])


@inner
def judge(gateway: Gateway, record: Any) -> int:
    """Return how good an answer is: by luck of the call's own, the same for every model that might have given it."""
    graphs, node = gateway.graphs, record["node"]
    n = graphs.nodes[node]
    if math.isnan(n["difficulty"]):
        return NOT_JUDGED
    curve = graphs.curves[n["index"], _answered_by(gateway, record)]
    share = curve["ceiling"] / (1.0 + math.exp((n["difficulty"] - curve["ability"]) / curve["slope"]))
    key = mix(node_key(gateway, node), _LUCK + record["attempt"])
    if mix(key, 1) / 2147483648.0 < share:
        return GOOD
    return BAD if mix(key, 2) / 2147483648.0 < graphs.follow_ups[n["index"]]["noticed"] else UNNOTICED


@inner_inlined
def owner_key(gateway: Gateway, node: int) -> int:
    """Return 31 random bits of the task of a node; classes of tasks are numbered after those of the workload."""
    task = gateway.graphs.tasks[gateway.graphs.nodes[node]["task"]]
    return task_key(gateway.seed, gateway.loops.size + task["class_index"], task["number"])


@inner_inlined
def node_key(gateway: Gateway, node: int) -> int:
    """Return 31 random bits of a node's own."""
    first = gateway.graphs.tasks[gateway.graphs.nodes[node]["task"]]["first_node"]
    return mix(owner_key(gateway, node), node - first + 1)


@inner
def _start(fleet: Fleet, gateway: Gateway, node: int, now: float) -> None:
    """Start a node that has all it needs."""
    n = gateway.graphs.nodes[node]
    n["due_s"] = now
    n["queued_s"] = now
    if n["kind"] == CALL:
        n["state"] = DUE
        add_timer(fleet, now, CALL_DUE, node, -1)
    elif n["kind"] == TOOL:
        _queue_tool(gateway, node)
        _serve_tools(fleet, gateway, n["index"], now)
    else:
        n["state"] = RUNNING
        if n["kind"] == JOIN and n["needs"] < n["before"]:
            _cancel(fleet, gateway, n["first_inside"], node, now)
        add_timer(fleet, now + n["work_s"], NODE_DONE, node, -1)


@inner
def _pass_on(fleet: Fleet, gateway: Gateway, node: int, now: float) -> None:
    """End a node well, and start those after it that waited for nothing else."""
    graphs = gateway.graphs
    n = graphs.nodes[node]
    if n["kind"] == TOOL:
        _free_cores(fleet, gateway, node, now)
    n["state"] = DONE
    n["ended_s"] = now
    for edge in range(n["first_edge"], n["first_edge"] + n["edges"]):
        following = graphs.nodes[graphs.edges[edge]]
        following["came"] += 1
        if following["came"] == following["needs"] and following["state"] == DORMANT:
            _start(fleet, gateway, graphs.edges[edge], now)
    if n["edges"] == 0:
        _end_task(fleet, gateway, n["task"], TASK_COMPLETED, now)


@inner
def _fail(fleet: Fleet, gateway: Gateway, node: int, now: float) -> None:
    """End a node badly, and give up what cannot go on without it."""
    nodes = gateway.graphs.nodes
    while True:
        n = nodes[node]
        n["state"] = FAILED
        n["ended_s"] = now
        scope = n["scope"]
        if scope < 0:
            _end_task(fleet, gateway, n["task"], TASK_FAILED, now)
            return
        _cancel(fleet, gateway, node + 1, n["branch_end"], now)
        join = nodes[scope]
        join["lost"] += 1
        if join["before"] - join["lost"] >= join["needs"]:
            return
        _cancel(fleet, gateway, join["first_inside"], scope, now)
        node = scope


@inner
def _end_task(fleet: Fleet, gateway: Gateway, row: int, outcome: int, now: float) -> None:
    """End a task, and cancel what is left of it."""
    clock = fleet.clock[0]
    task = gateway.graphs.tasks[row]
    task["outcome"] = outcome
    task["finished_s"] = now
    clock["tasks_open"] -= 1
    clock["last_left_s"] = max(clock["last_left_s"], now)
    if outcome != TASK_COMPLETED:
        _cancel(fleet, gateway, task["first_node"], task["first_node"] + task["nodes"], now)
    _close(fleet, gateway, row)


@inner_inlined
def _close(fleet: Fleet, gateway: Gateway, row: int) -> None:
    """File a task that has ended, once none of its requests is inside."""
    task = gateway.graphs.tasks[row]
    if task["outcome"] != TASK_OPEN and task["inside"] == 0:
        gateway.graphs.closed[fleet.clock[0]["tasks_closed"]] = row
        fleet.clock[0]["tasks_closed"] += 1


@inner
def _cancel(fleet: Fleet, gateway: Gateway, first: int, end: int, now: float) -> None:
    """Cancel those nodes from `first` to before `end` that have not ended."""
    for node in range(first, end):
        n = gateway.graphs.nodes[node]
        state = n["state"]
        if state in (DONE, FAILED, CANCELLED):
            continue
        n["state"] = CANCELLED
        n["ended_s"] = now
        if n["kind"] == CALL and state == RUNNING:
            if n["slot"] >= 0 and fleet.slots[n["slot"]]["request_id"] == n["request_id"]:
                give_up(fleet, gateway.schedulers, n["slot"], REQUEST_CANCELLED, now)
        elif n["kind"] == TOOL and state == RUNNING:
            _free_cores(fleet, gateway, node, now)
        elif n["kind"] == TOOL and state == QUEUED:
            gateway.graphs.tools[n["index"]]["waiting"] -= 1
            # Who waits behind it may need fewer cores.
            _serve_tools(fleet, gateway, n["index"], now)


@inner
def _queue_tool(gateway: Gateway, node: int) -> None:
    """Put a tool at the end of the queue for its cores."""
    n = gateway.graphs.nodes[node]
    tools = gateway.graphs.tools[n["index"]]
    n["state"] = QUEUED
    n["following"] = -1
    if tools["tail"] >= 0:
        gateway.graphs.nodes[tools["tail"]]["following"] = node
    else:
        tools["head"] = node
    tools["tail"] = node
    tools["waiting"] += 1


@inner
def _serve_tools(fleet: Fleet, gateway: Gateway, index: int, now: float) -> None:
    """Start the first tools in the queue while their cores are free."""
    graphs = gateway.graphs
    tools = graphs.tools[index]
    while tools["head"] >= 0:
        node = tools["head"]
        n = graphs.nodes[node]
        if n["state"] == QUEUED:
            if tools["busy"] + n["cores"] > tools["cores"]:
                return
            tools["waiting"] -= 1
            n["state"] = RUNNING
            n["began_s"] = now
            _take_cores(tools, n["cores"], now)
            if is_lost(gateway, node):
                add_timer(fleet, now + tools["notice_s"], TOOL_LOST, node, -1)
            else:
                add_timer(fleet, now + n["work_s"], NODE_DONE, node, -1)
            task = graphs.tasks[n["task"]]
            task["tools"] += 1
            task["tool_wait_s"] += now - n["queued_s"]
        tools["head"] = n["following"]
        if tools["head"] < 0:
            tools["tail"] = -1


@inner_inlined
def is_lost(gateway: Gateway, node: int) -> bool:
    """Tell whether a tool that has just begun will never come back, this time: by luck of the node's own."""
    n = gateway.graphs.nodes[node]
    tools = gateway.graphs.tools[n["index"]]
    if tools["lost_share"] == 0.0 or not tools["lost_from_s"] <= n["began_s"] < tools["lost_to_s"]:
        return False
    return bool(mix(node_key(gateway, node), _LOSS + n["tries"]) / 2147483648.0 < tools["lost_share"])


@inner
def _lose_tool(fleet: Fleet, gateway: Gateway, node: int, now: float) -> None:
    """Give up a tool that was lost: run it again, behind all others that wait, or let it fail."""
    graphs = gateway.graphs
    n = graphs.nodes[node]
    n["tries"] += 1
    graphs.tasks[n["task"]]["lost_tools"] += 1
    if n["tries"] > graphs.tools[n["index"]]["retries"]:
        _free_cores(fleet, gateway, node, now)
        _fail(fleet, gateway, node, now)
    else:
        n["queued_s"] = now
        _queue_tool(gateway, node)
        _free_cores(fleet, gateway, node, now)


@inner
def _free_cores(fleet: Fleet, gateway: Gateway, node: int, now: float) -> None:
    """Give back the cores of a running tool, and book what it used."""
    graphs = gateway.graphs
    n = graphs.nodes[node]
    task = graphs.tasks[n["task"]]
    lasted = now - n["began_s"]
    task["tool_s"] += lasted
    graphs.tool_use[n["index"], task["class_index"]] += n["cores"] * lasted
    _take_cores(graphs.tools[n["index"]], -n["cores"], now)
    _serve_tools(fleet, gateway, n["index"], now)


@inner_inlined
def _take_cores(tools: Any, cores: int, now: float) -> None:
    tools["core_s"] += tools["busy"] * (now - tools["since_s"])
    tools["since_s"] = now
    tools["busy"] += cores
