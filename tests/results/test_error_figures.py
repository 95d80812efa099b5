"""Errors of made-up predictions, against statistics computed by hand."""

from __future__ import annotations

import pytest

from inferencesim.results.accuracy import (
    Comparison,
    NotReproduced,
    Pair,
    compared_figures,
    error_figures,
    summarise,
)


def pair(predicted, measured=100.0):
    return Pair(measured=measured, predicted=predicted)


def row(name, chip="a", *, unqueued=True, expected="unvalidated: class prior", **figures):
    pairs = {figure: Pair(measured=measured, predicted=predicted) for figure, (measured, predicted) in figures.items()}
    return Comparison(
        id=name, source="test", hardware=chip, engine="vllm", model="m", precision="fp8", load="closed",
        calibrated=expected.startswith("±"), expected_error=expected, below_saturation=unqueued, figures=pairs,
    )  # fmt: skip


def refused(name, chip="a", reason="no model"):
    return NotReproduced(id=name, source="test", hardware=chip, engine="vllm", model="m", reason=reason)


def test_five_errors_by_hand():
    # Signed: -50, -10, +20, +30, +160 %.
    errors = error_figures([pair(50.0), pair(90.0), pair(120.0), pair(130.0), pair(260.0)])
    assert errors.rows == 5
    assert errors.median == pytest.approx(0.30)
    assert errors.mean == pytest.approx((0.5 + 0.1 + 0.2 + 0.3 + 1.6) / 5)
    # Sorted 10, 20, 30, 50, 160: 0.9 × 4 = 3.6, so six tenths of the way from 50 to 160.
    assert errors.p90 == pytest.approx(0.5 + 0.6 * 1.1)
    assert errors.bias == pytest.approx(0.20)
    assert errors.within_factor_two == pytest.approx(4 / 5)


def test_tau_counts_pairs_in_the_same_order():
    # Of the six pairs of 1, 2, 3, 4 ranked 1, 3, 2, 4, one is swapped: (5 − 1) / 6.
    measured, predicted = [1.0, 2.0, 3.0, 4.0], [10.0, 30.0, 20.0, 40.0]
    pairs = [Pair(measured=a, predicted=b) for a, b in zip(measured, predicted, strict=True)]
    assert error_figures(pairs).tau == pytest.approx(4 / 6)
    assert error_figures(pairs, ranked=False).tau is None
    assert error_figures(pairs[:1]).tau is None
    assert error_figures([pair(1.0), pair(2.0)]).tau is None


def test_groups_hold_their_own_rows():
    rows = [
        row("1", "a", tpot=(0.010, 0.011), ttft=(0.1, 0.2)),
        row("2", "a", tpot=(0.020, 0.018), ttft=(4.0, 1.0), unqueued=False, expected="±9 % (n = 212)"),
        row("3", "b", throughput=(1000.0, 1500.0)),
    ]
    a, b, c = summarise(rows, [refused("4"), refused("5", "c")], ("hardware", "engine"))
    assert [each.group for each in (a, b, c)] == [{"hardware": chip, "engine": "vllm"} for chip in "abc"]
    assert [(each.rows, each.unsupported) for each in (a, b, c)] == [(2, 1), (1, 0), (0, 1)]
    assert a.errors["tpot"].median == pytest.approx(0.10)
    assert a.errors["tpot"].bias == pytest.approx(0.0)
    assert a.errors["ttft"].rows == 2
    assert a.errors["ttft_below_saturation"].rows == 1
    assert a.errors["ttft_below_saturation"].bias == pytest.approx(1.0)
    assert a.expected_errors == ("unvalidated: class prior", "±9 % (n = 212)")
    assert set(b.errors) == {"throughput", "speed"}
    assert c.errors == {}


def test_speed_is_one_figure_per_row():
    rows = [
        row("1", tpot=(1.0, 1.1), throughput=(1.0, 9.0), e2e=(1.0, 9.0)),
        row("2", throughput=(1.0, 1.3), e2e=(1.0, 9.0)),
        row("3", e2e=(1.0, 1.2)),
        row("4", ttft=(1.0, 9.0)),
    ]
    (group,) = summarise(rows, [], ("source",))
    speed = group.errors["speed"]
    assert speed.rows == 3
    assert speed.mean == pytest.approx((0.1 + 0.3 + 0.2) / 3)
    assert speed.tau is None


def test_rates_of_one_user_and_of_one_prompt_are_the_times_they_imply():
    found = compared_figures(
        {"output_tokens_per_s_per_user": 50.0, "prefill_tokens_per_s": 1000.0},
        {"output_tokens_per_s_per_user": 40.0, "prefill_tokens_per_s": 4000.0},
        prompt_tokens=2000.0,
    )
    assert set(found) == {"tpot", "ttft"}
    assert found["tpot"].measured == pytest.approx(0.020)
    assert found["tpot"].error == pytest.approx(0.25)
    assert found["ttft"].measured == pytest.approx(2.0)
    assert found["ttft"].error == pytest.approx(-0.75)


def test_what_was_not_observed_or_not_predicted_is_not_compared():
    observed = {"tpot_s": 0.01, "ttft_s": 0.1, "total_tokens_per_s": 5.0}
    predicted = {"tpot_s": float("nan"), "ttft_s": 0.2, "e2e_s": 1.0, "total_tokens_per_s": 4.0}
    found = compared_figures(observed, predicted, 1.0)
    assert set(found) == {"ttft", "throughput"}
    assert found["throughput"].error == pytest.approx(-0.2)
