"""What a policy faces in these tests: requests, and candidates laid out by hand."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

import inferencesim.routing.policies  # noqa: F401 - files the built-in policies
from inferencesim.deployment.deployment import deploy
from inferencesim.deployment.engine import load_engine
from inferencesim.deployment.latency import latency_models
from inferencesim.hardware.catalog import load_profile
from inferencesim.kernel.tables import LOAD, STANDARD
from inferencesim.kernel.views import CACHED, TRAITS, Candidates, Request
from inferencesim.models.catalog import load_model
from inferencesim.routing.policy import MEMORY_SIZE, POLICIES, bind
from inferencesim.scenario.fleet import Pool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inferencesim.deployment.deployment import Deployment

INFINITY = float("inf")
MEAN_PROMPT, MEAN_OUTPUT = 1000.0, 200.0


@functools.cache
def replica_of(
    hardware: str, model: str = "llama-3.1-8b", precision: str = "bf16", tensor: int = 1, drafts: int = 0
) -> Deployment:
    speculation = {"drafts": drafts, "acceptance": 0.8, "draft": {"layers": 1}} if drafts else None
    pool = Pool.model_validate(
        {
            "name": "p",
            "hardware": hardware,
            "model": model,
            "precision": precision,
            "parallelism": {"tensor": tensor},
            "calibration": "none",
            "speculation": speculation,
        }
    )
    return deploy(load_profile(hardware, "here"), load_model(model, "here"), load_engine("vllm", "here"), pool, "here")


#: Dear and fast, cheap and slow, and in between.
MIXED = ("nvidia-h100-sxm", "nvidia-l4", "amd-mi300x", "intel-crescent-island")


def request(
    *,
    prompt: int = 1000,
    output: float = MEAN_OUTPUT,
    session: int = -1,
    ttft: float = INFINITY,
    tpot: float = INFINITY,
    e2e: float = INFINITY,
    sensitivity: int = STANDARD,
    key: int = 12345,
) -> Request:
    return Request(0, prompt, float(output), session, 0.0, float(ttft), float(tpot), float(e2e), sensitivity, key)


def candidates(
    loads: Sequence[Mapping[str, float]],
    deployments: Sequence[Deployment] = (),
    *,
    eligible: Sequence[int] | None = None,
    identities: Sequence[int] | None = None,
    cached: Sequence[Mapping[str, int]] | None = None,
    network_s: Sequence[float] | None = None,
    **traits: Sequence[float],
) -> Candidates:
    """Lay out one candidate per load; by default one H100 replica each."""
    n = len(loads)
    built = list(deployments) or [replica_of("nvidia-h100-sxm")] * n
    load, table = np.zeros(n, LOAD), np.zeros(n, TRAITS)
    for i, (given, deployment) in enumerate(zip(loads, built, strict=True)):
        for name, value in given.items():
            load[i][name] = value
        row: dict[str, Any] = {
            "identity": i if identities is None else identities[i],
            "deployment": i,
            "replicas": 1,
            "seats": deployment.batching.max_sequences,
            "token_budget": deployment.batching.token_budget,
            "kv_tokens": deployment.memory.kv_tokens,
            "mean_prompt_tokens": MEAN_PROMPT,
            "mean_output_tokens": MEAN_OUTPUT,
            "target_rate": deployment.saturated_rate(MEAN_PROMPT, MEAN_OUTPUT),
            "speed": deployment.lone_tokens_per_s(MEAN_PROMPT),
            "usd_per_s": deployment.usd_per_s,
            "interactive_ttft_s": INFINITY,
            "interactive_tpot_s": INFINITY,
            "outside": 0,
            "ttft_s": 0.0,
            "tpot_s": 0.0,
            "usd_per_prompt_token": 0.0,
            "usd_per_output_token": 0.0,
            "site_w": deployment.peak_w,
            "usd_per_j": 2.5e-8,
            "carbon_g_per_j": 1e-4,
        }
        for name, value in row.items():
            table[i][name] = traits[name][i] if name in traits else value
    latency = latency_models([deployment.step_times for deployment in built])
    open_to = np.ones(n, np.uint8) if eligible is None else np.array(eligible, np.uint8)
    held = np.zeros(n, CACHED)
    for i, given in enumerate(cached or ()):
        for name, value in given.items():
            held[i][name] = value
    ways = np.zeros(n) if network_s is None else np.array(network_s, np.float64)
    return Candidates(open_to, load, table, held, ways, latency)


def outstanding(*counts: int) -> list[dict[str, float]]:
    return [{"waiting": count} for count in counts]


@functools.cache
def compiled(name: str) -> Any:
    """Return a policy compiled as the kernel runs it."""
    return bind(name, {}, "routing").choose


def scored(
    name: str,
    asked: Request,
    facing: Candidates,
    parameters: Mapping[str, float] | None = None,
    memory: np.ndarray | None = None,
    *,
    plain: bool = True,
) -> tuple[int, np.ndarray]:
    """Return choice and scores of a policy, as plain Python or as the kernel runs it."""
    policy = POLICIES.get(name, "here")
    values = np.array([(parameters or {}).get(key, each) for key, each in policy.parameters.items()], np.float64)
    scores = np.full(facing.eligible.size, np.nan)
    kept = np.zeros(MEMORY_SIZE, np.int64) if memory is None else memory
    choose = policy.choose if plain else compiled(name)
    return int(choose(asked, facing, scores, values, kept)), scores


def chosen(name: str, asked: Request, facing: Candidates, **parameters: float) -> int:
    return scored(name, asked, facing, parameters)[0]
