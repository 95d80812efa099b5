"""The table of measurements that people write themselves: one run per row.

=================================================================  ==================================================
column                                                             meaning
=================================================================  ==================================================
id, reference                                                      name of the run, where it comes from (optional)
hardware, model, engine, engine_version                            what served it, in this project's names
weights, activations, kv, expert_weights, expert_activations       number formats
tensor, pipeline, expert, attention_data, replicas                 chips of a stage, stages, and so on
load                                                               closed, offline, open or static
concurrency                                                        clients (closed), sequences (static)
requests                                                           of the whole run; may be empty
rate_per_s                                                         Poisson arrivals per second (open)
prompt_low, prompt_high, output_low, output_high                   tokens, uniform in between; high may be empty
ttft_ms, tpot_ms, e2e_ms, makespan_s                               times
output_tok_s, total_tok_s, requests_per_s                          rates of the whole system
output_tok_s_per_user, prefill_tok_s                               rates of one user, of one prompt
statistic                                                          mean (default) or median, over requests
=================================================================  ==================================================

Columns of the setup may be left out where the caller gives the same for the whole file; a row needs one figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from inferencesim.errors import InputError, did_you_mean
from inferencesim.measurements.cells import Row, read_rows
from inferencesim.measurements.defaults import FACTS, Defaults
from inferencesim.measurements.measurement import MeasuredLoad, Measurement, Metric, Readings, TokenRange

if TYPE_CHECKING:
    from inferencesim.measurements.contents import Contents

_FIGURES: dict[str, tuple[Metric, float]] = {
    "ttft_ms": ("ttft_s", 1e-3),
    "tpot_ms": ("tpot_s", 1e-3),
    "e2e_ms": ("e2e_s", 1e-3),
    "makespan_s": ("makespan_s", 1.0),
    "output_tok_s": ("output_tokens_per_s", 1.0),
    "total_tok_s": ("total_tokens_per_s", 1.0),
    "requests_per_s": ("requests_per_s", 1.0),
    "output_tok_s_per_user": ("output_tokens_per_s_per_user", 1.0),
    "prefill_tok_s": ("prefill_tokens_per_s", 1.0),
}
_LENGTHS = ("prompt_low", "prompt_high", "output_low", "output_high")
_LOADS = ("closed", "offline", "open", "static")
#: What each kind of load cannot do without.
_NEEDED = {"closed": "concurrency", "static": "concurrency", "open": "rate_per_s"}
_REQUIRED = ("load", "prompt_low", "output_low")
COLUMNS = ("id", "reference", *FACTS, "load", "requests", "rate_per_s", *_LENGTHS, *_FIGURES, "statistic")
#: How many known columns make a table one of ours, so that a misspelt one is told rather than the file refused.
_RECOGNISED = 4


class OwnCsv:
    """Reads the table described above."""

    def sniff(self, contents: Contents) -> bool:
        """Say whether the header is ours, give or take a misspelling."""
        return len(set(COLUMNS).intersection(contents.columns)) >= _RECOGNISED

    def read(self, contents: Contents, defaults: Defaults) -> Readings:
        """Read every row.

        Raises
        ------
        InputError
            At the first unknown column, missing fact or bad cell, with file, line, column and remedy.
        """
        for name in contents.columns:
            if name not in COLUMNS:
                remedy = did_you_mean(name, COLUMNS, limit=len(COLUMNS))
                raise InputError(f"{contents.path}, line 1", f"unknown column {name!r}", remedy)
        rows = read_rows(contents.path, _REQUIRED)
        return Readings(tuple(_measurement(row, defaults) for row in rows), (), len(rows))


def _measurement(row: Row, defaults: Defaults) -> Measurement:
    place = f"{row.path}, line {row.line}"
    observed: dict[Metric, float] = {}
    for column, (metric, unit) in _FIGURES.items():
        value = row.number(column)
        if value is None:
            continue
        if value <= 0.0:
            raise InputError(row.place(column), f"{row.text(column)} is not above zero", "Leave out what was not seen.")
        observed[metric] = value * unit
    if not observed:
        raise InputError(place, "no figure was measured", f"Fill one of: {', '.join(_FIGURES)}.")
    statistic = row.text("statistic") or "mean"
    if statistic not in ("mean", "median"):
        raise InputError(row.place("statistic"), f"unknown statistic {statistic!r}", "Known: mean, median.")
    return Measurement(
        id=row.text("id") or f"{row.path.stem}:{row.line}",
        source=row.path.stem,
        reference=row.text("reference"),
        setup=defaults.overlaid(_facts(row)).setup(place),
        load=_load(row, defaults.concurrency),
        observed=observed,
        statistic=cast('Literal["mean", "median"]', statistic),
    )


def _facts(row: Row) -> Defaults:
    """Return what the row itself says about the setup."""
    counts = {name for name in FACTS if isinstance(getattr(Defaults(), name), int)}
    return Defaults(**{name: row.whole(name) or 0 if name in counts else row.text(name) for name in FACTS})  # type: ignore[arg-type]


def _load(row: Row, concurrency: int) -> MeasuredLoad:
    kind = row.text("load")
    if kind not in _LOADS:
        raise InputError(row.place("load"), f"unknown load {kind!r}", did_you_mean(kind, _LOADS))
    load = MeasuredLoad(
        cast('Literal["closed", "offline", "open", "static"]', kind),
        _tokens(row, "prompt"),
        _tokens(row, "output"),
        concurrency=(row.whole("concurrency") or concurrency) if kind in ("closed", "static") else 0,
        requests=row.whole("requests") or 0,
        rate_per_s=(row.number("rate_per_s") or 0.0) if kind == "open" else 0.0,
    )
    needed = _NEEDED.get(kind)
    if needed and not getattr(load, needed) > 0:
        raise InputError(row.place(needed), f"{kind} load needs it", "Write a number above zero.")
    return load


def _tokens(row: Row, which: str) -> TokenRange:
    low, high = row.whole(f"{which}_low"), row.whole(f"{which}_high")
    if not low:
        raise InputError(row.place(f"{which}_low"), "a length of at least one token is needed", "Write the tokens.")
    if high is not None and high < low:
        raise InputError(row.place(f"{which}_high"), f"{high} is below {which}_low ({low})", "Swap them.")
    return TokenRange(low, high or low)
