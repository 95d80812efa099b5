"""What a person sees: every class and pool, the verdict, the labels that tell runs apart, whole on any terminal."""

from __future__ import annotations

import io

import pytest
from oracle.small import pool, scenario, work
from rich.console import Console

from inferencesim import difference, simulate
from inferencesim.errors import InputError
from inferencesim.experiments.side_by_side import run_each, with_placement
from inferencesim.hardware.catalog import load_profile
from inferencesim.models.catalog import load_model
from inferencesim.report.difference import difference_table
from inferencesim.report.formats import joules
from inferencesim.report.plots import plot_comparison, plot_run, save
from inferencesim.report.profiles import hardware_table, model_table, quantities
from inferencesim.report.side_by_side import labels, side_by_side
from inferencesim.report.summary import summary_tables
from inferencesim.report.tables import NamedTable, fitted, new_table
from inferencesim.results.findings import CauseCount, ClassPromises

PNG = b"\x89PNG\r\n"


def text_of(parts, width=200):
    console = Console(file=io.StringIO(), width=width)
    for part in parts:
        console.print(part)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def mixed():
    return scenario(
        [pool("fast", replicas=2), pool("slow", "fast-chip")],
        [work("chat", promise={"ttft": 0.2}), work("batch")],
        horizon=10.0,
        question="Which is better?",
    )


@pytest.fixture(scope="module")
def runs(mixed):
    return run_each([with_placement(mixed, name) for name in ("premium_first", "least_normalised_load")])


def test_policies_meet_the_same_load(runs):
    first, second = (run.requests.sort_values("request_id") for run in runs)
    for column in ("arrived_s", "prompt_tokens", "output_tokens"):
        assert first[column].tolist() == second[column].tolist()
    assert [run.summary.policies.placement.policy for run in runs] == ["premium_first", "least_normalised_load"]
    assert runs[0].summary.pools[0].arrived != runs[1].summary.pools[0].arrived


def test_an_unknown_policy_is_named_before_anything_runs(mixed):
    started = []
    with pytest.raises(InputError, match="premium_frist"):
        run_each([with_placement(mixed, name) for name in ("premium_first", "premium_frist")], on_run=started.append)
    assert started == []


def test_the_summary_names_all_there_is(runs):
    text = text_of(summary_tables(runs[0].summary))
    for word in ("stable", "Which is better?", "chat", "batch", "fast", "slow", "premium_first", "promises kept"):
        assert word in text


def test_what_is_inside_at_the_end_has_a_table_of_its_own(runs, mixed):
    assert "Still inside" not in text_of(summary_tables(runs[0].summary))
    busy = [each.model_copy(update={"arrivals": each.arrivals.model_copy(update={"rate": 800.0})})
            for each in mixed.workload]  # fmt: skip
    summary = simulate(mixed.model_copy(update={"workload": busy, "drain": 0.0})).summary
    text = text_of(summary_tables(summary))
    lines = text[text.index("Still inside at the end") :].splitlines()
    assert [line.split()[0] for line in lines[4:7]] == ["chat", "batch", "all"]
    left = summary.fleet.to_finish
    assert f"{left.requests:,}" in lines[6]
    assert f"{left.output_tokens:,}" in lines[6]


def test_side_by_side_has_a_column_per_run_and_the_figures_of_each(runs):
    text = text_of(side_by_side([run.summary for run in runs]))
    for word in ("premium_first", "least_normalised_load", "chat  TTFT p99", "fast  utilisation", "slow  energy"):
        assert word in text
    energy = next(line for line in text.splitlines() if "site energy of the own fleet" in line)
    assert all(joules(run.summary.fleet.site_energy_j) in energy for run in runs)


def test_labels_tell_runs_apart(runs, mixed):
    one, two = (run.summary for run in runs)
    assert labels([one, two]) == ["premium_first", "least_normalised_load"]
    other = simulate(mixed, 5).summary
    again = simulate(mixed, 6).summary
    assert labels([other, again]) == ["test seed 5", "test seed 6"]
    assert len(set(labels([one, one]))) == 2


def test_a_difference_shows_what_changed_only(runs):
    one, two = (run.summary for run in runs)
    text = text_of(difference_table(difference(one, two)))
    assert "utilisation" in text
    assert "replicas" not in text
    assert "No number differs" in text_of(difference_table(difference(one, one)))


def test_plots_are_png_files(runs, tmp_path):
    for figure in (plot_run(runs[0]), plot_comparison([run.summary for run in runs], [(), ()])):
        path = save(figure, tmp_path / "plots" / "one.png")
        assert path.read_bytes().startswith(PNG)


def lost(name, **causes):
    counts = [CauseCount(what=what, by="queue", requests=number, worst=()) for what, number in causes.items()]
    number = sum(causes.values())
    return ClassPromises(name=name, requests=2 * number, kept=number, broken=number, open=0, causes=tuple(counts))


