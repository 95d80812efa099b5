"""What changed between two runs: fleet, classes, tasks, pools and providers, number by number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.results.figures import figures, scope_of, scope_rank
from inferencesim.results.records.base import Record

if TYPE_CHECKING:
    from inferencesim.results.records.summary import Summary


class DifferenceRow(Record):
    """One number in two runs.

    Attributes
    ----------
    scope : str
        ``fleet``, ``class chat``, ``task agent``, ``pool premium``, ``provider acme``.
    metric : str
        Path of the field, as in ``ttft_s.p99``.
    a, b : float or None
        None where the run has no such class or pool, or no such quantity.
    change : float or None
        b − a.
    relative : float or None
        (b − a) / |a|; None where a is 0.
    """

    scope: str
    metric: str
    a: float | None
    b: float | None
    change: float | None
    relative: float | None


class Difference(Record):
    """Two runs side by side.

    Attributes
    ----------
    a, b : str
        What the runs are called.
    same_scenario : bool
        Whether scenario and seed are equal, in which case every number should be.
    rows : tuple of DifferenceRow
        All numbers both or either have, equal ones included.
    """

    a: str
    b: str
    same_scenario: bool
    rows: tuple[DifferenceRow, ...]

    def changed(self) -> tuple[DifferenceRow, ...]:
        """Return the rows in which the runs differ."""
        return tuple(row for row in self.rows if row.a != row.b)


def difference(a: Summary, b: Summary, *, a_name: str = "a", b_name: str = "b") -> Difference:
    """Compare two summaries: the fleet, then classes, tasks, pools and providers by name, in the order of `a`."""
    in_a, in_b = figures(a), figures(b)
    by_scope: dict[str, list[DifferenceRow]] = {}
    for path in in_a | in_b:
        row = _row(path, in_a.get(path), in_b.get(path))
        by_scope.setdefault(row.scope, []).append(row)
    # What only `b` has belongs to its kind, not to the end.
    rows = [row for scope in sorted(by_scope, key=scope_rank) for row in by_scope[scope]]
    same = a.scenario_digest == b.scenario_digest and a.seed == b.seed
    return Difference(a=a_name, b=b_name, same_scenario=same, rows=tuple(rows))


def _row(path: str, a: float | None, b: float | None) -> DifferenceRow:
    scope, metric = scope_of(path)
    change = None if a is None or b is None else b - a
    relative = None if change is None or not a else change / abs(a)
    return DifferenceRow(scope=scope, metric=metric, a=a, b=b, change=change, relative=relative)
