"""The story of one request: what was asked, who was considered, who served it, and what came of it."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from inferencesim.errors import InputError
from inferencesim.kernel.tables import ELIGIBLE, PREDICTED, VERDICTS
from inferencesim.results.causes import causes
from inferencesim.results.findings import (
    Asked,
    AskedAs,
    Called,
    Candidate,
    Cause,
    Decided,
    Explanation,
    Happened,
    Predicted,
    Promised,
    Spent,
)
from inferencesim.results.recorded import plan_of, require_usable, scenario_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.results.manifest import PoolProfile
    from inferencesim.results.run import Run
    from inferencesim.scenario.answers import Answers
    from inferencesim.scenario.fleet import Pool
    from inferencesim.scenario.providers import Provider
    from inferencesim.scenario.workload import WorkloadClass
    from inferencesim.simulation.plan import Plan


def explain(run: Run, request_id: int) -> Explanation:
    """Tell the story of one request.

    Parameters
    ----------
    run : Run
    request_id : int

    Raises
    ------
    InputError
        If the request was not kept, there is none such, or the run is of another version.
    """
    return Stories(run).of(request_id)


class Stories:
    """What a run recorded of its requests, to tell the story of any of them.

    Parameters
    ----------
    run : Run

    Attributes
    ----------
    scenario : Scenario
        Of its manifest.

    Raises
    ------
    InputError
        If the run recorded nothing, or is of another version.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._requests, self._decisions = run.requests, run.decisions
        self.scenario = scenario_of(run.manifest)
        require_usable(run, "requests", self._requests)
        self._request_at, self._decision_at = _places(self._requests), _places(self._decisions)

    @functools.cached_property
    def plan(self) -> Plan | None:
        """The run's plan; None where its scenario cannot be resolved any more."""
        try:
            return plan_of(self.run.manifest)
        except InputError:
            return None

    @functools.cached_property
    def end_s(self) -> float:
        """When the simulation stopped; of an interrupted one, its horizon."""
        return self.run.summary.window.end_s if self.run.complete else self.scenario.horizon

    def of(self, request_id: int) -> Explanation:
        """Tell the story of one request.

        Raises
        ------
        InputError
            If it was not kept, or there is none such.
        """
        place = self._request_at.get(request_id)
        if place is None:
            raise _missing(self.run, self._requests, request_id)
        row = self._requests.iloc[place]
        asked = next(each for each in self.scenario.workload if each.name == row["class"])
        return Explanation(
            request_id=request_id,
            called=self._called(row, asked),
            asked=_asked(row, asked),
            decided=self._decided(row, asked),
            happened=_happened(row, self._cause(row)),
        )

    def _called(self, row: pd.Series[Any], asked: WorkloadClass) -> Called | None:
        """Return which request of a call it is; None of one that belongs to no task."""
        if pd.isna(row["task_class"]):
            return None
        attempt = int(row["attempt"])
        answers = self._answers.get((row["task_class"], row["task"], row["node"]), [])
        return Called(
            task=f"{row['task_class']}/{row['task']}",
            step=str(row["step"]),
            attempt=attempt,
            asked_as=_asked_as(answers[:attempt], asked.answers),
            answer=_text(row["answer"]),
        )

    @functools.cached_property
    def _answers(self) -> dict[tuple[Any, ...], list[str | None]]:
        """The answers to the requests of each call, in order, by class, number and node of its task."""
        calls = self._requests[self._requests["task_class"].notna()].sort_values("attempt", kind="stable")
        by_call = calls.groupby(["task_class", "task", "node"], observed=True)
        return dict(by_call["answer"].agg(list))

    def _decided(self, row: pd.Series[Any], asked: WorkloadClass) -> Decided | None:
        """Return the decision on a request, if it was recorded."""
        place = self._decision_at.get(int(row["request_id"]))
        if place is None:
            return None
        decision, manifest = self._decisions.iloc[place], self.run.manifest
        profiles = {profile.pool: profile for profile in manifest.profiles}
        words = {pool.name: _words_of_pool(row, asked, pool, profiles[pool.name]) for pool in self.scenario.pools}
        outside = {each.name: _words_of_provider(row, asked, each) for each in self.scenario.providers}
        every = (words | outside).items()
        return Decided(
            placement=manifest.placement,
            balancing=manifest.balancing,
            snapshot_age_s=float(decision["snapshot_age_s"]),
            candidates=tuple(_candidate(decision, name, why, name in outside) for name, why in every),
            pool=_text(decision["pool"]),
            provider=_text(decision["provider"]),
            replica=_whole(decision["replica"]),
        )

    @functools.cached_property
    def _causes(self) -> pd.DataFrame:
        """Why promises were broken, by id of the request; empty where nobody can tell any more."""
        if self.plan is None:
            return pd.DataFrame()
        lost = (self._requests["promise_kept"].astype(object) == False).to_numpy(bool)  # noqa: E712 - null is open
        broken = self._requests[lost].drop_duplicates("request_id")
        return causes(broken, self.plan, self.end_s).set_axis(broken["request_id"])

    def _cause(self, row: pd.Series[Any]) -> Cause | None:
        """Return why a promise was broken; None where it was not, or nobody can tell any more."""
        if row["request_id"] not in self._causes.index:
            return None
        found = self._causes.loc[row["request_id"]]
        return Cause(what=found["what"], by=_text(found["by"]))


