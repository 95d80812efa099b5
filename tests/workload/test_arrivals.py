"""Arrival processes: rate, burstiness, and profiles as exact changes of time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from inferencesim.errors import InputError
from inferencesim.scenario.arrivals import Profile, RegisteredArrivals
from inferencesim.scenario.workload import Active
from inferencesim.workload.arrivals import PROCESSES, arrival_times
from inferencesim.workload.inspect import dispersion, interarrival_cv
from inferencesim.workload.profiles import intensity
from inferencesim.workload.streams import stream

PROFILE = TypeAdapter(Profile)
PROFILES = [
    {"shape": "diurnal", "peak_to_trough": 3.0, "peak_at": "14h"},
    {"shape": "diurnal", "peak_to_trough": 1000.0, "peak_at": "1h", "period": "2h"},
    {"shape": "burst", "factor": 5, "start": "10min", "length": "2min", "every": "1h"},
    {"shape": "burst", "factor": 5, "start": "0s", "length": "1h", "every": "1h"},
    {"shape": "burst", "factor": 3, "start": "30h", "length": "2min"},
    {"shape": "table", "times": ["0s", "1h", "2h"], "factors": [1, 0, 2], "period": "3h"},
    {"shape": "table", "times": ["0s", "6h"], "factors": [0, 2]},
]


def times_of(cls, horizon_s=3600.0, seed=1):
    return arrival_times(cls.arrivals, cls.active, horizon_s, stream(seed, cls.name, "arrivals"))


@pytest.mark.parametrize("profile", PROFILES)
@settings(max_examples=30, deadline=None)
@given(levels=st.lists(st.floats(0, 40_000), min_size=1, max_size=30))
def test_cumulative_and_inverse_undo_each_other(profile, levels):
    rate_profile = intensity(PROFILE.validate_python(profile), 200_000.0)
    wanted = np.sort(np.array(levels))
    times = rate_profile.inverse(wanted)
    assert (np.diff(times) >= 0).all()
    assert rate_profile.cumulative(times) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_cumulative_is_the_integral_of_the_factor(profile):
    spec = PROFILE.validate_python(profile)
    grid = np.linspace(0, 86_400, 8641)
    levels = intensity(spec, 86_400.0).cumulative(grid)
    slope = np.diff(levels) / np.diff(grid)
    middle = (grid[1:] + grid[:-1]) / 2
    if spec.shape == "diurnal":
        a = (spec.peak_to_trough - 1) / (spec.peak_to_trough + 1)
        factor = 1 + a * np.cos(2 * np.pi * (middle - spec.peak_at) / spec.period)
    elif spec.shape == "burst":
        since = (middle - spec.start) % (spec.every or 1e9)
        factor = np.where((middle >= spec.start) & (since < spec.length), spec.factor, 1.0)
    else:
        step = np.searchsorted(spec.times, middle % (spec.period or 1e9), side="right") - 1
        factor = np.array(spec.factors)[step]
    assert np.abs(slope - factor).max() < 1e-3


def test_a_diurnal_day_keeps_its_mean_and_its_peak_to_trough(make_class):
    profile = {"shape": "diurnal", "peak_to_trough": 3.0, "peak_at": "14h"}
    cls = make_class(arrivals={"process": "poisson", "rate": 2.0, "profile": profile})
    times = times_of(cls, 86_400.0)
    assert len(times) == pytest.approx(2 * 86_400, rel=0.01)
    hours = np.bincount((times // 3600).astype(int), minlength=24)
    assert hours[13:15].sum() / hours[1:3].sum() == pytest.approx(3.0, rel=0.05)


def test_a_burst_multiplies_the_rate_while_it_lasts(make_class):
    profile = {"shape": "burst", "factor": 5, "start": "10min", "length": "5min"}
    times = times_of(make_class(arrivals={"process": "poisson", "rate": 10.0, "profile": profile}))
    inside = ((times >= 600) & (times < 900)).sum()
    assert inside == pytest.approx(5 * 10 * 300, rel=0.05)
    assert len(times) - inside == pytest.approx(10 * 3300, rel=0.03)


def test_nothing_arrives_where_the_factor_is_zero(make_class):
    profile = {"shape": "table", "times": ["0s", "10min", "20min"], "factors": [1, 0, 1]}
    times = times_of(make_class(arrivals={"process": "gamma", "rate": 10.0, "cv": 2, "profile": profile}))
    assert not ((times > 600) & (times < 1200)).any()


@pytest.mark.parametrize("cv", [0.3, 1.0, 3.0])
def test_gamma_gaps_have_the_stated_variation(make_class, cv):
    times = times_of(make_class(arrivals={"process": "gamma", "rate": 50.0, "cv": cv}))
    assert interarrival_cv(times) == pytest.approx(cv, rel=0.05)
    # Asymptotically the dispersion of counts of a renewal process is cv².
    assert dispersion(times, 10.0) == pytest.approx(cv**2, rel=0.25)


@pytest.mark.parametrize("cv", [0.3, 4.0])
def test_a_gamma_process_starts_in_equilibrium(make_class, cv):
    cls = make_class(arrivals={"process": "gamma", "rate": 1.0, "cv": cv})
    counts = [len(times_of(cls, 5.0, seed)) for seed in range(2000)]
    # An ordinary renewal process of cv 4 would start with (cv² − 1)/2 = 7.5 arrivals too many.
    assert np.mean(counts) == pytest.approx(5.0, abs=5 * np.std(counts) / np.sqrt(2000))


def test_a_poisson_process_is_one_at_every_scale(make_class):
    times = times_of(make_class(arrivals={"process": "poisson", "rate": 20.0}), 20_000.0)
    assert interarrival_cv(times) == pytest.approx(1.0, rel=0.02)
    for window_s in (1.0, 10.0, 60.0):
        assert dispersion(times, window_s) == pytest.approx(1.0, abs=0.25)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([{"process": "poisson"}, {"process": "gamma", "cv": 3.0}]),
    st.sampled_from([None, *PROFILES]),
    st.floats(0, 50_000),
    st.floats(0, 50_000),
)
def test_a_longer_horizon_only_adds_arrivals(make_class, process, profile, first, second):
    cls = make_class(arrivals={**process, "rate": 0.05, "profile": profile})
    short, long = (times_of(cls, horizon) for horizon in sorted((first, second)))
    assert np.array_equal(short, long[: len(short)])
    assert (long < max(first, second)).all()
    assert (np.diff(long) >= 0).all()


def test_a_class_arrives_only_while_it_is_active(make_class):
    times = times_of(make_class(active={"from": "10min", "to": "20min"}))
    assert times.min() >= 600
    assert times.max() < 1200
    assert len(times) == pytest.approx(6000, rel=0.06)
    assert times_of(make_class(active={"from": "2h"})).size == 0


def test_twice_the_rate_is_the_same_process_in_half_the_time(make_class):
    slow, fast = (times_of(make_class(arrivals={"process": "poisson", "rate": r}), 600.0 / r) for r in (1.0, 2.0))
    assert fast == pytest.approx(slow / 2)


def test_another_package_can_add_a_process():
    def comb(spec, total, generator):
        return np.arange(0.5, total, 1.0 / spec.parameters["teeth"])

    PROCESSES.register("comb-for-test")(comb)
    spec = RegisteredArrivals(process="comb-for-test", rate=2.0, parameters={"teeth": 1})
    assert arrival_times(spec, Active(), 2.0, stream(1)).tolist() == [0.25, 0.75, 1.25, 1.75]


def test_an_unregistered_process_is_an_error_at_its_place():
    spec = RegisteredArrivals(process="poison", rate=2.0, parameters={})
    with pytest.raises(InputError, match=r"here\.process: unknown arrival process 'poison'"):
        arrival_times(spec, Active(), 2.0, stream(1), "here")


def test_a_burst_arrives_whole_when_its_class_becomes_active(make_class):
    burst = {"process": "burst", "requests": 500}
    assert times_of(make_class(arrivals=burst)).tolist() == [0.0] * 500
    assert times_of(make_class(arrivals=burst, active={"from": "10s"})).tolist() == [10.0] * 500
    assert times_of(make_class(arrivals=burst, active={"from": "1h"})).size == 0


def test_a_horizon_of_more_arrivals_than_memory_holds_is_named(make_class):
    said = r"^horizon and arrivals\.rate: about 7\.2e\+10 arrivals within a horizon of 3\.6e\+10 s are more than memory"
    with pytest.raises(InputError, match=said):
        times_of(make_class(arrivals={"process": "poisson", "rate": 2.0}), horizon_s=3.6e10)


def test_a_burst_beyond_memory_is_refused_before_it_is_drawn(make_class):
    with pytest.raises(InputError, match="more than memory holds"):
        times_of(make_class(arrivals={"process": "burst", "requests": 10**12}))
