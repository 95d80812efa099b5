"""A fit finds what simulated measurements were made with, within bounds, and leaves alone what they do not show."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from oracle.measured import NAMES, campaign, measurement, moved, priors, simulated, skip_without_jit

from inferencesim.experiments.fitting import PARAMETERS, evaluate, fit, is_saturated, targets
from inferencesim.experiments.reproduce import Reproduction
from inferencesim.units import to_si


def ready(measurements):
    return [Reproduction(each, "none") for each in measurements]


def errors(point, reproductions):
    return np.abs(np.expm1(evaluate(point, reproductions).main))


@pytest.fixture(scope="module")
def known():
    """Measurements of a chip with less bandwidth and arithmetic, and a slower host, than its priors."""
    skip_without_jit()
    return ready(simulated(moved(memory=0.75, compute=0.6, step=1.6), campaign()))


@pytest.fixture(scope="module")
def found(known):
    return fit(priors(), known, "made up", evaluations=6)


def test_a_fit_meets_what_a_known_machine_did(known, found):
    before, after = errors(priors(), known), errors(found, known)
    assert before.min() > 0.15
    assert after.max() < 0.02
    memory = found.numbers[NAMES.index("memory")]
    # Bandwidth, overlap and the rows of a tile slow a small batch alike; the prior shares the blame among them.
    assert 0.75 * 0.8 < memory / priors().numbers[NAMES.index("memory")] < 0.75 * 1.1


def test_the_truth_itself_has_no_error():
    truth = moved(memory=0.75, launch=1.3)
    reproductions = ready(simulated(truth, campaign()[:2]))
    found = evaluate(truth, reproductions)
    assert np.abs(found.main).max() < 1e-12
    assert np.abs(found.ttft).max() < 1e-12


def test_what_no_measurement_depends_on_stays_at_its_prior(found):
    before, after = priors().numbers, found.numbers
    for name in ("expert_compute", "expert_memory", "expert_layer", "four_bit_memory", "link", "collective"):
        place = NAMES.index(name)
        assert after[place] == before[place], name


def test_no_measurement_moves_a_parameter_out_of_its_bounds(known):
    slow = [
        Reproduction(dataclasses.replace(one, observed={key: 50 * value for key, value in one.observed.items()}))
        for one in (each.measurement for each in known)
    ]
    numbers = fit(priors(), slow, "made up", evaluations=8).numbers
    for parameter, number in zip(PARAMETERS, numbers, strict=True):
        assert parameter.low <= number <= parameter.high, parameter.name
    memory = PARAMETERS[NAMES.index("memory")]
    assert numbers[NAMES.index("memory")] == pytest.approx(memory.low, rel=0.01)


def test_one_measurement_is_believed_less_than_many_of_the_same(known):
    once = fit(priors(), known[:1], "made up", evaluations=5)
    often = fit(priors(), known[:1] * 8, "made up", evaluations=5)
    assert errors(often, known[:1]) < 0.5 * errors(once, known[:1])


def test_one_measurement_of_something_else_is_not_followed(known):
    odd = known[1].measurement
    odd = dataclasses.replace(odd, observed={key: 4 * value for key, value in odd.observed.items()})
    found = fit(priors(), [known[0], *ready([odd]), *known[2:]], "made up", evaluations=6)
    others = [known[0], *known[2:]]
    assert np.median(errors(found, others)) < 0.5 * np.median(errors(priors(), others))


def test_a_prior_of_zero_moves_in_its_own_unit():
    start = priors()
    free = start.engine.step.model_validate(start.engine.step.model_dump() | {"value": 0.0, "unit": "ms"})
    point = dataclasses.replace(start, engine=start.engine.model_copy(update={"step": free}))
    numbers = point.numbers
    numbers[NAMES.index("step")] = 2e-3
    step = point.moved(numbers, "chosen for tests").engine.step
    assert (step.value, step.unit) == (2.0, "ms")
    assert step.si == pytest.approx(2e-3)


def test_the_documented_bounds_are_those_of_the_fit():
    text = (Path(__file__).parents[2] / "docs" / "calibration.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(\w+\.\w+)` \| (.+?) \|", text, re.MULTILINE))
    assert set(documented) == {f"{each.block}.{each.name}" for each in PARAMETERS}
    for each in PARAMETERS:
        low, high = documented[f"{each.block}.{each.name}"].split(" to ")
        numbers = [to_si(number, "time", "") if number.endswith("s") else float(number) for number in (low, high)]
        assert numbers == pytest.approx([each.low, each.high]), each.name


def test_a_rate_too_low_and_a_time_too_long_are_the_same_error():
    slow, fast = moved(memory=0.75), priors()
    timed = ready(simulated(slow, [measurement("a", tpot_s=1.0)]))
    per_user = ready(simulated(slow, [measurement("a", output_tokens_per_s_per_user=1.0)]))
    assert evaluate(fast, timed).main == pytest.approx(evaluate(fast, per_user).main)
    assert evaluate(fast, timed).main[0] < -0.1


def test_a_ttft_that_is_queueing_counts_for_little():
    # 23 tokens after the first at 10 ms each.
    prompt, queued = ready([measurement("a", tpot_s=0.01, ttft_s=0.05), measurement("b", tpot_s=0.01, ttft_s=0.5)])
    assert not is_saturated(prompt.measurement)
    assert is_saturated(queued.measurement)
    weights = [{each.metric: each.weight for each in targets(one)} for one in (prompt, queued)]
    assert weights[1]["ttft_s"] < 0.2 * weights[0]["ttft_s"] < 0.2 * weights[0]["tpot_s"]
