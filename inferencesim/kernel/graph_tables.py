"""Tasks as the kernel has them: graphs of calls, tools and waits, unrolled before the clock starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inferencesim.references import by_reference

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Floats, Integers, Records

#: What a node is. A join passes on when enough of the nodes before it are done; every task begins and ends with one.
CALL, TOOL, WAIT, JOIN = range(4)
NODE_KINDS = ("call", "tool", "wait", "join")

#: Where a node stands. A call that is due has not reached the gateway, a tool that is queued waits for cores; a node
#: that is dormant, due, queued or running when its branch or its task is given up is cancelled.
DORMANT, DUE, QUEUED, RUNNING, DONE, FAILED, CANCELLED = range(7)
NODE_STATES = ("dormant", "due", "queued", "running", "done", "failed", "cancelled")

#: What became of a task.
TASK_OPEN, TASK_COMPLETED, TASK_FAILED, TASK_TIMED_OUT = range(4)
TASK_OUTCOMES = ("open", "completed", "failed", "timed_out")

#: One node of a task.
NODE = np.dtype(
    [
        ("task", np.int64),  # row of its task
        ("kind", np.int64),
        ("index", np.int64),  # of the class it calls, or of the pool of tools; −1: neither
        ("label", np.int64),  # of its step
        ("first_edge", np.int64),  # the nodes after it stand in `edges` from here on
        ("edges", np.int64),
        ("before", np.int64),  # nodes before it
        ("needs", np.int64),  # of those, how many have to be done
        ("scope", np.int64),  # the join of the branches it stands in, −1: of none
        ("branch_end", np.int64),  # the node after the last of its branch, or of its task
        ("first_inside", np.int64),  # of a join: the first node of its branches
        ("prompt_tokens", np.int64),
        ("output_tokens", np.int64),
        ("predicted_tokens", np.float64),
        ("prefix", np.int64),
        ("history", np.int64),
        ("chain", np.int64),
        ("chain_blocks", np.int64),
        ("media_units", np.float64),
        ("media_s", np.float64),
        ("work_s", np.float64),  # of a tool or a wait
        ("cores", np.int64),
        ("cancel_after_s", np.float64),
        ("difficulty", np.float64),  # of what is asked; NaN: answers are not judged
        # What becomes of it.
        ("level", np.int64),  # the model asked next, on the class's list; −1: any
        ("attempts", np.int64),  # requests made
        ("tries", np.int64),  # of those at this level, the ones answered; of a tool: times it was lost
        ("resent", np.int64),  # of those, the ones sent since nobody answered
        ("state", np.int64),
        ("came", np.int64),  # nodes before it that are done
        ("lost", np.int64),  # of a join: branches that failed
        ("slot", np.int64),  # of its request, while it is inside
        ("request_id", np.int64),
        ("following", np.int64),  # in the queue of its tools
        ("due_s", np.float64),  # when all that it needs was done
        ("queued_s", np.float64),  # of a tool: the same, or when it was last given up as lost
        ("began_s", np.float64),  # of a tool: when it got its cores
        ("ended_s", np.float64),
    ]
)

#: One task.
TASK = np.dtype(
    [
        ("class_index", np.int64),  # among the classes of tasks
        ("number", np.int64),  # within its class, in order of arrival
        ("arrived_s", np.float64),
        ("timeout_s", np.float64),
        ("promised_s", np.float64),  # its latency, infinite if nothing is
        ("session", np.int64),
        ("first_node", np.int64),
        ("nodes", np.int64),
        ("fan_out", np.int64),  # its widest; 1 without any
        # What becomes of it.
        ("outcome", np.int64),
        ("finished_s", np.float64),
        ("inside", np.int64),  # its requests inside the fleet
        ("calls", np.int64),  # requests it made
        ("tools", np.int64),  # tools it used
        ("lost_tools", np.int64),  # of those, the ones that never came back
        ("tool_s", np.float64),  # while they ran
        ("tool_wait_s", np.float64),  # while they waited for cores
        ("retries", np.int64),  # requests made again, of the same model
        ("escalations", np.int64),  # of the next one
        ("people", np.int64),  # answers given by a person
        ("people_usd", np.float64),
        ("wrong", np.int64),  # bad answers nobody noticed
        ("prompt_tokens", np.int64),
        ("generated_tokens", np.int64),
    ]
)

#: What follows the end of a request of a class.
FOLLOW_UP = np.dtype(
    [
        ("levels", np.int64),  # models on its list that are served
        ("noticed", np.float64),  # share of bad answers
        ("check_s", np.float64),
        ("retries", np.int64),  # of a bad answer, per level
        ("escalates", np.int64),
        ("person_s", np.float64),  # time of a person, NaN: there is none
        ("person_usd", np.float64),  # and the price
        ("attempts", np.int64),  # times a request is sent again that nobody answered
        ("back_off_s", np.float64),
        ("after_rejected", np.int64),  # whether it is sent again then
        ("after_timed_out", np.int64),
        ("after_failed", np.int64),
    ]
)

#: How good the answers of a candidate are to a class, and which of the class's models it serves.
CURVE = np.dtype([("ability", np.float64), ("slope", np.float64), ("ceiling", np.float64), ("level", np.int64)])

#: What is known of an answer: nobody judged it; it is good; it is bad and somebody noticed; it is bad and nobody did.
NOT_JUDGED, GOOD, BAD, UNNOTICED = range(4)
ANSWERS = ("not_judged", "good", "bad", "unnoticed")

#: A history that begins with the tokens of another, numbered from FIRST_HISTORY.
LINEAGE = np.dtype([("parent", np.int64), ("shared_tokens", np.int64)])
#: Histories of tasks come after those of conversations.
FIRST_HISTORY = 1 << 39

#: One pool of tools.
TOOLS = np.dtype(
    [
        ("cores", np.int64),
        ("busy", np.int64),
        ("head", np.int64),  # of its queue, −1: nobody waits
        ("tail", np.int64),
        ("waiting", np.int64),
        ("since_s", np.float64),  # `busy` has been what it is
        ("core_s", np.float64),  # busy core-seconds until then
        ("lost_share", np.float64),  # of its calls that begin in [lost_from_s, lost_to_s)
        ("lost_from_s", np.float64),
        ("lost_to_s", np.float64),
        ("notice_s", np.float64),  # after which one is given up as lost
        ("retries", np.int64),  # of a lost one
    ]
)


@by_reference
class Graphs(NamedTuple):
    """All tasks of a run, and the tools they use."""

    tasks: Records  #: TASK, sorted by arrival
    nodes: Records  #: NODE, those of each task side by side, and those of each branch
    edges: Integers  #: nodes
    tools: Records  #: TOOLS
    tool_use: Floats  #: core-seconds by pool of tools and class of tasks
    people_usd: Floats  #: paid to people, by class of tasks
    follow_ups: Records  #: FOLLOW_UP[C]
    curves: Records  #: CURVE, by class and candidate
    closed: Integers  #: tasks that ended and have no request inside any more, in that order
