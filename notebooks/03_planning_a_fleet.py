# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Planning a fleet
#
# Which is the cheapest fleet that keeps the promises? An analytic screen leaves out what cannot; an integer programme
# gives a lower bound and a start; simulations find the answer, and fresh seeds confirm it.

# %%
from inferencesim import max_rate, plan

scenario = {
    "name": "small_office",
    "horizon": "10min",
    "pools": [
        {"name": "gpu", "hardware": "nvidia-l40s", "model": "llama-3.1-8b", "precision": "fp8", "replicas": 2},
        {
            "name": "card",
            "hardware": "intel-crescent-island",
            "model": "llama-3.1-8b",
            "precision": "fp8",
            "replicas": 2,
        },
    ],
    "workload": [
        {
            "name": "chat",
            "arrivals": {"process": "poisson", "rate": "8/s"},
            "prompt_tokens": {"distribution": "lognormal", "median": 900, "p95": 3000, "max": 8000},
            "output_tokens": {"distribution": "lognormal", "median": 150, "p95": 400, "max": 1000},
            "models": ["llama-3.1-8b"],
            "promise": {"ttft": "1s", "tpot": "50ms"},
        }
    ],
    "routing": {"placement": "cheapest_feasible", "balancing": "least_outstanding"},
}
found = plan(
    scenario, slo="95%", planning={"pools": {"gpu": {"replicas": "0..4"}, "card": {"replicas": "0..4"}}}, replications=3
)

# %% [markdown]
# The answer, the bound below which no fleet can be, and what the promises ask of the fleet.

# %%
found.answer.pools, found.answer.usd_per_h, found.bound_usd_per_h

# %% [markdown]
# Every fleet that was played, the cheapest first: the answer, the runner-up, and what fell short.

# %%
found.frame[["role", "usd_per_h", "pools.gpu.replicas", "pools.card.replicas", "kept.chat", "replications"]]

# %% [markdown]
# How much load would that fleet carry?

# %%
carried = max_rate(found.scenario, slo="95%", replications=2)
carried

# %%
assert found.bound_usd_per_h <= found.answer.usd_per_h
