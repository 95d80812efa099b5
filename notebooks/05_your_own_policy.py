# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # A policy of your own
#
# A policy is one function: it fills in a score for each candidate and returns the index of an eligible one. Written
# in the subset of Python that Numba compiles, it runs inside the kernel at hundreds of thousands of decisions per
# second; any other Python works too (`compiled=False`).
#
# This one sends a request where it would find the most free KV cache per dollar and hour.

# %%
from inferencesim import load_scenario, simulate
from inferencesim.policy import Policy
from inferencesim.routing.policy import POLICIES
from inferencesim.routing.scoring import highest


def roomiest_per_dollar(request, candidates, scores, parameters, memory):  # noqa: ARG001 - all policies take these
    """Choose the candidate with the most free KV cache for its price."""
    for i in range(scores.size):
        traits = candidates.traits[i]
        free = traits["kv_tokens"] * (1.0 - candidates.load[i]["kv_usage"])
        scores[i] = free / traits["usd_per_s"]
    return highest(candidates, scores)


POLICIES.register("roomiest_per_dollar")(Policy(roomiest_per_dollar, rule="most free KV cache for its price"))

# %% [markdown]
# Registered, it has a name like any other. (From a package, an entry point in `inferencesim.policies` does the same,
# and is found by the command line and by other processes.)

# %%
short = ["horizon=10min", "warm_up=1min"]
for policy in ("cheapest_feasible", "roomiest_per_dollar"):
    run = simulate(load_scenario("mixed_fleet", [*short, f"routing.placement={policy}"]))
    fleet = run.summary.fleet
    print(f"{policy}: {fleet.slo_attainment:.1%} kept, {fleet.cost_per_completed_request_usd:.5f} USD per request")

# %% [markdown]
# Its scores are on record, with those of whoever was not chosen.

# %%
scores = [column for column in run.decisions if column.startswith("score_")]
run.decisions[["class", "pool", *scores]].head()

# %%
assert set(run.decisions[scores].notna().sum()) - {0}
