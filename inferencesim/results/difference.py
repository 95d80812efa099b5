"""What changed between two runs: fleet, classes, tasks, pools and providers, number by number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from inferencesim.results.records import Reason, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inferencesim.results.records import Summary


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
    rows = [*_rows("fleet", a.fleet, b.fleet)]
    for kind, first, second in (
        ("class", a.classes, b.classes),
        ("task", a.tasks, b.tasks),
        ("pool", a.pools, b.pools),
        ("provider", a.providers, b.providers),
    ):
        in_a = {each.name: each for each in first}
        in_b = {each.name: each for each in second}
        for name in [*in_a, *(name for name in in_b if name not in in_a)]:
            rows += _rows(f"{kind} {name}", in_a.get(name), in_b.get(name))
    same = a.scenario_digest == b.scenario_digest and a.seed == b.seed
    return Difference(a=a_name, b=b_name, same_scenario=same, rows=tuple(rows))


def _rows(scope: str, a: BaseModel | None, b: BaseModel | None) -> Iterator[DifferenceRow]:
    in_a, in_b = dict(_numbers(a)), dict(_numbers(b))
    for metric in [*in_a, *(name for name in in_b if name not in in_a)]:
        first, second = in_a.get(metric), in_b.get(metric)
        change = None if first is None or second is None else second - first
        relative = None if change is None or not first else change / abs(first)
        yield DifferenceRow(scope=scope, metric=metric, a=first, b=second, change=change, relative=relative)


def _numbers(record: BaseModel | None, prefix: str = "") -> Iterator[tuple[str, float | None]]:
    """Yield all numbers of a record, nested ones by their path."""
    if record is None:
        return
    for name in type(record).model_fields:
        value = getattr(record, name)
        if isinstance(value, BaseModel):
            yield from _numbers(value, f"{prefix}{name}.")
        elif value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            yield prefix + name, value
        elif isinstance(value, tuple):
            for entry in value:  # reasons of rejection, and what released requests: each a count of its own
                yield f"{prefix}{name}.{entry.reason if isinstance(entry, Reason) else entry.until}", entry.requests
