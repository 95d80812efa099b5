"""What the sensitivity table says of moves that were whole, short, impossible, or ended in another verdict."""

from __future__ import annotations

import io

from rich.console import Console

from inferencesim.report.sensitivity import sensitivity_tables
from inferencesim.results.records.summary import Verdict
from inferencesim.results.sensitivity import METRICS, Move, Number, Sensitivity, SensitivityReport


def move(share=0.1, state="stable", **changes):
    return Move(least_share=share, state=state, changes=dict.fromkeys(METRICS, 0.0) | changes)


def numbers(*values, unit="fraction"):
    return tuple(
        Number(pool=str(place), value=value, unit=unit, provenance="vendor") for place, value in enumerate(values)
    )


def printed(*rows, without_effect=()):
    report = SensitivityReport(
        name="s", question="", scenario_digest="", seed=7, share=0.1, pools=("p", "q"), rows=rows,
        verdict=Verdict(state="stable", why="It is."), base=dict.fromkeys(METRICS, 0.25), without_effect=without_effect,
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=200)
    for part in sensitivity_tables(report):
        console.print(part)
    return console.file.getvalue()


def line(text, start):
    return next(each for each in text.splitlines() if each.strip().startswith(start))


def test_a_cell_holds_both_ways_and_one_word_for_none():
    better, worse = move(**{"tpot_s.mean": -0.0412}), move(**{"tpot_s.mean": 0.046, "ttft_s.mean": 0.0004})
    text = printed(Sensitivity(parameter="efficiency.memory", numbers=numbers(0.88), better=better, worse=worse))
    cells = line(text, "efficiency.memory").split("  ")
    assert [cell.strip() for cell in cells if cell.strip()] == [
        "efficiency.memory", "0.88", "vendor", "-4.1 / +4.6", "0", "0", "0", "0", "0",
    ]  # fmt: skip


def test_notes():
    rows = (
        Sensitivity(
            parameter="memory.capacity", numbers=numbers(80.0, unit="GB"), better=move(),
            worse=Move(obstacle="does not fit", least_share=0.1),
        ),
        Sensitivity(
            parameter="efficiency.compute", numbers=numbers(0.95), better=move(share=0.0526),
            worse=move(state="unstable"),
        ),
        Sensitivity(
            parameter="efficiency.overlap", numbers=numbers(1.0), better=Move(obstacle="at its limit", least_share=0.0),
            worse=move(),
        ),
    )  # fmt: skip
    text = printed(*rows)
    assert "worse: the model does not fit" in line(text, "memory.capacity")
    assert "0 / –" in line(text, "memory.capacity")
    assert "better: 5.26 % only, at its limit; worse: unstable" in line(text, "efficiency.compute")
    assert line(text, "efficiency.overlap").rstrip().endswith("better: at its limit")


def test_pools_that_disagree():
    row = Sensitivity(parameter="memory.bandwidth", numbers=numbers(1.0, 2.0, unit="TB/s"), better=move(), worse=move())
    assert "several" in line(printed(row), "memory.bandwidth")
    alike = row.model_copy(update={"numbers": numbers(2.0, 2.0, unit="TB/s")})
    assert "2 TB/s" in line(printed(alike), "memory.bandwidth")


def test_figures_as_they_are_and_what_has_no_effect():
    text = printed(without_effect=("efficiency.link", "scale_out.latency"))
    assert "250 ms" in line(text, "as it is")
    assert "seed 7, pools: p, q" in text
    assert "Without effect on these pools: efficiency.link, scale_out.latency." in text
    assert "Without effect" not in printed()
