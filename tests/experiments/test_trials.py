"""One scenario played once for its figures: the seeds of replications."""

from __future__ import annotations

from inferencesim.experiments.trials import seed_of


def test_the_first_replication_has_the_seed_of_the_scenario():
    assert seed_of(7, 0) == 7


def test_every_replication_has_a_seed_of_its_own_that_a_scenario_takes():
    seeds = {seed_of(base, replication) for base in (0, 1, 2**63 - 1) for replication in range(300)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_stay_as_they_are_in_every_version():
    assert [seed_of(0, replication) for replication in range(3)] == [0, 2440950710608614359, 8226343694796210948]
