# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # What if: price, power, model
#
# The same load with one thing changed. Overrides are the paths of the YAML, as on the command line with `--set`; the
# seed stays, so that every variant meets the same requests.

# %%
import pandas as pd

from inferencesim import difference, load_scenario, simulate

short = ["horizon=10min", "warm_up=1min"]
questions = {
    "as it is": [],
    "an H200 costs a dollar an hour": ["pools.gpu.price=$1/h"],
    "it does, and power at $300/MWh is paid apart": [
        "pools.gpu.price=$1/h",
        "pools.gpu.price_includes_power=false",
        "economics.electricity=$300/MWh",
    ],
    "one card of LPDDR instead of eight": ["pools.lpddr.replicas=1"],
    "the H200s serve Llama 4 Scout": [
        "pools.gpu.model=llama-4-scout",
        "workload.chat.models=[llama-4-scout, llama-3.1-70b]",
    ],
}
runs = {name: simulate(load_scenario("mixed_fleet", [*short, *changes])) for name, changes in questions.items()}

# %%
rows = {
    name: {
        "promises kept": run.summary.fleet.slo_attainment,
        "USD per completed request": run.summary.fleet.cost_per_completed_request_usd,
        "kWh at the site": run.summary.fleet.site_energy_j / 3.6e6,
        "kg CO2e": run.summary.fleet.carbon_g / 1e3,
    }
    for name, run in runs.items()
}
table = pd.DataFrame.from_dict(rows, orient="index")
table

# %% [markdown]
# Prices of a fleet that is owned move its cost by what they say. A price that no policy reads changes nothing else;
# this one reads prices, so that work moves, and promises with it. `difference` says, number by number, what did:

# %%
moved = difference(runs["as it is"].summary, runs["an H200 costs a dollar an hour"].summary)
pd.DataFrame(
    [row.model_dump() for row in moved.changed() if row.metric in ("arrived", "utilisation", "slo_attainment")]
)

# %% [markdown]
# One pair of runs shows what would have happened to this load. Whether it is more than chance, `compare` tells
# (notebook 02).

# %%
assert len(table.drop_duplicates()) == len(questions)
