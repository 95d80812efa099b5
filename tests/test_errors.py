"""An error names the place, what is wrong, and the remedy."""

from __future__ import annotations

import pickle

import pytest

from inferencesim.errors import InputError, did_you_mean


def test_an_error_reads_place_fault_remedy():
    problem = InputError("pools[2].hardware", "unknown profile 'h10'", "Did you mean 'nvidia-h100-sxm'?")
    assert str(problem) == "pools[2].hardware: unknown profile 'h10'. Did you mean 'nvidia-h100-sxm'?"
    assert str(InputError("here", "it is wrong")) == "here: it is wrong."
    assert (problem.where, problem.remedy) == ("pools[2].hardware", "Did you mean 'nvidia-h100-sxm'?")


@pytest.mark.parametrize("remedy", [None, "Mend it."])
def test_an_error_survives_the_way_between_processes(remedy):
    problem = InputError("here", "it is wrong", remedy)
    for again in (pickle.loads(pickle.dumps(problem)), type(problem)(*problem.args)):
        assert str(again) == str(problem)
        assert (again.where, again.what, again.remedy) == ("here", "it is wrong", remedy)


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("hardwar", ["hardware", "model"], "Did you mean 'hardware'?"),
        ("h100", ["amd-mi300x", "nvidia-h100-sxm"], "Did you mean 'nvidia-h100-sxm'?"),
        ("H100", ["amd-mi300x", "nvidia-h100-sxm"], "Did you mean 'nvidia-h100-sxm'?"),
        ("zzz", ["b", "a"], "Known: a, b."),
        ("zzz", [], "None is known."),
        ("", ["a", "b"], "Known: a, b."),
        ("zzz", [f"n{i:02}" for i in range(20)], "Known: " + ", ".join(f"n{i:02}" for i in range(12)) + " and 8 more."),
    ],
)
def test_the_nearest_name_or_all(name, known, said):
    assert did_you_mean(name, known) == said
    assert did_you_mean(name, iter(known)) == said
