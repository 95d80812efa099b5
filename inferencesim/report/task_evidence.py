"""The story of a task as a table of its steps and sentences, and the worst tasks of a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rich.text import Text

from inferencesim.report.formats import count, seconds, usd
from inferencesim.report.tables import new_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from inferencesim.results.findings import Decided, Happened, TaskCause, TaskPromises
    from inferencesim.results.task_findings import (
        StepStory,
        TaskCost,
        TaskExplanation,
        TaskList,
        Try,
    )

Named = TypeVar("Named", int, str)

#: So many of a cause are named, unless all are asked for.
_NAMED = 3
#: A task of so many steps is told step by step; of a longer one, each step of the description so many times.
_SHORT, _OFTEN = 24, 2
#: Of a longer one also so many of the longest.
_LONGEST = 3

#: What is left of a difference of large numbers, and no wait.
_ROUNDING_S = 1e-6

_PARTS = {
    "queue": "calls waited",
    "serving": "calls were read and answered",
    "network": "answers were on their way",
    "tools": "tools ran",
    "lost": "tools never came back",
    "cores": "tools waited for cores",
    "waits": "it waited for others",
    "retries": "requests were in vain",
    "people": "a person answered",
}
_FAILED_BY = {
    "rejected": "a call it could not do without was rejected",
    "timed_out": "the client of a call it could not do without gave up",
    "cancelled": "the client of a call it could not do without cancelled it",
    "bad_answer": "a call it could not do without had no good answer",
    "lost_tool": "a tool it could not do without never came back",
}
_ASKED_AS = {
    "first": "",
    "sent_again": "sent again",
    "asked_again": "asked again",
    "escalated": "the next model asked",
}
_ANSWERS = {"good": "a good answer", "bad": "a bad answer, noticed", "unnoticed": "a bad answer that nobody noticed"}


def task_text(told: TaskExplanation, *, every: bool = False) -> list[RenderableType]:
    """Return what ``explain`` prints of a task; `every` tells the steps of a long one that are like others, too."""
    head = Text.assemble((f"Task {told.class_name}/{told.task}", "bold"), f" {told.outcome.replace('_', ' ')}")
    parts: list[RenderableType] = [head, Text(_asked(told)), _step_table(told, every=every), Text(_time(told))]
    parts += [Text(each) for each in (_counted(told), _cost(told.cost), _alternative(told)) if each]
    parts.append(_verdict(told))
    return parts


def task_list_tables(found: TaskList) -> list[RenderableType]:
    """Return what ``explain`` prints of a class of tasks."""
    promised = "nothing" if found.promised_s is None else f"done within {seconds(found.promised_s)}"
    table = new_table(
        f"The worst tasks of {found.promises.name} (promised: {promised})",
        "task", "outcome", "why", "latency", "calls", "cost", left=3,
    )  # fmt: skip
    for each in found.worst:
        why = "" if each.cause is None else lost_to(each.cause)
        cells = seconds(each.latency_s), count(each.calls), usd(each.cost_usd)
        table.add_row(each.name, each.outcome.replace("_", " "), why, *cells)
    return [task_promise_table((found.promises,)), table]


def task_promise_table(classes: Sequence[TaskPromises]) -> Table:
    """Return what became of the promises of classes of tasks."""
    table = new_table("Promises of tasks", "class of tasks", "tasks", "kept", "broken", "open")
    for each in classes:
        table.add_row(each.name, count(each.tasks), count(each.kept), count(each.broken), count(each.open))
    return table


def task_cause_table(classes: Sequence[TaskPromises], *, every: bool = False) -> Table:
    """Return the causes of broken promises of tasks, with the worst of each, or with `every` all."""
    table = new_table("Broken promises of tasks by cause", "class of tasks", "why", "tasks", worst_first(every), left=2)
    if every:
        table.columns[-1].justify = "left"
    for each in classes:
        for place, cause in enumerate(each.causes):
            name, last = each.name if place == 0 else "", place == len(each.causes) - 1
            table.add_row(
                name, lost_to(cause), count(cause.tasks), ", ".join(named(cause.worst, every)), end_section=last
            )
    return table


def worst_first(every: bool) -> str:
    """Return the head of a column of some or all that broke by a cause."""
    return "which, the worst first" if every else "worst"


def named(worst: Sequence[Named], every: bool) -> Sequence[Named]:
    """Return those of a cause that a table names."""
    return worst if every else worst[:_NAMED]


def lost_to(cause: TaskCause) -> str:
    """Say what the promise of a task was broken by."""
    if cause.what == "failed":
        return _FAILED_BY.get(cause.by or "", "it failed")
    what = "it was given up" if cause.what == "timed_out" else "too late"
    return f"{what}; above all, {_PARTS[cause.by]}" if cause.by else what


def _asked(told: TaskExplanation) -> str:
    promised = "nothing" if told.promised_s is None else f"done within {seconds(told.promised_s)}"
    return f"Began at {seconds(told.arrived_s)}. Promised: {promised}. Times in the table are from then on."


def _step_table(told: TaskExplanation, *, every: bool) -> Table:
    table = new_table("Steps", "at", "step", "in words", "request", "took", "USD", left=2)
    table.columns[0].justify, table.columns[2].justify = "right", "left"
    shown = _shown(told, every=every)
    left_out: list[StepStory] = []
    for step in told.steps:
        if step.kind == "join" and not step.step.endswith("join"):
            continue
        if step.node not in shown:
            left_out.append(step)
            continue
        _add_left_out(table, left_out)
        _add_step(table, told, step)
    _add_left_out(table, left_out)
    return table


def _shown(told: TaskExplanation, *, every: bool) -> set[int]:
    """Return the nodes of the steps to tell.

    Of a long task the first of each step of its description, all that went otherwise, and the longest the task waited
    for.
    """
    if every or len(told.steps) <= _SHORT:
        return {step.node for step in told.steps}
    seen: dict[str, int] = {}
    shown = set()
    for step in told.steps:
        seen[step.step] = seen.get(step.step, 0) + 1
        if seen[step.step] <= _OFTEN or not _as_usual(step):
            shown.add(step.node)
    waited_for = sorted((step for step in told.steps if step.on_longest_chain), key=_lasted_s, reverse=True)
    return shown | {step.node for step in waited_for[:_LONGEST]}


def _lasted_s(step: StepStory) -> float:
    """Return the seconds from when a step was due to its end; 0 without an end."""
    return 0.0 if step.due_s is None or step.ended_s is None else step.ended_s - step.due_s


def _as_usual(step: StepStory) -> bool:
    """Tell whether there is nothing to say of a step that others like it do not say."""
    smooth = all(each.told.happened.promise_kept is not False and each.answer != "unnoticed" for each in step.tries)
    return smooth and len(step.tries) < 2 and step.state == "done" and not step.person


def _add_left_out(table: Table, left_out: list[StepStory]) -> None:
    """Add one row for steps in a row that are left out, and forget them."""
    if not left_out:
        return
    took_s = sum(_lasted_s(step) for step in left_out)
    spent = sum(each.told.happened.cost_usd for step in left_out for each in step.tries)
    like = "1 step like those above" if len(left_out) == 1 else f"{len(left_out)} steps like those above"
    table.add_row("", "…", f"{like} (--all tells them)", "", seconds(took_s), usd(spent) if spent else "")
    left_out.clear()


def _add_step(table: Table, told: TaskExplanation, step: StepStory) -> None:
    """Add the row of a step, or of each request of a call."""
    at = "" if step.due_s is None else seconds(step.due_s - told.arrived_s)
    took = "" if step.due_s is None or step.ended_s is None else seconds(step.ended_s - step.due_s)
    place = step.step.removeprefix("steps")
    name = f"{step.kind} {place}" if place != step.kind else place
    if not step.tries:
        table.add_row(at, name, _plain(step), "", took, "")
        return
    for each in step.tries:
        happened, first = each.told.happened, each.attempt == 0
        again = seconds(each.told.asked.arrived_s - told.arrived_s)
        words = _request(each)
        if each is step.tries[-1] and happened.outcome != step.state:
            words += _end(step)
        lasted = took if len(step.tries) == 1 else _lasted(each)
        cells = str(each.told.request_id), lasted, usd(happened.cost_usd)
        table.add_row(at if first else again, name if first else "", words, *cells)


def _lasted(each: Try) -> str:
    """Return how long one of several requests of a call was inside."""
    finished_s = each.told.happened.finished_s
    return "" if finished_s is None else seconds(finished_s - each.told.asked.arrived_s)


def _plain(step: StepStory) -> str:
    """Say in words how a step went that made no request."""
    if step.due_s is None:
        return "never came to its turn"
    if step.kind == "tool":
        return f"{_tool(step, step.due_s)}{_end(step)}"
    if step.kind == "join":
        return f"branches enough were done{_end(step)}" if step.state == "done" else f"its branches{_end(step)}"
    if step.kind == "wait":
        return f"waited for others{_end(step)}"
    return f"was not sent{_end(step)}"


def _tool(step: StepStory, due_s: float) -> str:
    """Say in words how a tool ran, and how often it was lost before."""
    runs = "1 run" if step.lost_runs == 1 else f"{step.lost_runs} runs"
    lost = f"{runs} that never came back ({seconds(step.lost_s)})"
    if step.state == "failed":
        return f"on {step.tools}, {lost}"
    after = [lost] if step.lost_runs else []
    if step.began_s is None:
        return f"waited for cores of {step.tools}{''.join(f', after {each}' for each in after)}"
    waited_s = step.began_s - due_s - step.lost_s
    if waited_s > _ROUNDING_S:
        after.append(f"{seconds(waited_s)} of waiting for cores")
    return f"ran on {step.tools}{', after ' * bool(after)}{' and '.join(after)}"


def _end(step: StepStory) -> str:
    """Say how a step ended, unless it ended well."""
    if step.person:
        return "; then a person answered" if step.state == "done" else "; then a person was asked"
    if step.state == "done":
        return ""
    return f"; {step.state}" if step.state in ("failed", "cancelled") else "; open"


def _request(each: Try) -> str:
    """Say in words who served a request, why, and how it went."""
    asked, happened = each.told.asked, each.told.happened
    said = [_ASKED_AS[each.asked_as], f"class {asked.class_name} {_where(each.told.decided, happened)}"]
    if happened.pool is not None or happened.provider is not None:
        cached = f" ({happened.cached_tokens:,} cached)" if happened.cached_tokens else ""
        said.append(f"{asked.prompt_tokens:,} tokens{cached} in, {happened.generated_tokens:,} out")
    if happened.spent.queue_s + happened.spent.held_s > 0.0:
        said.append(f"waited {seconds(happened.spent.queue_s + happened.spent.held_s)}")
    if happened.preemptions:
        said.append(f"preempted {count(happened.preemptions)} times")
    if happened.outcome != "completed":
        reason = f", {happened.reason.replace('_', ' ')}" if happened.reason else ""
        said.append(f"{happened.outcome.replace('_', ' ')}{reason}")
    if each.answer is not None:
        said.append(_ANSWERS[each.answer])
    if happened.outcome == "completed" and happened.cause is not None:
        by = f" ({happened.cause.by.replace('_', ' ')})" if happened.cause.by else ""
        said.append(f"its own promise of {happened.cause.what.upper()} broken{by}")
    return "; ".join(part for part in said if part)


def _where(decided: Decided | None, happened: Happened) -> str:
    """Say where a request went, as what, and why there."""
    if happened.provider is not None:
        precision = happened.precision or "unstated precision"
        return f"to provider {happened.provider} ({happened.model}, {precision}){_why(decided)}"
    if happened.pool is None:
        return "went nowhere"
    runs = f"{happened.model}, {happened.precision}, {happened.hardware}"
    helped = f", read in {happened.prefill_pool}" if happened.prefill_pool is not None else ""
    return f"to pool {happened.pool} replica {happened.replica} ({runs}){helped}{_why(decided)}"


def _why(decided: Decided | None) -> str:
    """Say why a request went where it did."""
    if decided is None:
        return ""
    eligible = sum(each.verdict == "eligible" for each in decided.candidates)
    if eligible == 1:
        return ", the only one eligible" if len(decided.candidates) > 1 else ""
    other = decided.cheapest_other
    price = ""
    if other is not None and other.predicted is not None:
        price = f", cheapest other {other.name} at {usd(other.predicted.cost_usd)}"
    return f", by {decided.placement} of {eligible}{price}"


def _time(told: TaskExplanation) -> str:
    parts = {_PARTS[name]: taken for name, taken in told.parts.model_dump().items() if taken > 0.0}
    said = ", ".join(f"{words} {seconds(taken)}" for words, taken in sorted(parts.items(), key=lambda each: -each[1]))
    against = "" if told.promised_s is None else f" (promised {seconds(told.promised_s)})"
    how = "So far it has taken" if told.outcome == "open" else "It took"
    return f"{how} {seconds(told.latency_s)}{against}. Along its longest chain of steps: {said or 'no time'}."


def _counted(told: TaskExplanation) -> str:
    further = {
        "sent or asked again": told.retries,
        "of the next model": told.escalations,
        "answers by people": told.people,
        "bad answers that nobody noticed": told.unnoticed,
    }
    said = "".join(f", {number:,} {words}" for words, number in further.items() if number)
    wide = f", up to {told.fan_out} branches side by side" if told.fan_out > 1 else ""
    tokens = f"{told.prompt_tokens:,} tokens in, {told.generated_tokens:,} out"
    return f"Requests: {told.calls:,}{said}{wide}; {tokens}."


def _cost(cost: TaskCost) -> str:
    said = [f"requests {usd(cost.requests_usd)}"]
    if cost.wasted_usd:
        said[0] += f" (of which {usd(cost.wasted_usd)} for no answer, or a bad one)"
    if cost.tools_usd is None:
        said.append("tools: their price is not known any more")
    elif cost.tools_usd:
        said.append(f"tools {usd(cost.tools_usd)}")
    if cost.people_usd:
        said.append(f"people {usd(cost.people_usd)}")
    return f"It cost {usd(cost.total_usd)}: {', '.join(said)}; shares of busy time, idle time is not in them."


def _alternative(told: TaskExplanation) -> str:
    other = told.alternative
    if other is None:
        return ""
    of = f"Of {other.requests:,} of its requests another candidate was eligible, too: at the margin they were"
    return (
        f"{of} predicted to cost {usd(other.chosen_usd)} where they went, and {usd(other.other_usd)} had each gone "
        "to the cheapest other."
    )


def _verdict(told: TaskExplanation) -> Text:
    if told.promise_kept is None:
        return Text("It had not ended when the simulation stopped: its promise is open.", style="yellow")
    if told.promise_kept:
        return Text("Done; nothing was promised." if told.promised_s is None else "Promise kept.", style="green")
    what = "It came to nothing" if told.promised_s is None else "Promise broken"
    return Text(what if told.cause is None else f"{what}: {lost_to(told.cause)}.", style="bold red")