def _asked_as(answers: Sequence[str | None], rules: Answers | None) -> AskedAs:
    """Tell why a request of a call was made after those with these answers, as the rules of its class have it."""
    why: AskedAs = "first"
    bad = 0
    for answer in answers:
        if answer != "bad":
            why = "sent_again"
            continue
        bad += 1
        if rules is not None and bad <= rules.retries:
            why = "asked_again"
        else:
            why, bad = "escalated", 0
    return why


def _places(table: pd.DataFrame) -> dict[int, int]:
    """Return the place of each request's first row."""
    if table.empty:
        return {}
    ids = table["request_id"].tolist()
    return dict(zip(reversed(ids), range(len(ids) - 1, -1, -1), strict=True))


def _missing(run: Run, requests: pd.DataFrame, request_id: int) -> InputError:
    """Say why a request cannot be explained: it was not kept, or never came."""
    came = request_id >= 0 and (not run.complete or request_id < run.summary.conservation.arrived)
    if run.evidence == "sampled" and came:
        return InputError(
            f"request {request_id}",
            f"its rows were not kept: evidence was sampled, and the run has those of {len(requests):,} requests",
            "With recording.evidence=full the same scenario and seed keep all.",
        )
    return InputError(f"request {request_id}", "the run has no such request", _known(run, requests))


def _known(run: Run, requests: pd.DataFrame) -> str:
    """Say which ids there are."""
    if requests.empty:
        return "It recorded none."
    ids = requests["request_id"]
    known = f"Its ids run from {ids.min()} to {ids.max()}."
    return known if run.complete else f"{known} It was interrupted: whoever was still inside is missing."


def _asked(row: pd.Series[Any], asked: WorkloadClass) -> Asked:
    promise = asked.promise
    return Asked(
        class_name=asked.name,
        kind=asked.kind,
        arrived_s=float(row["arrived_s"]),
        prompt_tokens=int(row["prompt_tokens"]),
        output_tokens=int(row["output_tokens"]),
        models=asked.accepted_models,
        promise=Promised(
            ttft_s=promise.ttft,
            tpot_s=promise.tpot,
            e2e_s=promise.e2e,
            deadline_s=promise.deadline,
            slowdown=promise.slowdown,
        ),
        residency=asked.residency,
        precision=asked.precision,
        priority=asked.priority,
        tenant=asked.tags.tenant,
    )


def _candidate(decision: pd.Series[Any], name: str, words: dict[str, str], outside: bool) -> Candidate:
    verdict = str(decision[f"verdict_{name}"])
    return Candidate(
        name=name,
        outside=outside,
        verdict=verdict,
        why=words.get(verdict, verdict),
        score=_number(decision[f"score_{name}"]) if verdict == VERDICTS[ELIGIBLE] else None,
        predicted=_predicted(decision, name),
    )


