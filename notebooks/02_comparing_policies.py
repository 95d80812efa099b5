# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Comparing policies properly
#
# One run is an anecdote: another seed gives other figures. `compare` plays every policy on the same random numbers,
# several times, and calls one better only where chance does not explain the difference.

# %%
from inferencesim import compare, load_scenario

mixed = load_scenario("mixed_fleet", ["horizon=10min", "warm_up=1min"])
policies = ["premium_first", "least_normalised_load", "cheapest_feasible"]
metrics = ["cost_per_completed_task_usd", "slo_attainment", "energy_per_completed_task_j"]


def progress(done, total):
    """Say on one line how far it is; `sweep`, `plan` and `max_rate` take the same."""
    print(f"\r{done:.0f} of {total:.0f} simulations", end="", flush=True)


found = compare(mixed, policies=policies, replications=4, metrics=metrics, progress=progress)

# %% [markdown]
# One row per replication; replication r has the same load under every policy.

# %%
found.trials[["alternative", "replication", *metrics]]

# %% [markdown]
# Differences in pairs, with intervals that hold together with 95 %. "no difference shown" is an answer, too.

# %%
found.differences[["alternative", "metric", "difference", "low", "high", "conclusion"]]

# %% [markdown]
# What common random numbers are worth: the variance of a difference in pairs, over what independent seeds would give.

# %%
found.differences[["alternative", "metric", "variance_ratio"]]

# %%
assert len(found.trials) == len(policies) * 4
