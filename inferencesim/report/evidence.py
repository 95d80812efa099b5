"""An audit as tables, and the story of a request as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from inferencesim.report.formats import count, joules, seconds, significant, usd
from inferencesim.report.tables import new_table
from inferencesim.report.task_evidence import named, task_cause_table, task_promise_table, worst_first

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from inferencesim.results.findings import (
        Asked,
        Audit,
        Called,
        Cause,
        ClassPromises,
        Constraint,
        Decided,
        Explanation,
        Happened,
    )

_COLOUR = {
    "unchanged": "green",
    "proven": "green",
    "sampled": "yellow",
    "changed": "bold red",
    "broken": "bold red",
    "unproven": "yellow",
}

_PROMISE = {"ttft": "TTFT", "tpot": "TPOT", "e2e": "E2E", "deadline": "deadline", "slowdown": "slowdown"}

_BY = {
    "queue": "it waited",
    "prefill": "its prompt was read beside others'",
    "transfer": "its KV was on its way",
    "preemption": "it lost its KV to others and had to get it back",
    "decode": "it was decoded in a batch with others",
    "network": "the way between the user and the machine is too long for it even alone",
    "hardware": "this hardware would be too slow for it even alone",
    "provider": "an outside provider took that long",
}


_ASKED_AS = {
    "first": "its first request",
    "sent_again": "sent again, for nobody answered the request before",
    "asked_again": "asked again, for the answer before was bad: the same model",
    "escalated": "asked again, for the answer before was bad: the next model",
}

_ANSWERS = {
    "good": "Its answer was good.",
    "bad": "Its answer was bad, and that was noticed.",
    "unnoticed": "Its answer was bad, and nobody noticed.",
}


def audit_tables(found: Audit, *, every: bool = False) -> list[RenderableType]:
    """Return what ``audit`` prints: the chain, the constraints, the broken promises, and what is left unproven.

    Of the requests and tasks whose promise broke, three are named per cause, or with `every` all.
    """
    head = Text.assemble((found.name, "bold"), f"  seed {found.seed}")
    chain = Text.assemble(("rows " + found.chain.state, _COLOUR[found.chain.state]), f": {found.chain.why}")
    parts: list[RenderableType] = [head, chain]
    if found.chain.head is not None:
        parts.append(Text(f"head: {found.chain.head}"))
    covered = found.coverage
    if covered.evidence != "full":
        of = "" if covered.arrived is None else f" of {covered.arrived:,}"
        parts.append(Text(f"evidence {covered.evidence}: rows of {covered.kept:,}{of} requests", style="yellow"))
    if found.constraints:
        parts.append(_constraint_table(found))
        parts += [
            Text(f"{each.name}: {each.why}{_examples(each)}", style="bold red")
            for each in found.constraints
            if each.state == "broken"
        ]
    if found.classes:
        parts.append(_promise_table(found))
        if any(each.causes for each in found.classes):
            parts.append(_cause_table(found.classes, every=every))
    if found.tasks:
        parts.append(task_promise_table(found.tasks))
        if any(each.causes for each in found.tasks):
            parts.append(task_cause_table(found.tasks, every=every))
    parts += [Text(f"Unproven: {each}", style="yellow") for each in found.unproven]
    return parts


def _examples(found: Constraint) -> str:
    if found.tasks:
        return f" (tasks {', '.join(found.tasks)})"
    return f" (requests {', '.join(str(each) for each in found.examples)})" if found.examples else ""


def _constraint_table(found: Audit) -> Table:
    table = new_table("Hard constraints", "constraint", "", "rows", "broken", left=2)
    table.columns[0].no_wrap = False
    for each in found.constraints:
        table.add_row(each.statement, Text(each.state, style=_COLOUR[each.state]), count(each.rows), count(each.broken))
    return table


def _promise_table(found: Audit) -> Table:
    whose = "the whole run" if found.coverage.evidence == "full" else "the requests in the sample"
    table = new_table(f"Promises, of {whose}", "class", "requests", "kept", "broken", "open")
    for each in found.classes:
        table.add_row(each.name, count(each.requests), count(each.kept), count(each.broken), count(each.open))
    return table


def _cause_table(classes: tuple[ClassPromises, ...], *, every: bool) -> Table:
    table = new_table("Broken promises by cause", "class", "what", "by", "requests", worst_first(every), left=3)
    if every:
        table.columns[-1].justify = "left"
    for each in classes:
        for place, cause in enumerate(each.causes):
            table.add_row(
                each.name if place == 0 else "",
                _PROMISE.get(cause.what, cause.what.replace("_", " ")),
                (cause.by or "").replace("_", " "),
                count(cause.requests),
                ", ".join(str(number) for number in named(cause.worst, every)),
                end_section=place == len(each.causes) - 1,
            )
    return table


def explanation_text(told: Explanation) -> list[RenderableType]:
    """Return what ``explain`` prints: sentences, with a table of the candidates."""
    head = Text.assemble((f"Request {told.request_id}", "bold"), f" of class {told.asked.class_name}")
    parts: list[RenderableType] = [head, *([] if told.called is None else [Text(_called(told.called))])]
    parts.append(Text(_asked(told.asked)))
    if told.decided is None:
        parts.append(Text("Why it went where it did was not recorded.", style="yellow"))
    else:
        parts += [_candidate_table(told.decided), Text(_chosen(told.decided, told.happened.reason))]
        if alternative := _alternative(told.decided):
            parts.append(Text(alternative))
    parts += [Text(each) for each in (_held(told.happened), _served(told.happened), _time(told.happened)) if each]
    parts += [Text(each) for each in _kept(told.asked, told.happened)]
    if told.called is not None and told.called.answer is not None:
        parts.append(Text(_ANSWERS[told.called.answer]))
    parts.append(_verdict(told.happened))
    if cost := _cost(told.happened):
        parts.append(Text(cost))
    return parts


def _cost(happened: Happened) -> str:
    if happened.provider is not None:
        return f"Its provider billed {usd(happened.cost_usd)}; how much energy it took, nobody says."
    if happened.pool is None:
        return ""
    return (
        f"It cost {usd(happened.cost_usd)} and took {joules(happened.energy_j)}: its share of its replica's busy time "
        "and energy."
    )


def _called(called: Called) -> str:
    """Say for what a request was made, and why it was."""
    call = "the one call" if called.step == "call" else f"call {called.step.removeprefix('steps')}"
    return f"For {call} of task {called.task}, attempt {called.attempt + 1}: {_ASKED_AS[called.asked_as]}."


def _asked(asked: Asked) -> str:
    terms = [f"models {' or '.join(asked.models)}"]
    terms.append(f"data in {' or '.join(asked.residency)} only" if asked.residency else "data anywhere")
    terms.append(f"precision {asked.precision} or better" if asked.precision else "any precision")
    terms.append(f"priority {asked.priority}")
    if asked.tenant is not None:
        terms.append(f"tenant {asked.tenant}")
    promise = asked.promise
    limits = {
        "TTFT": promise.ttft_s,
        "TPOT": promise.tpot_s,
        "E2E": promise.e2e_s,
        "done": promise.deadline_s,
    }
    promised = [f"{name} within {seconds(limit)}" for name, limit in limits.items() if limit is not None]
    if promise.slowdown is not None:
        promised.append(f"at most {significant(promise.slowdown)} times as long as alone")
    return (
        f"Asked at {seconds(asked.arrived_s)} ({asked.kind}): {asked.prompt_tokens:,} tokens of prompt, an answer of "
        f"{asked.output_tokens:,}; {', '.join(terms)}. "
        f"Promised: {', '.join(promised) or 'nothing'}."
    )


def _candidate_table(decided: Decided) -> Table:
    foreseen = any(each.predicted is not None for each in decided.candidates)
    columns = ["score"] + ["predicted TTFT", "TPOT", "USD", "energy"] * foreseen
    table = new_table("Candidates", _kinds(decided), "verdict", "in words", *columns, left=3)
    for each in decided.candidates:
        verdict = each.verdict.replace("_", " ")
        cells = ["" if each.score is None else f"{each.score:,.9g}"]
        if each.predicted is not None:
            of = each.predicted
            cells += [seconds(of.ttft_s), seconds(of.tpot_s), usd(of.cost_usd), joules(of.energy_j)]
        table.add_row(each.name, f"{verdict}, chosen" if each.name == decided.placed else verdict, each.why, *cells)
    return table


def _kinds(decided: Decided) -> str:
    """Return what a request might have been placed in, in words."""
    return "pool or provider" if any(each.outside for each in decided.candidates) else "pool"


def _alternative(decided: Decided) -> str:
    """Say what the cheapest other candidate was predicted to cost, and to promise."""
    own, cheapest = decided.predicted_here, decided.cheapest_other
    if own is None:
        return ""
    if cheapest is None or cheapest.predicted is None:
        return f"Predicted then, at the margin: {usd(own.cost_usd)}. No other {_kinds(decided)} was eligible."
    other = cheapest.predicted
    where = "at the cheapest other eligible provider" if cheapest.outside else "in the cheapest other eligible pool"
    where = f"{where}, {cheapest.name}"
    return (
        f"Predicted then, at the margin: {usd(own.cost_usd)}, and {usd(other.cost_usd)} {where} "
        f"(TTFT {seconds(other.ttft_s)}, TPOT {seconds(other.tpot_s)})."
    )


def _chosen(decided: Decided, reason: str | None) -> str:
    if reason in ("quota_exceeded", "shed"):
        return "The gateway turned it away before it was placed."
    chosen = decided.placed
    if chosen is None:
        return f"No {_kinds(decided)} could take it, so nobody was asked."
    age = "just then"
    if decided.snapshot_age_s > 0.0:
        age = f"{seconds(decided.snapshot_age_s)} before"
    scores = {each.name: each.score for each in decided.candidates if each.score is not None}
    highest = ", whose score is the highest" if scores and scores.get(chosen) == max(scores.values()) else ""
    if decided.provider is not None:
        return f"Policy {decided.placement} chose provider {chosen}{highest}. It saw the load as it was {age}."
    return (
        f"Policy {decided.placement} chose pool {chosen}{highest}, and {decided.balancing} its replica "
        f"{decided.replica}. They saw the load as it was {age}."
    )


#: What ended a wait at the gateway, in words.
_UNTIL = {
    "batch": "until enough of its class had come",
    "window": "until a window of the day opened",
    "load": "until the load had fallen",
    "slack": "until its slack had run out",
    "quota": "until its tenant had quota again",
    "not_released": "and was never placed",
}


#: What a request did until its first token: in a pool, and with a provider, of whose queue nobody knows.
_READ = {False: "was prefilled for", True: "had its first token after"}


def _held(happened: Happened) -> str:
    """Say how long a request was held at the gateway, and until when."""
    if happened.held_until is None:
        return ""
    return f"It was held at the gateway for {seconds(happened.spent.held_s)}, {_UNTIL[happened.held_until]}."


def _served(happened: Happened) -> str:
    if happened.provider is not None:
        precision = happened.precision or "a precision it does not state"
        return f"Provider {happened.provider} answered as {happened.model} would, in {precision}."
    if happened.pool is None:
        return ""
    where = f" Its prompt was read in pool {happened.prefill_pool}." if happened.prefill_pool is not None else ""
    return f"Pool {happened.pool} runs {happened.model} in {happened.precision} on {happened.hardware}.{where}"


def _time(happened: Happened) -> str:
    """Say where the time went, in the order in which it is spent; what it was spared is left out."""
    if happened.pool is None and happened.provider is None:
        return ""
    spent = happened.spent
    cached = f" ({happened.cached_tokens:,} tokens came from a cache)" if happened.cached_tokens else ""
    times = "once" if happened.preemptions == 1 else f"{happened.preemptions} times"
    steps = [
        (spent.queue_s, f"waited {seconds(spent.queue_s)}"),
        (spent.prefill_s, f"{_READ[happened.provider is not None]} {seconds(spent.prefill_s)}{cached}"),
        (spent.transfer_s, f"waited {seconds(spent.transfer_s)} for KV to be transferred"),
        (spent.preempted_s, f"was preempted {times}, which took {seconds(spent.preempted_s)}"),
        (spent.decode_s, f"was decoded for {seconds(spent.decode_s)}, {happened.generated_tokens:,} tokens in all"),
    ]
    said = [text for taken, text in steps if taken > 0.0]
    return f"It {', '.join(said)}." if said else ""


def _kept(asked: Asked, happened: Happened) -> list[str]:
    """Return measured latencies beside what was promised."""
    promise = asked.promise
    e2e = [limit for limit in (promise.e2e_s, promise.deadline_s) if limit is not None]
    rows = (
        ("TTFT", happened.ttft_s, promise.ttft_s),
        ("TPOT", happened.tpot_s, promise.tpot_s),
        ("E2E", happened.e2e_s, min(e2e, default=None)),
    )
    said = []
    for name, measured, promised in rows:
        if measured is not None:
            against = "" if promised is None else f" (promised {seconds(promised)})"
            said.append(f"{name} {seconds(measured)}{against}")
    return [", ".join(said) + "."] if said else []


def _verdict(happened: Happened) -> Text:
    if happened.promise_kept is None:
        return Text("It was still inside when the simulation stopped: its promise is open.", style="yellow")
    if happened.promise_kept:
        return Text("Promise kept.", style="green")
    return Text(f"Promise broken: {_lost(happened.cause, happened.outcome)}.", style="bold red")


def _lost(cause: Cause | None, outcome: str) -> str:
    """Say what a promise was broken by."""
    if cause is None:
        return f"{outcome}; by what, this version cannot tell any more"
    if cause.what == "rejected":
        return f"it was rejected, {(cause.by or 'for no reason').replace('_', ' ')}"
    if cause.what == "failed":
        return "a replica crashed with it, or with what it needed"
    if cause.what == "cancelled":
        return "its client cancelled it"
    if cause.what == "timed_out":
        return "its client gave up" + (f"; most of the time {_BY[cause.by]}" if cause.by else "")
    by = f"; above all, {_BY[cause.by]}" if cause.by else ""
    return f"{_PROMISE[cause.what]}{by}"