def test_the_picture_shows_which_share_of_broken_promises_has_which_cause(runs):
    rare = {f"cause_{number}": 1 for number in range(9)}
    broken = [[lost("chat", ttft=30), lost("batch", ttft=20, e2e=50)], [lost("chat", ttft=41, **rare)]]
    figure = plot_comparison([run.summary for run in runs], broken)
    axis = figure.subfigs[1].axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["premium_first", "least_normalised_load"]
    bars = {each.get_label(): [round(bar.get_width()) for bar in each] for each in axis.containers}
    assert bars["ttft: queue"] == [50, 82]
    assert bars["e2e: queue"] == [50, 0]
    assert len(bars) == 8
    assert bars["other"] == [0, 8]
    texts = {text.get_text() for text in axis.texts}
    assert {"of 100", "of 50"} <= texts


def test_a_plot_of_a_fleet_without_load(tmp_path):
    empty = simulate(scenario([pool("a")], []))
    assert save(plot_run(empty), tmp_path / "one.png").stat().st_size > 1000
    assert save(plot_comparison([empty.summary], [()]), tmp_path / "two.png").stat().st_size > 1000


def test_a_plot_that_cannot_be_written_is_an_input_error(runs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        save(plot_run(runs[0]), tmp_path / "file" / "one.png")


def test_every_number_of_a_profile_is_shown_with_its_provenance():
    profile = load_profile("nvidia-h100-sxm", "hardware")
    found = list(quantities(profile))
    assert len(found) > 15
    text = text_of([hardware_table(profile)])
    for path, quantity in found:
        assert path in text
        assert quantity.provenance in text
    assert "memory.bandwidth" in text


def test_a_model_shows_what_follows_from_it():
    text = text_of([model_table(load_model("llama-3.1-8b", "model"))])
    assert "total_parameters" in text
    assert "8,029,995,008" in text
    hybrid = text_of([model_table(load_model("qwen3.5-397b-a17b", "model"))])
    assert "linear_attention.layers" in hybrid
    assert "47,185,920" in hybrid  # elements of state: 45 layers × 64 heads × 128 × 128


def fleets():
    table = new_table("Fleets", "pool", "model", "tokens per second", "cost", "energy of it", left=2)
    table.add_row("premium", "a model of many words", "1,128,000", "$0.00132", "12.5 kWh")
    table.add_row("small", "another", "7", "$12.0", "1.00 J")
    return table


class TestTablesTooWideForTheTerminal:
    def test_one_that_fits_is_printed_as_it_is(self):
        table = fleets()
        assert fitted(table, 200) == [table]

    @pytest.mark.parametrize("width", range(24, 80))
    def test_no_number_is_broken_and_no_line_too_long(self, width):
        text = text_of(fitted(fleets(), width), width)
        for whole in ("1,128,000", "$0.00132", "$12.0", "12.5 kWh", "1.00 J"):
            assert text.count(whole) == 1
        assert max(len(line.rstrip()) for line in text.splitlines()) <= width

    def test_each_part_names_its_rows(self):
        parts = fitted(fleets(), 45)
        assert [part.title for part in parts] == ["Fleets", *["(continued)"] * (len(parts) - 1)]
        assert [part.columns[0].header for part in parts] == ["pool"] * len(parts)
        # The model does not tell pools apart that have other names.
        assert sum(column.header == "model" for part in parts for column in part.columns) == 1

    def test_names_are_repeated_as_far_as_they_tell_rows_apart(self):
        table = new_table("Causes", "class", "what", "requests", "worst of them all", left=2)
        table.add_row("chat", "TTFT", "1,000", "1,000,001, 1,000,002")
        table.add_row("", "TPOT", "10", "3", end_section=True)
        table.add_row("", "TPOT2", "10", "3")
        parts = fitted(table, 40)
        assert [[column.header for column in part.columns] for part in parts] == [
            ["class", "what", "requests"],
            ["class", "what", "worst of them all"],
        ]
        assert [row.end_section for row in parts[1].rows] == [False, True, False]

    def test_what_is_read_together_stays_together(self):
        table = new_table("Means", "", "TTFT", "±", "E2E", "±", together=2)
        table.add_row("fleet", "100,000 ms", "10,000 ms", "100,000 s", "10,000 s")
        assert [[column.header for column in part.columns] for part in fitted(table, 38)] == [
            ["", "TTFT", "±"],
            ["", "E2E", "±"],
        ]

    def test_a_caption_stands_below_the_last_part(self):
        table = fleets()
        table.caption = "Of one day."
        assert [part.caption for part in fitted(table, 45)][-2:] == [None, "Of one day."]

    def test_every_figure_of_a_summary_is_there_at_eighty_columns(self, runs):
        parts = summary_tables(runs[0].summary)
        words = set(text_of(parts).split())
        narrow = [part for each in parts for part in (fitted(each, 80) if isinstance(each, NamedTable) else [each])]
        lines = text_of(narrow, 80).splitlines()
        assert {word for word in words if any(sign.isdigit() for sign in word)} <= set(" ".join(lines).split())
