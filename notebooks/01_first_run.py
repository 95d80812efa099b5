# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # A first run
#
# A scenario says which chips, where, running which model; which work, how much of it, with what promises; and which
# policy routes it. Here it is a mapping; a YAML file, or the name of a shipped scenario, would do as well.

# %%
from inferencesim import simulate

scenario = {
    "name": "first",
    "horizon": "20min",
    "warm_up": "2min",
    "pools": [
        {
            "name": "fast",
            "hardware": "nvidia-h100-sxm",
            "model": "llama-3.1-70b",
            "precision": "fp8",
            "parallelism": {"tensor": 4},
        },
        {
            "name": "roomy",
            "hardware": "intel-crescent-island",
            "model": "llama-3.1-70b",
            "precision": "fp8",
            "replicas": 2,
        },
    ],
    "workload": [
        {
            "name": "chat",
            "arrivals": {"process": "poisson", "rate": "3/s"},
            "prompt_tokens": {"distribution": "lognormal", "median": 1020, "p95": 4083},
            "output_tokens": {"distribution": "lognormal", "median": 129, "p95": 451},
            "models": ["llama-3.1-70b"],
            "promise": {"ttft": "2s", "tpot": "60ms"},
        },
        {
            "name": "summaries",
            "arrivals": {"process": "poisson", "rate": "0.2/s"},
            "prompt_tokens": 6000,
            "output_tokens": 300,
            "models": ["llama-3.1-70b"],
            "promise": {"deadline": "5min"},
        },
    ],
    "routing": {"placement": "cheapest_feasible", "balancing": "least_outstanding"},
}
run = simulate(scenario, seed=7)
run.summary.verdict

# %% [markdown]
# What it cost, and which promises were kept. Requests that were turned away or gave up count as promises missed.

# %%
fleet = run.summary.fleet
print(
    f"{fleet.cost_per_completed_request_usd:.5f} USD per completed request, {fleet.slo_attainment:.1%} of promises kept"
)
for each in run.summary.classes:
    print(f"{each.name}: {each.slo_attainment:.1%} kept, TTFT p99 {each.ttft_s.p99:.2f} s")

# %% [markdown]
# Every request is a row, with where it was served and what it cost.

# %%
requests = run.requests
requests.groupby(["class", "pool"], observed=True)[["ttft_s", "tpot_s", "attributed_cost_usd"]].mean()

# %% [markdown]
# And so is every decision: the verdict on each candidate, its score, and the choice.

# %%
run.decisions[["class", "pool", "verdict_fast", "score_fast", "score_roomy"]].head()

# %%
assert len(requests) == run.summary.conservation.arrived
