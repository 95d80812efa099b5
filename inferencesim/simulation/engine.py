"""SimPy's clock around the kernel's: everything between machines happens here.

The kernel runs the fleet from one SimPy event to the next, in compiled code and
without waking Python: between two events of SimPy nothing from outside can
reach the fleet, so its arrivals, steps and clients are the kernel's alone. It
comes back earlier only to have a table emptied, or more turns drawn for
closed-loop clients. SimPy owns the series, changes of tariff, the marks of the
measurement window and the horizon.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from inferencesim import jit
from inferencesim.errors import InputError
from inferencesim.kernel.accounts import still_inside
from inferencesim.kernel.gateway import pool_candidates, replica_candidates
from inferencesim.kernel.play import (
    BAD_CHOICE,
    DECIDE,
    REACHED,
    SLOTS_FULL,
    TABLE_FULL,
    TURNS_USED,
)
from inferencesim.kernel.sample import are_kept
from inferencesim.kernel.tables import OPEN, REQUEST
from inferencesim.kernel.views import inside_pool
from inferencesim.ledger.bills import Bills
from inferencesim.ledger.charges import Charges
from inferencesim.ledger.columns import Columns
from inferencesim.ledger.tables import decision_table, request_table
from inferencesim.ledger.tally import Tally
from inferencesim.policy import failed
from inferencesim.routing.policy import bind, bind_predictions
from inferencesim.simulation.clients import draw_next_turns
from inferencesim.simulation.compiling import compiled_arrival, compiled_play
from inferencesim.simulation.entrance import new_gateway
from inferencesim.simulation.envelope import require_measured_load, require_measured_turns
from inferencesim.simulation.finishing import unfinished
from inferencesim.simulation.marks import Mark, Samples, series_table, take_mark
from inferencesim.simulation.setup import bind_policy, make_book, task_ledger
from inferencesim.simulation.state import as_records, new_fleet, stream_of, with_first_asks, with_more_slots
from inferencesim.simulation.tariff_changes import chip_prices, quote, tariff_changes
from inferencesim.simulation.traits import class_means
from inferencesim.simulation.unserved import unserved
from inferencesim.workload.graphs import task_classes, unroll
from inferencesim.workload.load import generate_load

if TYPE_CHECKING:
    from collections.abc import Callable

    from inferencesim.kernel.tables import Records
    from inferencesim.kernel.views import Candidates, Request
    from inferencesim.ledger.book import Book
    from inferencesim.ledger.sink import Sink
    from inferencesim.ledger.tasks import TaskLedger
    from inferencesim.policy import BoundPolicy
    from inferencesim.simulation.finishing import Unfinished
    from inferencesim.simulation.plan import Plan
    from inferencesim.workload.traces.record import MalformedRow, TraceNote

#: Samples of the series over the horizon, unless the scenario names an interval.
SERIES_POINTS = 240


@dataclass(frozen=True)
class Result:
    """What a simulation leaves behind, beside the tables in its sink.

    Attributes
    ----------
    plan : Plan
    book : Book
    requests : Records
        TALLY of every request.
    window : tuple of Mark
        Start and end of the measurement window.
    charges : tuple of Charges
        What each class had been charged at start and end of the window.
    repriced : tuple of (Mark, Charges)
        Both at each change of tariff between them.
    tasks : TaskLedger
        Every task, what became of it, and what it cost.
    bills : tuple of Bills
        What providers had billed then.
    gaps : ndarray of float64, shape (classes, bins)
        Gaps between tokens of the window, in the bins of :mod:`inferencesim.kernel.gaps`.
    samples : Samples
        Of the series, those of the window.
    end : Mark
        When the simulation stopped.
    arrived : int
        Requests that reached the gateway.
    kept : int
        Of those, the ones whose rows are in the sink.
    kept_tasks : int
        Tasks whose rows are there.
    unfinished : Unfinished or None
        What is left to do of requests still inside at the end; None where there are none.
    malformed : tuple of MalformedRow
        Trace rows left out.
    trace_notes : tuple of TraceNote
        What the readers of traces assumed, or left out for other reasons.
    unserved : tuple of str
        What was known before it began of classes that are turned away.
    """

    plan: Plan
    book: Book
    requests: Records
    window: tuple[Mark, Mark]
    charges: tuple[Charges, Charges]
    repriced: tuple[tuple[Mark, Charges], ...]
    tasks: TaskLedger
    bills: tuple[Bills, Bills]
    gaps: np.ndarray
    samples: Samples
    end: Mark
    arrived: int
    kept: int
    kept_tasks: int
    unfinished: Unfinished | None
    malformed: tuple[MalformedRow, ...]
    trace_notes: tuple[TraceNote, ...]
    unserved: tuple[str, ...]


class Simulation:
    """One run of a plan.

    Parameters
    ----------
    plan : Plan
    sink : Sink
        Takes the tables.
    strict : bool
        Whether a malformed trace row is an error.
    progress : callable, optional
        Called now and then with (simulated seconds, horizon).
    """

    def __init__(
        self,
        plan: Plan,
        sink: Sink,
        *,
        strict: bool = False,
        progress: Callable[[float, float], None] | None = None,
    ) -> None:
        self.plan = plan
        self.env = simpy.Environment()
        self._sink = sink
        self._progress = progress
        scenario = plan.scenario
        load = generate_load(scenario.workload, scenario.horizon, scenario.seed, Path(), strict)
        graphs, load = unroll(scenario, load, strict)
        self._malformed, self._trace_notes = load.malformed, load.trace_notes
        self._unserved = unserved(plan, load, graphs)
        require_measured_load(plan, load, graphs)
        means = class_means(plan, load, graphs)
        self._placement = bind_policy(plan, "placement")
        self._balancing = bind_policy(plan, "balancing")
        self._interpreted = self._placement.interpreted or self._balancing.interpreted
        self.gateway = new_gateway(plan, stream_of(load), graphs, means, self._placement, self._balancing)
        require_measured_turns(self.plan, self.gateway)
        self.fleet = with_first_asks(new_fleet(plan, load, graphs, means), self.gateway, scenario)
        self._play = compiled_play(self.fleet, self.gateway)
        self._predictions = bind_predictions() if plan.scenario.recording.predictions else None
        self._compiled_policies = self._kernel_policies()
        self.book = make_book(plan, self.gateway.pool_traits)
        self._tally = Tally()
        self._tasks = task_ledger(plan, self.gateway.graphs, graphs.labels)
        self._charged = Charges(
            len(self.book.pools), len(self.book.classes), len(task_classes(scenario)), self.book.egress_usd_per_token
        )
        self._billed = Bills(self.book.providers, len(self.book.classes), len(task_classes(scenario)))
        self._series: list[Mark] = []
        self._window_start = self._mark_now(0.0)
        self._charged_before, self._billed_before = self._accounts(0.0)
        self._gaps_before = self.fleet.gaps.copy()
        self._repriced: list[tuple[Mark, Charges]] = []
        self._samples = Samples(len(plan.pools))
        self._reached_s = -1.0
        self._kept = self._kept_tasks = 0

    def _kernel_policies(self) -> tuple[BoundPolicy, BoundPolicy, BoundPolicy]:
        """Return what the kernel is called with: policies and predictions, or a stand-in it will not call."""
        if not self._interpreted:
            return self._placement, self._balancing, self._predictions or self._placement
        stand_in = bind("least_outstanding", {}, "routing")
        return stand_in, stand_in, stand_in

    def run(self) -> Result:
        """Play the scenario to its end.

        Raises
        ------
        InputError
            If a policy chooses what it may not.
        """
        scenario = self.plan.scenario
        env, horizon = self.env, scenario.horizon
        if scenario.warm_up > 0.0:
            # Else the window begins with the fleet at rest, before what happens at its first instant.
            env.process(self._mark(scenario.warm_up))
        for at_s in tariff_changes(self.plan):
            env.process(self._reprice(at_s))
        env.process(self._sample(horizon))
        # The last instant of the window: what happens at its very end comes after it.
        self._run_until(math.nextafter(horizon, 0.0))
        window = (self._window_start, self._mark_now(horizon))
        charged, billed = self._accounts(horizon)
        gaps = self.fleet.gaps - self._gaps_before
        self._run_until(horizon)
        last = horizon + scenario.drain
        if self._is_busy:
            self._run_until(last)
        end_s = last if self._is_busy else max(horizon, float(self.fleet.clock["last_left_s"][0]))
        end = self._mark_now(end_s)
        self.flush(end_s)
        left_to_do = self._book_open(end_s)
        return Result(
            plan=self.plan,
            book=self.book,
            requests=self._tally.rows(),
            window=window,
            charges=(self._charged_before, charged),
            repriced=tuple(self._repriced),
            bills=(self._billed_before, billed),
            tasks=self._tasks,
            gaps=gaps,
            samples=self._samples,
            end=end,
            arrived=int(self.fleet.clock["arrived"][0]),
            kept=self._kept,
            kept_tasks=self._kept_tasks,
            unfinished=left_to_do,
            malformed=self._malformed,
            trace_notes=self._trace_notes,
            unserved=self._unserved,
        )

    @property
    def _is_busy(self) -> bool:
        """Whether a request or a task is still inside."""
        return bool(self.fleet.clock["inside"][0] > 0 or self.fleet.clock["tasks_open"][0] > 0)

    def _run_until(self, end_s: float) -> None:
        """Alternate between the kernel and SimPy up to and including `end_s`."""
        env = self.env
        while True:
            if env.peek() == math.inf and not self._is_busy:
                # Replicas may still fail, but nobody is there to notice.
                return
            limit = min(env.peek(), end_s)
            self._run_kernel(limit)
            if env.peek() > end_s:
                return
            env.step()

    def _run_kernel(self, until: float) -> None:
        """Run the fleet up to `until`."""
        if until <= self._reached_s:
            # SimPy has several events at this instant; the fleet is there already.
            return
        functions = [policy.argument for policy in self._compiled_policies]
        while True:
            reason = self._play(self.fleet, self.gateway, *functions, self._interpreted, until)
            if reason == REACHED:
                self._reached_s = until
                return
            if reason == TABLE_FULL:
                self.flush()
            elif reason == SLOTS_FULL:
                self.fleet = with_more_slots(self.fleet)
            elif reason == TURNS_USED:
                draw_next_turns(self.gateway, self.plan.scenario)
                require_measured_turns(self.plan, self.gateway)
            elif reason == DECIDE:
                self._decide()
            elif reason == BAD_CHOICE:
                raise self._bad_choice(f"{self._placement.name} or {self._balancing.name}")

    @functools.cached_property
    def _around_policies(self) -> tuple[Callable[..., tuple[int, Request]], Callable[..., None]]:
        # Loaded with the first plain-Python decision: a run of compiled policies starts without it.
        return compiled_arrival(self.fleet, self.gateway)

    def _decide(self) -> None:
        """Ask policies written in plain Python about the arrival that is due."""
        fleet, gateway = self.fleet, self.gateway
        open_arrival, close_arrival = self._around_policies
        eligible, request = open_arrival(fleet, gateway)
        if eligible == 0:
            close_arrival(fleet, gateway, -1, -1)
            return
        row = fleet.clock["decision_count"][0]
        pools = jit.plain(pool_candidates)(fleet, gateway, request.class_index)
        scores = gateway.decision_scores[row]
        if self._predictions is not None:
            predictions = gateway.decision_predictions[row]
            self._predictions.choose(request, pools, predictions, self._predictions.parameters, gateway.memory[0])
        pool = self._choose(self._placement, request, pools, scores, gateway.memory[0])
        place = 0
        if pool < fleet.pools.size and fleet.pools[pool]["replicas"] > 1:
            candidates = jit.plain(replica_candidates)(fleet, gateway, pool)
            scratch = gateway.replica_scores[: candidates.eligible.size]
            place = self._choose(
                self._balancing, jit.plain(inside_pool)(request, pool), candidates, scratch, gateway.memory[pool + 1]
            )
        close_arrival(fleet, gateway, pool, place)

    def _choose(
        self,
        policy: BoundPolicy,
        request: object,
        candidates: Candidates,
        scores: np.ndarray,
        memory: np.ndarray,
    ) -> int:
        # Plain Python must not write to the live tables; compiled policies take no read-only arrays.
        seen = _read_only(candidates) if policy.interpreted else candidates
        try:
            chosen = int(policy.choose(request, seen, scores, policy.parameters, memory))
        except InputError:
            raise
        except Exception as problem:  # a policy of somebody else's may fail in any way
            raise failed("routing", policy.name, problem) from problem
        if not 0 <= chosen < candidates.eligible.size or not candidates.eligible[chosen]:
            raise self._bad_choice(policy.name)
        return chosen

    def _bad_choice(self, name: str) -> InputError:
        at = float(self.fleet.clock["now_s"][0])
        return InputError(
            f"routing: {name}",
            f"chose a candidate that is not eligible, or none, at {at:.6f} s",
            "A policy must return the index of a candidate whose `eligible` is 1.",
        )

    def flush(self, end_s: float = math.inf) -> None:
        """Empty the tables of those done, of decisions and of the series into tally and sink."""
        clock, gateway = self.fleet.clock[0], self.gateway
        count = int(clock["done_count"])
        if count:
            self._book(self.fleet.done[:count], end_s)
            clock["done_count"] = 0
            clock["answered"] = 0
        self._book_tasks(self._tasks.closed(int(clock["tasks_closed"])), end_s)
        count = int(clock["decision_count"])
        if count:
            self._sink.write(
                "decisions",
                decision_table(
                    gateway.decisions[:count],
                    gateway.decision_verdicts[:count],
                    gateway.decision_scores[:count],
                    self.book,
                    gateway.decision_predictions[:count] if gateway.predict else None,
                ),
            )
            clock["decision_count"] = 0
        if len(self._series) > 1:
            self._sink.write("series", series_table(self.plan, self._series))
            del self._series[:-1]

    def _book(self, records: Records, end_s: float) -> None:
        requests = self._columns(records)
        verdicts = self._tally.add(requests, self.book, self._tasks, end_s)
        self._charged.add(requests)
        self._billed.add(requests)
        self._tasks.charge(requests, self.book)
        recording = self.plan.scenario.recording
        if recording.evidence == "off":
            return
        if recording.evidence == "sampled":
            classes = len(self.book.classes)
            payer = np.where(requests["owner"] >= 0, classes + requests["owner"], requests["class_index"])
            kept = self._sampled(payer, requests["task"])
            requests, verdicts = self._columns(records[kept]), verdicts[kept]
        if requests.size > 0:
            self._kept += requests.size
            self._sink.write("requests", request_table(requests, self.book, self._tasks, verdicts))

    def _columns(self, records: Records) -> Columns:
        return Columns(records, self.book.pool_of, self._tasks)

    def _sampled(self, index: np.ndarray, task: np.ndarray) -> np.ndarray:
        """Tell which tasks are in the sample; classes of tasks are numbered after those of the workload."""
        scenario = self.plan.scenario
        return are_kept(scenario.seed, scenario.recording.kept_share, index, task)

    def _book_tasks(self, rows: np.ndarray, end_s: float) -> None:
        """Book tasks that are closed, or open when the simulation stops: all their requests are booked."""
        if self.plan.scenario.recording.evidence == "off":
            return
        if self.plan.scenario.recording.evidence == "sampled":
            tasks = self.gateway.graphs.tasks[rows]
            rows = rows[self._sampled(len(self.book.classes) + tasks["class_index"], tasks["number"])]
        if rows.size > 0:
            self._kept_tasks += rows.size
            self._sink.write("tasks", self._tasks.task_table(rows, end_s))
            self._sink.write("steps", self._tasks.step_table(rows))

    def _mark_now(self, at_s: float) -> Mark:
        return take_mark(self.fleet, self.gateway.graphs, at_s)

    def _inside(self, at_s: float) -> Records:
        """Return the REQUEST of all still inside, with what they did up to `at_s`."""
        inside = np.zeros(int(self.fleet.clock["inside"][0]), REQUEST)
        still_inside(self.fleet, at_s, inside)
        return inside

    def _accounts(self, at_s: float) -> tuple[Charges, Bills]:
        """Return what each class has been charged, and providers have billed, up to `at_s`."""
        charges, bills = self._charged.copy(), self._billed.copy()
        left = self.fleet.done[: int(self.fleet.clock["done_count"][0])]
        for records in (left, as_records(self._inside(at_s))):
            requests = self._columns(records)
            charges.add(requests)
            bills.add(requests)
        return charges, bills

    def _book_open(self, end_s: float) -> Unfinished | None:
        """Book the requests and tasks still inside when the simulation stops; return what is left to do of requests."""
        inside = self._inside(end_s)
        if inside.size:
            records = as_records(inside)
            records["outcome"] = OPEN
            records["finished_s"] = np.nan
            self._book(records, end_s)
        begun = np.arange(int(self.fleet.clock["next_task"][0]))
        closed = self.gateway.graphs.closed[: int(self.fleet.clock["tasks_closed"][0])]
        self._book_tasks(np.setdiff1d(begun, closed), end_s)
        # Nobody knows at which hours they will be done.
        quote(self.plan, self.gateway, lambda tariff: tariff.mean)
        return unfinished(self.fleet, self.gateway, inside) if inside.size else None

    def _mark(self, moment: float) -> simpy.events.ProcessGenerator:
        """Take the counters at the start of the measurement window, before what happens at its first instant."""
        yield self.env.timeout(math.nextafter(moment, 0.0))
        self._window_start = self._mark_now(moment)
        self._charged_before, self._billed_before = self._accounts(moment)
        self._gaps_before = self.fleet.gaps.copy()

    def _reprice(self, at_s: float) -> simpy.events.ProcessGenerator:
        """Let the tariff of a moment hold for routers and for who leaves from then on, and take the counters."""
        # The last instant before it: what happens at that very moment, a window that opens, meets the new price.
        yield self.env.timeout(math.nextafter(at_s, 0.0))
        self.flush()
        scenario = self.plan.scenario
        if scenario.warm_up < at_s < scenario.horizon:
            self._repriced.append((self._mark_now(at_s), self._accounts(at_s)[0]))
        quote(self.plan, self.gateway, lambda tariff: tariff.at(at_s))
        self.book = replace(self.book, usd_per_j=chip_prices(self.plan, at_s))

    def _sample(self, horizon: float) -> simpy.events.ProcessGenerator:
        """Record the series, from 0 to the horizon and on while requests are inside."""
        interval = self.plan.scenario.recording.series_interval or horizon / SERIES_POINTS
        self._series.append(self._mark_now(0.0))
        step = 0
        while True:
            step += 1
            yield self.env.timeout(step * interval - self.env.now)
            now = self._mark_now(self.env.now)
            self._series.append(now)
            if self.plan.scenario.warm_up < now.at_s <= horizon:
                self._samples.add(now)
            if now.at_s > horizon and not self._is_busy:
                return
            if self._progress is not None:
                self._progress(min(now.at_s, horizon), horizon)


def _read_only(table: Any) -> Any:
    """Return tables, an array or a tuple of them, that cannot be written to."""
    if isinstance(table, tuple):
        return type(table)(*map(_read_only, table))
    view = table.view()
    view.flags.writeable = False
    return view