def _predicted(decision: pd.Series[Any], candidate: str) -> Predicted | None:
    """Return what was predicted of a candidate, if it was recorded."""
    found = {name: _number(decision.get(f"predicted_{name}_{candidate}")) for name in PREDICTED}
    return None if found["ttft_s"] is None else Predicted.model_validate(found)


def _words_of_pool(row: pd.Series[Any], asked: WorkloadClass, pool: Pool, profile: PoolProfile) -> dict[str, str]:
    """Return each verdict on a pool in words."""
    serves = " and ".join([profile.model, *pool.also_serves])
    return _words(serves, row, asked, profile.precision, pool.site) | {
        "prefills_only": "only reads prompts for another pool",
        "queue_full": f"had {pool.queue_limit} requests waiting, as many as it takes",
        "power_limited": "had nobody at work, and no power was left for one of its machines to begin",
        "unhealthy": "had no replica that was up",
    }


def _words_of_provider(row: pd.Series[Any], asked: WorkloadClass, provider: Provider) -> dict[str, str]:
    """Return each verdict on a provider in words."""
    limits = {
        "requests": provider.limits.requests_per_minute,
        "tokens": provider.limits.tokens_per_minute,
    }
    per_minute = " and ".join(f"{limit:,.0f} {name}" for name, limit in limits.items() if limit is not None)
    words = _words(provider.model, row, asked, provider.precision or "a precision nobody knows", provider.site)
    return words | {
        "provider_refused": "is an outside provider, which the class refuses",
        "rate_limited": f"takes {per_minute} a minute, and would have answered 429",
    }


def _words(serves: str, row: pd.Series[Any], asked: WorkloadClass, precision: str, site: str) -> dict[str, str]:
    """Return the verdicts that pools and providers share in words."""
    zones = " or ".join(asked.residency or ())
    return {
        "eligible": "may serve it",
        "other_model": f"serves {serves}, and another of the class's models was asked",
        "model_not_served": f"serves {serves}, and the class asks for {' or '.join(asked.accepted_models)}",
        "not_capable": f"serves {serves}, which cannot do work of kind {asked.kind}",
        "precision_too_low": f"runs in {precision}, and the class tolerates nothing below {asked.precision}",
        "outside_residency": f"stands in {site}, and the data must stay in {zones}",
        "context_too_long": f"has no room for {row['prompt_tokens'] + row['output_tokens']:,} tokens of context",
        "quota_exceeded": f"was not asked: tenant {asked.tags.tenant or asked.name} had no quota left",
        "shed": f"was not asked: work of priority {asked.priority} was being shed",
    }


def _happened(row: pd.Series[Any], cause: Cause | None) -> Happened:
    kept = None if pd.isna(row["promise_kept"]) else bool(row["promise_kept"])
    held_s = _number(row["held_s"]) or 0.0
    return Happened(
        outcome=str(row["outcome"]),
        reason=_text(row["reason"]),
        held_until=_text(row["held_until"]),
        promise_kept=kept,
        cause=cause,
        pool=_text(row["pool"]),
        provider=_text(row["provider"]),
        hardware=_text(row["hardware"]),
        model=_text(row["model"]),
        precision=_text(row["precision"]),
        replica=_whole(row["replica"]),
        prefill_pool=_text(row["prefill_pool"]),
        cached_tokens=int(row["cached_tokens"]),
        generated_tokens=int(row["generated_tokens"]),
        preemptions=int(row["preemptions"]),
        scheduled_s=_number(row["scheduled_s"]),
        first_token_s=_number(row["first_token_s"]),
        finished_s=_number(row["finished_s"]),
        queue_time_s=_number(row["queue_time_s"]),
        ttft_s=_number(row["ttft_s"]),
        tpot_s=_number(row["tpot_s"]),
        e2e_s=_number(row["e2e_s"]),
        spent=Spent(
            held_s=held_s,
            queue_s=max(0.0, float(row["waiting_s"]) - held_s),
            prefill_s=float(row["prefill_s"]),
            transfer_s=float(row["transfer_s"]),
            preempted_s=float(row["preempted_s"]),
            decode_s=float(row["decode_s"]),
        ),
        cost_usd=float(row["attributed_cost_usd"]),
        energy_j=_number(row["energy_j"] + row["prefill_energy_j"]),
    )


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _whole(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)
