"""Replications of alternatives, on as many processes as pay, and the warm-up that is left out of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inferencesim.errors import InputError
from inferencesim.experiments.parallel import begin_here, run_all
from inferencesim.experiments.settling import settled_s
from inferencesim.experiments.trials import plan_of, run_of, seed_of, unrecorded
from inferencesim.results.comparison import Trial
from inferencesim.results.figures import figures
from inferencesim.results.summarise import summarise
from inferencesim.scenario.stationarity import why_not_stationary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inferencesim.scenario.scenario import Scenario


@dataclass(frozen=True)
class Played:
    """A trial, and when its fleet had settled (None where it had not, or where nobody asked)."""

    trial: Trial
    settled_s: float | None


class Replications:
    """Plays replications of all alternatives, and knows from when on they count.

    Attributes
    ----------
    seed : int
        Of the first replication.
    trees : dict of str to dict
        The alternatives, as files would hold them.
    warm_up_s : dict of str to float
        What is left out of each; final after :meth:`pilots`.
    changing : dict of str to str or None
        Why the load of each is not the same at all times.
    trials : list of Trial
        Played so far, those that count.
    """

    def __init__(
        self,
        scenarios: Mapping[str, Scenario],
        seed: int,
        metrics: tuple[str, ...],
        jobs: int,
        progress: Callable[[float, float], None] | None,
    ) -> None:
        self.seed = seed
        self.trees = {name: unrecorded(each) for name, each in scenarios.items()}
        for tree in self.trees.values():
            plan_of(tree)
        self.warm_up_s = {name: each.warm_up for name, each in scenarios.items()}
        self.changing = {name: why_not_stationary(each) for name, each in scenarios.items()}
        self.trials: list[Trial] = []
        self._metrics, self._jobs, self._progress = metrics, jobs, progress
        self._kept: dict[str, Trial] = {}
        self._settling = ""
        self._enough = 1

    def pilots(self, replications: int) -> list[Played]:
        """Play the first replication of every alternative, and find the warm-up that all of them need."""
        work = [self._piece(name, 0, asked=self.changing[name] is None) for name in self.trees]
        total = float(replications * len(work))
        first, self._enough = begin_here(work, lambda done: self._note(done, total))
        first += self._run(work[2:], len(first), total)
        self._settle(first)
        self._kept = {
            each.trial.alternative: each.trial
            for each in first
            if self.warm_up_s[each.trial.alternative] == self.trees[each.trial.alternative]["warm_up"]
        }
        for name, warm_up in self.warm_up_s.items():
            self.trees[name]["warm_up"] = warm_up
        return first

    def play(self, replications: range, in_all: int) -> None:
        """Play some replications of all alternatives, but for pilots that count as they are."""
        places = [(name, replication) for replication in replications for name in self.trees]
        kept = [self._kept[name] for name, replication in places if replication == 0 and name in self._kept]
        todo = [(name, replication) for name, replication in places if replication > 0 or name not in self._kept]
        done, total = len(self.trials) + len(kept), float(in_all * len(self.trees))
        found = self._run([self._piece(*each) for each in todo], done, total)
        self.trials += [*kept, *(each.trial for each in found)]

    def notes(self) -> list[str]:
        """Say how the beginning of runs was treated."""
        changing = list(dict.fromkeys(why for why in self.changing.values() if why is not None))
        if changing:
            return [f"Whole periods are compared, after the scenarios' own warm-up: {'; '.join(changing)}."]
        return [self._settling]

    def _piece(self, name: str, replication: int, *, asked: bool = False) -> Callable[[], Played]:
        return functools.partial(
            _trial, self.trees[name], name, replication, seed_of(self.seed, replication), self._metrics, asked
        )

    def _run(self, work: Sequence[Callable[[], Played]], done: int, total: float) -> list[Played]:
        return run_all(
            work,
            jobs=self._jobs,
            pieces_per_process=self._enough,
            progress=lambda now, _: self._note(done + now, total),
        )

    def _note(self, done: float, total: float) -> None:
        if self._progress is not None:
            self._progress(done, total)

    def _settle(self, first: Sequence[Played]) -> None:
        """Take the longest warm-up that a pilot shows, where the load allows to speak of one."""
        if any(why is not None for why in self.changing.values()):
            return
        own = max(self.warm_up_s.values())
        needed = max((each.settled_s for each in first if each.settled_s is not None), default=0.0)
        self.warm_up_s = dict.fromkeys(self.warm_up_s, max(own, needed))
        if needed > own:
            said = f"The first {needed:.4g} s of each are left out as warm-up by MSER-5, in place of {own:.4g} s."
        else:
            said = f"MSER-5 finds the fleets settled after {needed:.4g} s; the warm-up of {own:.4g} s is enough."
        restless = [each.trial.alternative for each in first if each.trial.error is None and each.settled_s is None]
        if restless:
            said += (
                f" In half of the horizon it finds no end of the warm-up of {', '.join(restless)}: the horizon is too "
                "short, or the fleet never settles."
            )
        self._settling = said


def _trial(tree: dict[str, Any], name: str, replication: int, seed: int, metrics: Sequence[str], asked: bool) -> Played:
    """Play one replication of one alternative; `asked` is whether to say when it had settled."""
    trial = Trial(alternative=name, replication=replication, seed=seed)
    try:
        result = run_of(plan_of(tree | {"seed": seed}))
        summary = summarise(result)
    except Exception as problem:  # one trial that fails must not take the others with it; the comparison names it
        what = str(problem) if isinstance(problem, InputError) else f"{type(problem).__name__}: {problem}"
        return Played(trial.model_copy(update={"error": " ".join(what.split())}), None)
    found = figures(summary)
    seen = {
        "state": summary.verdict.state,
        "open_share": summary.fleet.open_share,
        "figures": {metric: found.get(metric) for metric in metrics},
    }
    return Played(trial.model_copy(update=seen), settled_s(result) if asked else None)
