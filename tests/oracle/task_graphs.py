"""The rules of task graphs, retold naively: given when each call was answered, when does everything else happen?

Nothing here looks at how the kernel keeps its nodes; the graph comes from the
workload anew, the answers from the requests table of the run that is checked.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from pathlib import Path

import numpy as np

from inferencesim.kernel.graph_tables import CALL, JOIN, NODE_STATES, TOOL
from inferencesim.kernel.sample import task_key
from inferencesim.kernel.tables import COMPLETED, FAILED, REJECTED, TIMED_OUT
from inferencesim.kernel.views import mix
from inferencesim.scenario.failures import LostTools
from inferencesim.workload.graphs import unroll
from inferencesim.workload.load import generate_load

#: At one instant in this order, then by number of node or task.
ENDS, LATE, BEGINS, CALLS = range(4)

#: A request that was answered by nobody is sent again, if its class has that.
UNANSWERED = {REJECTED: "rejected", TIMED_OUT: "timed_out", FAILED: "failed"}


class Story:
    """What happened to every node and task of a run, told from its calls alone.

    Parameters
    ----------
    run : oracle.small.Run
    """

    def __init__(self, run):
        scenario = run.plan.scenario
        load = generate_load(scenario.workload, scenario.horizon, scenario.seed, Path())
        graphs, _ = unroll(scenario, load)
        self.nodes, self.tasks, self.edges = graphs.nodes, graphs.tasks, graphs.edges
        self.end_s = run.result.end.at_s
        self.seed, self.classes = scenario.seed & 0x7FFFFFFF, len(scenario.workload)
        self.retries = [each.retry for each in scenario.workload]
        # Of each call the requests it made, in their order.
        self.answers = {}
        for record in run.records():
            if record["node"] >= 0:
                self.answers.setdefault(int(record["node"]), []).append(record)
        self.made = dict.fromkeys(self.answers, 0)
        self.losing = {each.tool: each for each in scenario.failures if isinstance(each, LostTools)}
        self.tools = [tools.name for tools in run.plan.tools]
        self.times_lost = [0] * len(graphs.nodes)
        # A request in a step leaves at its end: by then what gave up first may have cancelled its node.
        nodes = run.simulation.gateway.graphs.nodes
        self.failed_s = np.where(nodes["state"] == NODE_STATES.index("failed"), nodes["ended_s"], math.nan)
        count = len(self.nodes)
        self.state = ["dormant"] * count
        self.due, self.began, self.ended = (np.full(count, math.nan) for _ in range(3))
        self.done_before = [set() for _ in range(count)]
        self.lost = [0] * count
        self.outcome = ["open"] * len(self.tasks)
        self.finished = np.full(len(self.tasks), math.nan)
        self.queues = [deque() for _ in run.plan.tools]
        self.free = [tools.spec.nodes * tools.spec.cores for tools in run.plan.tools]
        self.events = []
        for row, task in enumerate(self.tasks):
            self.at(task["arrived_s"], BEGINS, row)
        self.tell()

    def after(self, node):
        first = self.nodes[node]["first_edge"]
        return self.edges[first : first + self.nodes[node]["edges"]].tolist()

    def inside(self, join):
        """Return the nodes of a join's branches, those of branches within them included, in order."""
        found = []
        for node in range(self.tasks[self.nodes[join]["task"]]["first_node"], join):
            scope = node
            while scope >= 0 and scope != join:
                scope = int(self.nodes[scope]["scope"])
            if scope == join:
                found.append(node)
        return found

    def at(self, moment, what, number):
        heapq.heappush(self.events, (moment, what, number))

    def tell(self):
        while self.events:
            now, what, number = heapq.heappop(self.events)
            if now > self.end_s:
                return
            if what == BEGINS:
                if self.tasks[number]["timeout_s"] < math.inf:
                    self.at(now + self.tasks[number]["timeout_s"], LATE, number)
                self.start(int(self.tasks[number]["first_node"]), now)
            elif what == LATE:
                if self.outcome[number] == "open":
                    self.finish(number, "timed_out", now)
            elif what == CALLS:
                if self.state[number] == "due":
                    self.call(number, now)
            elif self.state[number] == "running":
                if self.nodes[number]["kind"] == CALL and self.latest(number)["outcome"] != COMPLETED:
                    self.fail(number, now)
                elif self.nodes[number]["kind"] == TOOL and self.is_lost(number):
                    self.lose(number, now)
                else:
                    self.pass_on(number, now)

    def start(self, node, now):
        n = self.nodes[node]
        self.due[node] = now
        self.state[node] = "running"
        if n["kind"] == CALL:
            self.state[node] = "due"
            self.at(now, CALLS, node)
        elif n["kind"] == TOOL:
            self.state[node] = "queued"
            self.queues[n["index"]].append(node)
            self.serve(n["index"], now)
        else:
            if n["kind"] == JOIN and n["needs"] < n["before"]:
                self.cancel(self.inside(node), now)
            self.at(now + n["work_s"], ENDS, node)

    def call(self, node, now):
        self.made[node] += 1
        answer = self.latest(node)
        assert answer["arrived_s"] == now
        assert answer["attempt"] == self.made[node] - 1
        self.state[node] = "running"
        if answer["outcome"] == COMPLETED:
            self.at(answer["finished_s"], ENDS, node)
        elif answer["outcome"] in UNANSWERED:
            self.do_without(node, answer)

    def latest(self, node):
        return self.answers[node][self.made[node] - 1]

    def do_without(self, node, answer):
        """Send a call again as its class has it, or let it fail."""
        retry = self.retries[answer["class_index"]]
        again = retry is not None and UNANSWERED[answer["outcome"]] in retry.after
        if again and self.made[node] <= retry.attempts:
            # One that the run ended before waits to be sent.
            self.state[node] = "due"
            if len(self.answers[node]) > self.made[node]:
                # The engine lets go of a request at the end of its step: from then on its client waits.
                due = self.answers[node][self.made[node]]["arrived_s"]
                assert due >= answer["finished_s"] + retry.back_off * 2.0 ** (self.made[node] - 1)
                self.at(due, CALLS, node)
        elif not math.isnan(self.failed_s[node]):
            assert len(self.answers[node]) == self.made[node]
            assert self.failed_s[node] >= answer["finished_s"]
            self.at(self.failed_s[node], ENDS, node)

    def is_lost(self, node):
        """Draw whether a tool comes back, from the seed and the places of its class, task and node alone."""
        pool = self.tools[self.nodes[node]["index"]]
        if pool not in self.losing:
            return False
        once = self.losing[pool].at
        if once is not None and not once <= self.began[node] < once + self.losing[pool].for_s:
            return False
        task = self.tasks[self.nodes[node]["task"]]
        key = task_key(self.seed, self.classes + int(task["class_index"]), int(task["number"]))
        key = mix(key, int(node - task["first_node"]) + 1)
        return mix(key, 9_000_011 + self.times_lost[node]) < self.losing[pool].share * 2**31

    def lose(self, node, now):
        """Give a tool up that did not come back: again behind all others, or for good."""
        pool = self.nodes[node]["index"]
        self.times_lost[node] += 1
        if self.times_lost[node] > self.losing[self.tools[pool]].retries:
            self.fail(node, now)
            return
        self.state[node] = "queued"
        self.free[pool] += self.nodes[node]["cores"]
        self.queues[pool].append(node)
        self.serve(pool, now)

    def serve(self, pool, now):
        queue = self.queues[pool]
        while queue and self.nodes[queue[0]]["cores"] <= self.free[pool]:
            node = queue.popleft()
            self.free[pool] -= self.nodes[node]["cores"]
            self.state[node] = "running"
            self.began[node] = now
            lasts = self.losing[self.tools[pool]].timeout if self.is_lost(node) else self.nodes[node]["work_s"]
            self.at(now + lasts, ENDS, node)

    def stop(self, node, state, now):
        """End a node; give back what it has or wants."""
        pool, was = self.nodes[node]["index"], self.state[node]
        self.state[node] = state
        self.ended[node] = now
        if self.nodes[node]["kind"] == TOOL and was in ("running", "queued"):
            if was == "running":
                self.free[pool] += self.nodes[node]["cores"]
            else:
                self.queues[pool].remove(node)
            self.serve(pool, now)

    def pass_on(self, node, now):
        self.stop(node, "done", now)
        for after in self.after(node):
            # A branch without a step is an edge from what stands before the fork: it counts each time.
            self.done_before[after].add((node, len(self.done_before[after])))
            if self.state[after] == "dormant" and len(self.done_before[after]) == self.nodes[after]["needs"]:
                self.start(after, now)
        if not self.after(node):
            self.finish(int(self.nodes[node]["task"]), "completed", now)

    def fail(self, node, now):
        self.stop(node, "failed", now)
        scope = int(self.nodes[node]["scope"])
        if scope < 0:
            self.finish(int(self.nodes[node]["task"]), "failed", now)
            return
        self.cancel(range(node + 1, self.nodes[node]["branch_end"]), now)
        self.lost[scope] += 1
        if self.nodes[scope]["before"] - self.lost[scope] < self.nodes[scope]["needs"]:
            self.cancel(self.inside(scope), now)
            self.fail(scope, now)

    def cancel(self, nodes, now):
        for node in nodes:
            if self.state[node] not in ("done", "failed", "cancelled"):
                self.stop(node, "cancelled", now)

    def finish(self, row, outcome, now):
        self.outcome[row] = outcome
        self.finished[row] = now
        if outcome != "completed":
            task = self.tasks[row]
            self.cancel(range(task["first_node"], task["first_node"] + task["nodes"]), now)
